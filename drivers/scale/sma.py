"""SMA SCP-0499, the Scale Manufacturers Association's "Standard Communication Protocol", as frames. Pure.

A frame starts with LF and ends with CR; what stands outside of one is nothing. The standard response has 20 bytes at
fixed places: LF, status, range, gross/net, motion, reserved, weight (10), unit (3), CR.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from drivers.scale.indication import Indication, Status, number

LONGEST_FRAME_BYTES = 80
"""Lines of the dialogues `A`, `B`, `I` and `N` are longer than the standard response, but not by much."""

_LF, _CR = 0x0A, 0x0D
_BODY_BYTES = 18
_STATUSES = {
    " ": Status.OK,
    "Z": Status.ZERO,
    "O": Status.OVERLOAD,
    "U": Status.UNDERLOAD,
    "E": Status.ERROR,
    "I": Status.ERROR,
    "T": Status.ERROR,
}
_ERRORS = {"E": "it cannot be zeroed", "I": "it could not be zeroed when it was switched on", "T": "it cannot be tared"}


class Answer:
    """What is said in return for a command."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Response(Answer):
    """A standard response. `shows` is G, N or T; g and n are in tenths of a division."""

    letter: str
    shows: str
    in_motion: bool
    weight: Decimal | None
    unit: str

    @property
    def error(self) -> str:
        """What the instrument could not do, in words; empty when that is nothing."""
        return _ERRORS.get(self.letter, "")

    @property
    def indication(self) -> Indication:
        """What it says of the load."""
        status, stable = _STATUSES[self.letter], not self.in_motion
        if status not in (Status.OK, Status.ZERO):
            return Indication(status, stable=stable)
        if self.shows in "gn":
            return Indication(Status.EXPANDED, stable=stable)
        if self.weight is None:
            return Indication(Status.ERROR, stable=stable)
        if self.in_motion:
            status = Status.MOTION
        if self.shows == "T":
            return Indication(Status.BUSY, tare=self.weight, unit=self.unit, stable=stable)
        gross, net = (self.weight, None) if self.shows == "G" else (None, self.weight)
        return Indication(status, self.weight, gross, net, unit=self.unit, stable=stable)


@dataclass(frozen=True, slots=True)
class Refusal(Answer):
    """`?`: the command is not known. `!`: it was not received well."""

    is_unknown: bool


@dataclass(frozen=True, slots=True)
class Noise:
    """A frame that is neither."""

    body: bytes

    def __str__(self) -> str:
        return self.body.decode("latin-1")


Frame = Response | Refusal | Noise


class SmaFramer:
    """Cuts a stream into frames. Keeps at most `LONGEST_FRAME_BYTES`."""

    def __init__(self) -> None:
        self._body: bytearray | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        frames: list[Frame] = []
        for byte in data:
            if byte == _LF:
                self._body = bytearray()
            elif self._body is not None:
                if byte == _CR:
                    frames.append(parse(bytes(self._body)))
                    self._body = None
                elif len(self._body) < LONGEST_FRAME_BYTES:
                    self._body.append(byte)
                else:
                    frames.append(Noise(bytes(self._body)))
                    self._body = None
        return frames

    def forget(self) -> None:
        """Drop a frame that is not complete."""
        self._body = None


def command(letter: str, data: str = "") -> bytes:
    """A command on its way: LF, letter, data, CR."""
    return f"\n{letter}{data}\r".encode("ascii")


def parse(body: bytes) -> Frame:
    """What stands between LF and CR."""
    if body in (b"?", b"!"):
        return Refusal(is_unknown=body == b"?")
    text = body.decode("latin-1")
    if len(text) != _BODY_BYTES or not text.isascii() or not text.isprintable():
        return Noise(body)
    letter, span, shows, motion = text[0], text[1], text[2], text[3]
    if letter not in _STATUSES or not (span.isdigit() or span == " ") or shows not in "GNTgn" or motion not in " M":
        return Noise(body)
    unit = text[15:].strip(" _")
    weight = None if "," in text[5:15] else number(text[5:15])  # the standard has a point, so a comma is a doubt
    if (weight is None and not _is_blank(text[5:15])) or not all(each.isalpha() or each in "/%" for each in unit):
        return Noise(body)
    return Response(letter, shows, motion == "M", weight, unit)


def _is_blank(field: str) -> bool:
    """Dashes stand for a weight that there is not; some instruments leave the field empty, or point and all."""
    return not field.strip(" -.")

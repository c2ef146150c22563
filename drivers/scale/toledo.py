"""The continuous output of Toledo and Mettler-Toledo terminals, and of the many that imitate it. Pure.

Seventeen bytes, or eighteen with a checksum (Mettler-Toledo Wildcat technical manual, 6-4 and 6-5):

    STX  SWA  SWB  SWC  displayed weight (6 digits)  tare (6 digits)  CR  [CHK]

STX is no safe start: a checksum may be 02h too, or 0Dh. So a frame counts only as a whole, with CR in its place, with
status bytes that can be and, where there is one, with its checksum. Only the low seven bits count, the eighth may be
a parity.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum, StrEnum

from drivers.scale.indication import GARBLED, Indication, Status

_STX, _CR = 0x02, 0x0D
_FRAME_BYTES = 17
_CHECKED_BYTES = 18
_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))
_DIGITS = re.compile(rb" *[0-9]+")
_NOISE_BYTES = 64
"""Of what makes no frame, this much is told once."""
_DOUBTS = 3
"""So many interruptions in a row bring the question up again whether there is a checksum."""


class Checksum(StrEnum):
    """Whether frames end with a checksum. `auto` finds out from two frames in a row, and takes none before."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class _Verdict(Enum):
    MORE = "more bytes are needed"
    NONE = "no frame starts here"


class ToledoFramer:
    """Cuts a stream into frames and tells what they say. Keeps at most two frames and a byte."""

    def __init__(self, checksum: Checksum = Checksum.AUTO) -> None:
        self._asked = checksum
        self._size = {Checksum.AUTO: None, Checksum.ON: _CHECKED_BYTES, Checksum.OFF: _FRAME_BYTES}[checksum]
        self._buffer = bytearray()
        self._in_step = False
        self._skipped = 0
        self._doubts = 0

    def feed(self, data: bytes) -> list[Indication]:
        """What the frames say that `data` completes; `GARBLED` for what interrupts them.

        The first frame may be met in its middle; what comes before it is not told unless it goes on.
        """
        found: list[Indication] = []
        self._buffer += data.translate(_SEVEN_BITS)
        start = 0
        while start < len(self._buffer):
            size = self._frame_at(start)
            if size is _Verdict.MORE:
                break
            if isinstance(size, int):
                found.append(indication(bytes(self._buffer[start : start + _FRAME_BYTES])))
                if self._in_step:
                    self._doubts = 0
                self._in_step = True
                self._skipped = 0
                start += size
            else:
                start += 1
                if self._skip():
                    found.append(GARBLED)
        del self._buffer[:start]
        return found

    def forget(self) -> None:
        """Drop a frame that is not complete."""
        self._buffer.clear()
        self._in_step = False

    def _frame_at(self, start: int) -> int | _Verdict:
        """The size of the frame that starts there, or why there is none."""
        if self._size is not None:
            return self._whole(start, self._size)
        plain, checked = self._whole(start, _FRAME_BYTES), self._whole(start, _CHECKED_BYTES)
        if plain is _Verdict.NONE:
            return _Verdict.NONE
        # Where the next frame starts decides: no byte can be both the first and the second one of a frame.
        following = [self._followed_plain(start)]
        if checked is not _Verdict.NONE:
            following.append(self._whole(start + _CHECKED_BYTES, _CHECKED_BYTES))
        for size in following:
            if isinstance(size, int):
                self._size = size
                return size
        return _Verdict.MORE if _Verdict.MORE in following else _Verdict.NONE

    def _followed_plain(self, start: int) -> int | _Verdict:
        """Whether another frame without a checksum follows, and a third one begins after that.

        The third, because a checksum that got lost on the way makes two frames look like that.
        """
        second = self._whole(start + _FRAME_BYTES, _FRAME_BYTES)
        if not isinstance(second, int):
            return second
        third = start + 2 * _FRAME_BYTES
        if third >= len(self._buffer):
            return _Verdict.MORE
        return second if self._buffer[third] == _STX else _Verdict.NONE

    def _whole(self, start: int, size: int) -> int | _Verdict:
        frame = self._buffer[start : start + size]
        if not _may_begin(frame):
            return _Verdict.NONE
        if len(frame) < size:
            return _Verdict.MORE
        if size == _CHECKED_BYTES and sum(frame) % 128:
            return _Verdict.NONE
        return size

    def _skip(self) -> bool:
        """One byte belongs to no frame. Whether to tell so now."""
        self._skipped += 1
        if self._in_step:
            self._in_step = False
            self._doubt()
            return True
        if self._skipped >= _NOISE_BYTES:
            self._skipped = 0
            self._doubt()
            return True
        return False

    def _doubt(self) -> None:
        self._doubts += 1
        if self._asked is Checksum.AUTO and self._doubts >= _DOUBTS:
            self._size = None


def _may_begin(frame: bytes | bytearray) -> bool:
    """Whether these bytes, all that are there, can be a frame from its start."""
    if frame and frame[0] != _STX:
        return False
    # Status word A: bit 5 is 1, bit 6 is 0, bits 3 and 4 are never both 0. Words B and C have bit 5 as well, but some
    # instruments leave it out of B.
    if len(frame) > 1 and (frame[1] & 0x60 != 0x20 or not frame[1] & 0x18):
        return False
    if len(frame) > 3 and not frame[3] & 0x20:
        return False
    if len(frame) >= _FRAME_BYTES:
        tare = frame[10:16]
        has_numbers = _DIGITS.fullmatch(frame[4:10]) and (not tare.strip() or _DIGITS.fullmatch(tare))
        return frame[16] == _CR and has_numbers is not None
    return _CR not in frame[4:16]


def indication(frame: bytes) -> Indication:
    """What a frame of which the shape is right says; its low seven bits, without the checksum."""
    word_a, word_b, word_c = frame[1:4]
    stable = not word_b & 0x08
    tare = _scaled(frame[10:16], word_a)
    unit = _unit(word_b, word_c)
    if word_b & 0x40:
        return Indication(Status.POWER_UP)
    if word_b & 0x04:
        return Indication(Status.UNDERLOAD if word_b & 0x02 else Status.OVERLOAD, tare=tare, unit=unit, stable=stable)
    if word_c & 0x10:
        return Indication(Status.EXPANDED, tare=tare, unit=unit, stable=stable)
    weight = _scaled(frame[4:10], word_a)
    assert weight is not None, "a frame is not taken without digits"
    if word_b & 0x02:
        weight = -weight
    gross, net = (None, weight) if word_b & 0x01 else (weight, None)
    return Indication(Status.OK if stable else Status.MOTION, weight, gross, net, tare, unit, stable)


def _scaled(digits: bytes, word_a: int) -> Decimal | None:
    """Six digits with the point of status word A: bits 2 to 0, times 100 for 0 and a tenth for each one more."""
    text = digits.decode("ascii").strip()
    if not text:
        return None
    power = 2 - (word_a & 0x07)
    return Decimal(int(text) * 10**power) if power >= 0 else Decimal(int(text)).scaleb(power)


def _unit(word_b: int, word_c: int) -> str:
    """Newer terminals have more units in word C, but not all the same ones; no unit is better than a wrong one."""
    match word_c & 0x07:
        case 0:
            return "kg" if word_b & 0x10 else "lb"
        case 1:
            return "g"
        case _:
            return ""

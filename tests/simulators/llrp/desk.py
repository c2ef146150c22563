"""A portal with tags that lie still, a clock that is turned by hand, and messages written out in hex.

The messages are those of a client; what they mean is said beside them, from the LLRP 1.0.1 standard.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.faces import Sighting
from simulators.llrp.model import Model
from simulators.llrp.reader import Reader
from simulators.llrp.wire import Message, MessageStream

BOOTED_US = 1_767_225_600_123_456
"""2026-01-01T00:00:00.123456Z."""

PALLET = "3114257BF400B7797A000000"
CARTON = "3034257BF7194E4000001A85"
LONG = "36300000000000000000000000000000"

OK = "011F 0008 0000 0000"


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace("|", " "))


def tag(epc: str, *, antenna: int = 1, rssi: int = -53, channel: int = 3) -> Sighting:
    return Sighting(antenna, bytes.fromhex(epc), rssi, channel)


@dataclass(slots=True)
class StillPortal:
    """Every round shows the same tags; `rounds` has the antennas that were asked."""

    tags: list[Sighting] = field(default_factory=list)
    antennas: int = 2
    name: str = "portal-1"
    rounds: list[list[int]] = field(default_factory=list)

    def inventory(self, antennas: Collection[int]) -> Sequence[Sighting]:
        self.rounds.append(sorted(antennas))
        return [each for each in self.tags if each.antenna in antennas]


@dataclass(slots=True)
class HandClock:
    """Uptime and UTC go together."""

    now_s: float = 0.0

    def uptime_s(self) -> float:
        return self.now_s

    def utc_us(self) -> int:
        return BOOTED_US + round(self.now_s * 1e6)


class Desk:
    """A reader with a client beside it that has just connected."""

    def __init__(self, portal: StillPortal, *, model: Model | None = None, rounds_per_s: float = 20.0) -> None:
        self.portal = portal
        self.clock = HandClock()
        self.reader = Reader(portal, clock=self.clock, model=model, rounds_per_s=rounds_per_s)
        self.reader.connect()
        self.welcome = self.reader.take().answers

    def ask(self, request: str) -> bytes:
        """The answer to one message, or no bytes."""
        messages = MessageStream().feed(hexed(request))
        for message in messages:
            self.reader.receive(message)
        answers = self.reader._outbox._answers  # reports that wait are looked at with `unasked`
        self.reader._outbox._answers = []
        return b"".join(answers)

    def unasked(self) -> list[bytes]:
        return self.reader.take().unasked

    def wait(self, seconds: float) -> None:
        """Let time pass, and the reader do what is due in it."""
        end_s = self.clock.now_s + seconds
        while (due_s := self.reader.due_s) is not None and due_s <= end_s:
            self.clock.now_s = max(self.clock.now_s, due_s)
            self.reader.advance()
        self.clock.now_s = end_s

    def reports(self) -> list[list[dict[str, Any]]]:
        """What reports have come, as a list of tags each."""
        return [decode_report(message) for message in self.unasked() if message[1] == 61]


_FIELDS = {
    1: ("antenna", ">H"),
    2: ("first_us", ">Q"),
    4: ("last_us", ">Q"),
    6: ("rssi", ">b"),
    7: ("channel", ">H"),
    8: ("count", ">H"),
    9: ("rospec", ">I"),
    10: ("parameter_spec", ">H"),
    11: ("crc", ">H"),
    12: ("pc", ">H"),
    13: ("epc", ">12s"),
    14: ("spec_index", ">H"),
}


def decode_report(message: bytes) -> list[dict[str, Any]]:
    """Chapter 16.2.7.3: the TagReportData of a RO_ACCESS_REPORT, with the fields that it shows."""
    (whole,) = MessageStream().feed(message)
    assert isinstance(whole, Message)
    tags = []
    body = whole.body
    while body:
        kind, length = struct.unpack_from(">HH", body)
        assert kind == 240
        data, body = body[4:length], body[length:]
        shown: dict[str, Any] = {}
        while data:
            if data[0] & 0x80:
                name, layout = _FIELDS[data[0] & 0x7F]
                size = struct.calcsize(layout)
                (shown[name],) = struct.unpack_from(layout, data, 1)
                data = data[1 + size :]
            else:
                inner, size, bits = struct.unpack_from(">HHH", data)
                assert (inner, bits % 8) == (241, 0)
                shown["epc"] = data[6:size]
                data = data[size:]
        shown["epc"] = shown["epc"].hex().upper()
        tags.append(shown)
    return tags


def rospec(
    *,
    id_: int = 1,
    state: int = 0,
    start: str = "00B3 0005 00",
    stop: str = "00B6 0009 00 00000000",
    ai_specs: Sequence[str] = (),
    report: str = "00ED 0012 01 0001 | 00EE 000B 9F80 | 015C 0005 40",
) -> str:
    """ADD_ROSPEC, id 0x101, with the parts as hex."""
    parts = hexed("".join([boundary(start, stop), *(ai_specs or [ai_spec()]), report]))
    body = struct.pack(">HHIBB", 177, 10 + len(parts), id_, 0, state) + parts
    return (struct.pack(">HII", 0x0414, 10 + len(body), 0x101) + body).hex()


def boundary(start: str, stop: str) -> str:
    parts = hexed(start + stop)
    return (struct.pack(">HH", 178, 4 + len(parts)) + parts).hex()


def ai_spec(*antennas: int, stop: str = "00B8 0009 00 00000000", inventory: str = "00BA 0007 0001 01") -> str:
    """An AISpec; without `antennas` with all of them."""
    numbers = antennas or (0,)
    parts = struct.pack(f">H{len(numbers)}H", len(numbers), *numbers) + hexed(stop + inventory)
    return (struct.pack(">HH", 183, 4 + len(parts)) + parts).hex()


def about_rospec(word: str, id_: int = 1) -> str:
    """ENABLE_ROSPEC and its like: the first word of the message, and one id."""
    return f"{word} 0000000E 00000006 {id_:08X}"


ENABLE, START, STOP, DISABLE, DELETE = "0418", "0416", "0417", "0419", "0415"
IMMEDIATE = "00B3 0005 01"
EVENTS_ON = "04030000003B00000004 00 00F40027 00F5000700 0280 00F5000700 0380 00F5000700 0480 00F5000700 0680 00F5000700 0880 00DC00090100002710"  # noqa: E501
"""SET_READER_CONFIG: events 2, 3, 4, 6 and 8 on, keepalive every 10 s."""

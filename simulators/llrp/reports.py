"""Tags as a client gets them: observations gathered into TagReportData (LLRP 1.0.1, sections 13.1 and 14.2.3).

Observations of one tag are merged when everything that the report would show of their origin is equal. A merged one has
the first and the last time, the highest RSSI, the number of observations and the first channel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from simulators.llrp.codes import Tlv, Tv
from simulators.llrp.grammar import Fields, bad_field
from simulators.llrp.selection import crc, pc
from simulators.llrp.wire import tlv, tv

_EPC_96_BYTES = 12
_MOST_COUNTED = 0xFFFF
_MEMORY_SELECTOR_MASK = 0xC0


@dataclass(frozen=True, slots=True)
class Content:
    """Which fields a report shows, by the TagReportContentSelector's bits; all others always stay out."""

    bits: int = 0x9F80
    memory: int | None = None

    def shows(self, bit: int) -> bool:
        return bool(self.bits & bit)

    def encode(self) -> bytes:
        memory = [] if self.memory is None else [tlv(Tlv.C1G2_EPC_MEMORY_SELECTOR, bytes((self.memory,)))]
        return tlv(Tlv.TAG_REPORT_CONTENT_SELECTOR, struct.pack(">H", self.bits), *memory)


ROSPEC_ID = 0x8000
SPEC_INDEX = 0x4000
PARAMETER_SPEC_ID = 0x2000
ANTENNA_ID = 0x1000
CHANNEL_INDEX = 0x0800
PEAK_RSSI = 0x0400
FIRST_SEEN = 0x0200
LAST_SEEN = 0x0100
TAG_SEEN_COUNT = 0x0080
ACCESS_SPEC_ID = 0x0040
"""Shown never: no AccessSpec runs here."""
_EVERY_BIT = 0xFFC0

EPC_CRC = 0x80
EPC_PC = 0x40


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """`trigger` 0: on request only. 1: at `every` tags and at the end of an AISpec. 2: the same, at that of the ROSpec.
    With `every` 0, at the end only."""

    trigger: int = 2
    every: int = 0
    content: Content = Content()

    def encode(self) -> bytes:
        return tlv(Tlv.RO_REPORT_SPEC, struct.pack(">BH", self.trigger, self.every), self.content.encode())


def read_report_spec(fields: Fields) -> ReportSpec:
    """Raises `Refused`."""
    trigger, every = fields.take("BH")
    if trigger > 2:
        raise bad_field(Tlv.RO_REPORT_SPEC, 0, f"there is no report trigger {trigger}")
    selector = fields.one(Tlv.TAG_REPORT_CONTENT_SELECTOR)
    (bits,) = selector.take("H")
    if bits & ~_EVERY_BIT:
        raise bad_field(Tlv.TAG_REPORT_CONTENT_SELECTOR, 0, "reserved bits are not zero")
    memory = None
    for part in selector.many(Tlv.C1G2_EPC_MEMORY_SELECTOR):
        (memory,) = part.take("B")
        part.end()
        if memory & ~_MEMORY_SELECTOR_MASK:
            raise bad_field(Tlv.C1G2_EPC_MEMORY_SELECTOR, 0, "reserved bits are not zero")
    selector.end()
    fields.end()
    return ReportSpec(trigger, every, Content(bits, memory))


Told = dict[Tv, bytes] | None
"""The last value of each field that the client was told, where a field that has not changed may be left out."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a ROSpec a tag was seen; 0 for what the report does not show. `spec_index` counts from 1."""

    rospec: int
    spec_index: int
    parameter_spec: int
    antenna: int


@dataclass(frozen=True, slots=True)
class TagReport:
    """One TagReportData."""

    epc: bytes
    origin: Origin
    rssi_dbm: int
    channel: int
    first_us: int
    last_us: int
    count: int = 1

    def and_again(self, later: TagReport) -> TagReport:
        """This tag, seen once more."""
        return replace(
            self,
            rssi_dbm=max(self.rssi_dbm, later.rssi_dbm),
            last_us=later.last_us,
            count=min(self.count + later.count, _MOST_COUNTED),
        )

    def encode(self, content: Content, told: Told = None) -> bytes:
        fields: list[tuple[Tv, bytes]] = []
        for bit, type_, layout, value in (
            (ROSPEC_ID, Tv.ROSPEC_ID, ">I", self.origin.rospec),
            (SPEC_INDEX, Tv.SPEC_INDEX, ">H", self.origin.spec_index),
            (PARAMETER_SPEC_ID, Tv.INVENTORY_PARAMETER_SPEC_ID, ">H", self.origin.parameter_spec),
            (ANTENNA_ID, Tv.ANTENNA_ID, ">H", self.origin.antenna),
            (PEAK_RSSI, Tv.PEAK_RSSI, ">b", self.rssi_dbm),
            (CHANNEL_INDEX, Tv.CHANNEL_INDEX, ">H", self.channel),
            (FIRST_SEEN, Tv.FIRST_SEEN_UTC, ">Q", self.first_us),
            (LAST_SEEN, Tv.LAST_SEEN_UTC, ">Q", self.last_us),
            (TAG_SEEN_COUNT, Tv.TAG_SEEN_COUNT, ">H", self.count),
        ):
            if content.shows(bit):
                fields.append((type_, struct.pack(layout, value)))
        memory = content.memory or 0
        if memory & EPC_CRC:
            fields.append((Tv.C1G2_CRC, crc(self.epc).to_bytes(2)))
        if memory & EPC_PC:
            fields.append((Tv.C1G2_PC, pc(self.epc).to_bytes(2)))
        if told is not None:
            fields = [field for field in fields if told.get(field[0]) != field[1]]
            told.update(fields)
        return tlv(Tlv.TAG_REPORT_DATA, _epc(self.epc), *(tv(*field) for field in fields))


class Gathered:
    """What has been seen since the last report. Bounded: beyond `capacity` tags a new one is refused."""

    def __init__(self, content: Content, *, capacity: int) -> None:
        self.content = content
        self._capacity = capacity
        self._tags: dict[tuple[bytes, Origin], TagReport] = {}

    def __len__(self) -> int:
        return len(self._tags)

    def add(self, seen: TagReport) -> bool:
        """False when there is no room for one more tag."""
        origin = self._shown(seen.origin)
        key = (seen.epc, origin)
        if (known := self._tags.get(key)) is not None:
            self._tags[key] = known.and_again(seen)
        elif len(self._tags) < self._capacity:
            self._tags[key] = replace(seen, origin=origin)
        else:
            return False
        return True

    def take(self, told: Told = None) -> bytes:
        """The body of a report, in the order in which tags were first seen; nothing is gathered afterwards."""
        body = b"".join(tag.encode(self.content, told) for tag in self._tags.values())
        self._tags.clear()
        return body

    def _shown(self, origin: Origin) -> Origin:
        shows = self.content.shows
        return Origin(
            rospec=origin.rospec if shows(ROSPEC_ID) else 0,
            spec_index=origin.spec_index if shows(SPEC_INDEX) else 0,
            parameter_spec=origin.parameter_spec if shows(PARAMETER_SPEC_ID) else 0,
            antenna=origin.antenna if shows(ANTENNA_ID) else 0,
        )


def _epc(epc: bytes) -> bytes:
    """96 bits go as EPC-96, any other length as EPCData."""
    if len(epc) == _EPC_96_BYTES:
        return tv(Tv.EPC_96, epc)
    return tlv(Tlv.EPC_DATA, struct.pack(">H", 8 * len(epc)), epc)

"""RO_ACCESS_REPORT: what the reader has seen (section 14.2.3). The one codec here that must be fast."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from drivers.rfid.llrp.parameters import TLV, TV_SIZES, Malformed, ParameterType

_EPC_DATA = struct.Struct(">HHH")
_EPC_DATA_TYPE = int(ParameterType.EPC_DATA)
_TAG_REPORT_TYPE = int(ParameterType.TAG_REPORT_DATA)

_EPC_96 = 0x80 | ParameterType.EPC_96
_FIELDS = {
    0x80 | kind: (place, struct.Struct(layout).unpack_from)
    for place, (kind, layout) in enumerate(
        [
            (ParameterType.ANTENNA_ID, ">H"),
            (ParameterType.PEAK_RSSI, ">b"),
            (ParameterType.TAG_SEEN_COUNT, ">H"),
            (ParameterType.FIRST_SEEN_UTC, ">Q"),
            (ParameterType.LAST_SEEN_UTC, ">Q"),
            (ParameterType.C1G2_PC, ">H"),
            (ParameterType.ROSPEC_ID, ">I"),
        ]
    )
}
"""By the first byte of a parameter: which of the fields after the EPC it is, and how it is read."""
_TV_LENGTHS = tuple(1 + TV_SIZES.get(kind, -1) for kind in range(128))
"""With the byte of the type; 0 where the length is unknown."""


class TagReport(NamedTuple):
    """One TagReportData. What the reader left out is None: it means "as in my last report"."""

    epc: bytes
    epc_bits: int
    antenna: int | None
    rssi_dbm: int | None
    seen_count: int | None
    first_seen_us: int | None
    """Microseconds since 1970-01-01 UTC on the clock of the reader."""
    last_seen_us: int | None
    pc: int | None
    """The protocol control word of the tag."""
    rospec: int | None
    """Which ROSpec has asked for it."""


def parse_reports(body: bytes) -> Iterator[TagReport]:
    """The tag reports in a message, decoded as they are asked for.

    Raises `Malformed`: at once where there is no telling where the next report begins, and else after the last of them.
    Parameters of other kinds (RF surveys, results of access operations, those of vendors) are passed over.
    """
    start, end = 0, len(body)
    broken: Malformed | None = None
    while start < end:
        if end - start < TLV.size:
            raise Malformed(f"{end - start} bytes where a tag report should begin: {body[start:].hex(' ')}")
        kind, length = TLV.unpack_from(body, start)
        if kind & 0x8000:
            raise Malformed(f"byte {body[start]:02X} where a tag report should begin")
        if length < TLV.size or start + length > end:
            raise Malformed(f"parameter {kind & 0x3FF} of {length} bytes, {end - start} bytes before the end")
        if kind & 0x3FF == _TAG_REPORT_TYPE:
            try:
                report = _tag_report(body, start + TLV.size, start + length)
            except Malformed as error:
                broken = broken or error
            else:
                yield report
        start += length
    if broken is not None:
        raise broken


def _tag_report(data: bytes, start: int, end: int) -> TagReport:
    epc, epc_bits, at = _epc(data, start, end)
    found: list[int | None] = [None] * len(_FIELDS)
    while at < end:
        kind = data[at]
        if kind & 0x80:
            length = _TV_LENGTHS[kind & 0x7F]
            if not length:
                break  # of a newer LLRP: there is no telling where it ends
            if at + length > end:
                raise Malformed(f"parameter {kind & 0x7F} ends after the tag report that it is in")
            if (field := _FIELDS.get(kind)) is not None:
                place, unpack = field
                (found[place],) = unpack(data, at + 1)
            at += length
        else:
            at = _after_tlv(data, at, end)
    return TagReport(epc, epc_bits, *found)


def _epc(data: bytes, start: int, end: int) -> tuple[bytes, int, int]:
    """The EPC that a tag report begins with, its size in bits, and where it ends."""
    if start < end and data[start] == _EPC_96:
        if end - start < 13:
            raise Malformed(f"an EPC-96 of {end - start - 1} bytes")
        return data[start + 1 : start + 13], 96, start + 13
    if end - start >= _EPC_DATA.size:
        kind, length, bits = _EPC_DATA.unpack_from(data, start)
        if kind & 0x83FF == _EPC_DATA_TYPE:
            if length != _EPC_DATA.size + (bits + 7) // 8 or start + length > end:
                raise Malformed(f"EPCData of {length} bytes for {bits} bits, {end - start} bytes before the end")
            return data[start + _EPC_DATA.size : start + length], bits, start + length
    raise Malformed(f"a tag report that does not begin with an EPC: {data[start : min(end, start + 16)].hex(' ')}")


def _after_tlv(data: bytes, at: int, end: int) -> int:
    """Where the TLV parameter at `at` ends."""
    if end - at < TLV.size:
        raise Malformed(f"{end - at} bytes where a parameter should begin")
    kind: int
    length: int
    kind, length = TLV.unpack_from(data, at)
    if length < TLV.size or at + length > end:
        raise Malformed(
            f"parameter {kind & 0x3FF} of {length} bytes, {end - at} bytes before the end of its tag report"
        )
    return at + length

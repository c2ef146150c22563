"""What was read in a probe, as lines for people. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.contract import DriverError
from drivers.modbus.codec import wire_places
from drivers.modbus.point import Address, ModbusPoint, Order, Range, Table, parse_type
from drivers.modbus.shortest import shortest

_ORDERS = (Order.ABCD, Order.CDAB, Order.BADC, Order.DCBA)
_PAIR_TYPES = ("uint32", "int32", "float32")
_BITS_IN_ROW = 16


@dataclass(slots=True)
class Sweep:
    """What is known of a range of addresses."""

    values: dict[int, int] = field(default_factory=dict)
    """Address → register, or bit."""
    refused: dict[int, str] = field(default_factory=dict)
    """Address → why the unit does not give it."""
    stopped_by: DriverError | None = None
    """What ended the sweep before all of the range was asked for."""

    def add(self, span: Range, data: bytes) -> None:
        """The data of a reply to a read of `span`."""
        addresses = range(span.start, span.end)
        if span.table.holds_bits:
            self.values.update((address, data[n // 8] >> n % 8 & 1) for n, address in enumerate(addresses))
        else:
            self.values.update(zip(addresses, struct.unpack(f">{len(addresses)}H", data), strict=True))

    def runs(self, span: Range) -> Iterator[tuple[int, int, str]]:
        """(first, last, why not) of neighbours that were refused for one reason, or not asked for."""
        start: int | None = None
        why = ""
        for address in range(span.start, span.end + 1):
            reason = "" if address in self.values or address == span.end else self.refused.get(address, "not read")
            if start is not None and reason != why:
                yield start, address - 1, why
                start = None
            if reason and start is None:
                start, why = address, reason


def lines(span: Range, sweep: Sweep) -> Iterator[str]:
    """The table of a range."""
    missing = {first: (last, why) for first, last, why in sweep.runs(span)}
    if span.table.holds_bits:
        yield from _bit_lines(span, sweep, missing)
        return
    yield f"{'address':>11}  {'hex':>6}  {'uint16':>6}  {'int16':>6}  {'bits':<19}  text"
    for address in range(span.start, span.end):
        if address in missing:
            yield _missing_line(address, *missing[address])
        elif (value := sweep.values.get(address)) is not None:
            yield _register_line(address, value)
    pairs = [n for n in range(span.start, span.end - 1) if n in sweep.values and n + 1 in sweep.values]
    if pairs:
        yield ""
        yield f"{'pair':>11}  {'as':<7}" + "".join(f"  {order:>14}" for order in _ORDERS)
    for first in pairs:
        data = struct.pack(">HH", sweep.values[first], sweep.values[first + 1])
        for kind in _PAIR_TYPES:
            place = _addresses(first, first + 1) if kind == _PAIR_TYPES[0] else ""
            yield f"{place:>11}  {kind:<7}" + "".join(f"  {_pair_value(data, kind, order):>14}" for order in _ORDERS)


def _bit_lines(span: Range, sweep: Sweep, missing: dict[int, tuple[int, str]]) -> Iterator[str]:
    """Sixteen to a row, the lowest address first; a row ends where something is missing."""
    row: list[int] = []
    for address in range(span.start, span.end + 1):
        value = sweep.values.get(address)
        if row and (value is None or len(row) == _BITS_IN_ROW):
            first = address - len(row)
            shown = " ".join("".join(map(str, row[n : n + 4])) for n in range(0, len(row), 4))
            yield f"{_addresses(first, address - 1):>11}  {shown}"
            row = []
        if value is not None:
            row.append(value)
        if address in missing:
            yield _missing_line(address, *missing[address])


def _register_line(address: int, value: int) -> str:
    bits = f"{value:016b}"
    grouped = " ".join(bits[n : n + 4] for n in range(0, 16, 4))
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in value.to_bytes(2, "big"))
    signed = value - 0x10000 if value & 0x8000 else value
    return f"{address:>11}  0x{value:04X}  {value:>6}  {signed:>6}  {grouped}  {text}".rstrip()


def _missing_line(first: int, last: int, why: str) -> str:
    return f"{_addresses(first, last):>11}  {why}"


def _pair_value(data: bytes, kind: str, order: Order) -> str:
    point = ModbusPoint(name="pair", address=Address(Table.HOLDING, 0), type=parse_type(kind), order=order)
    raw = bytes(data[place] for place in wire_places(point, 0))
    (value,) = struct.unpack(">" + point.type.code, raw)
    if kind == "float32":
        return f"{shortest(value):.9g}" if math.isfinite(value) else str(value)
    return str(value)


def _addresses(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}–{last}"  # noqa: RUF001  a range is written with an en dash

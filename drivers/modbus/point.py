"""Where a Modbus value is and what its bytes mean: tables, addresses, types, byte orders.

Addresses are those on the wire: they start at 0 in each of the four tables (Modbus Application Protocol V1.1b3, 4.4),
so the register that a manual calls 40001 is `holding:0`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from drivers.model import Point

ADDRESSES = 65536
"""How many addresses a table has."""
MAX_REGISTERS = 125
MAX_BITS = 2000
"""Registers and bits in one reply (V1.1b3, 6.1 to 6.4)."""

_ADDRESS = re.compile(r"([a-z]+):(\d{1,5})(?:\.(\d{1,2}))?")
_RANGE = re.compile(r"([a-z]+):(\d{1,5})(?:-(\d{1,5}))?")
_MANUAL_ADDRESS = re.compile(r"([0134])(\d{4,5})")
_STRING = re.compile(r"string\((\d{1,3})\)")


class Table(StrEnum):
    """One of the four address spaces of a unit."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"

    @property
    def function(self) -> int:
        """The function code that reads it."""
        return _FUNCTIONS[self]

    @property
    def holds_bits(self) -> bool:
        """Whether an address is one bit; else it is one 16-bit register."""
        return self in (Table.COIL, Table.DISCRETE)


_FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


class Order(StrEnum):
    """How the bytes of a value lie on the wire; A is the most significant. On 64 bits the same pattern, over eight."""

    ABCD = "ABCD"
    DCBA = "DCBA"
    BADC = "BADC"
    CDAB = "CDAB"


LONG_ORDERS = {
    "ABCDEFGH": Order.ABCD,
    "HGFEDCBA": Order.DCBA,
    "BADCFEHG": Order.BADC,
    "GHEFCDAB": Order.CDAB,
}
"""The orders spelt out for 64 bits."""


@dataclass(frozen=True, slots=True)
class DataType:
    """`code` is the `struct` code of the big-endian bytes, `size` their number."""

    name: str
    code: str
    size: int

    @property
    def registers(self) -> int:
        return (self.size + 1) // 2

    @property
    def is_number(self) -> bool:
        return self.name not in ("bool", "string")


BOOL = DataType("bool", "B", 1)
_TYPES = {
    kind.name: kind
    for kind in (
        BOOL,
        DataType("int16", "h", 2),
        DataType("uint16", "H", 2),
        DataType("int32", "i", 4),
        DataType("uint32", "I", 4),
        DataType("int64", "q", 8),
        DataType("uint64", "Q", 8),
        DataType("float32", "f", 4),
        DataType("float64", "d", 8),
        DataType("bcd16", "H", 2),
        DataType("bcd32", "I", 4),
    )
}


@dataclass(frozen=True, slots=True)
class Address:
    """An address in a table, and for one bit of a register which one (0 is the least significant)."""

    table: Table
    number: int
    bit: int | None = None

    def __str__(self) -> str:
        return f"{self.table}:{self.number}" + ("" if self.bit is None else f".{self.bit}")


@dataclass(frozen=True, slots=True)
class Range:
    """The addresses from `start` up to and without `end`."""

    table: Table
    start: int
    end: int

    def overlaps(self, other: Range) -> bool:
        return self.table is other.table and self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        last = self.end - 1
        return f"{self.table}:{self.start}" + ("" if last == self.start else f"-{last}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPoint(Point):
    """A point with its place and its meaning. The value is `raw * scale + offset` for numbers."""

    address: Address
    type: DataType
    order: Order = Order.ABCD
    scale: float = 1.0
    offset: float = 0.0

    @property
    def span(self) -> Range:
        """The addresses that must be read together to have the value."""
        count = 1 if self.address.table.holds_bits else self.type.registers
        return Range(self.address.table, self.address.number, self.address.number + count)


def parse_address(text: str) -> Address:
    """`holding:0`, `input:4`, `coil:0`, `discrete:3`, `holding:12.3`. Raises ValueError with words for an operator."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(
            f'"{text}" is not an address; {_manual_address(text)}write table:number, for example holding:0'
        )
    table = _table(match[1], text)
    number = _number(match[2], text)
    if match[3] is None:
        return Address(table, number)
    if table.holds_bits:
        raise ValueError(f'"{text}" asks for a bit of a {table}, which is itself one bit; write {table}:{number}')
    if int(match[3]) > 15:
        raise ValueError(f'"{text}" asks for bit {match[3]}; a register has the bits 0 (least significant) to 15')
    return Address(table, number, int(match[3]))


def parse_range(text: str) -> Range:
    """`holding:100-120` (both included) or `holding:100`. Raises ValueError with words for an operator."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a range of addresses; write table:first-last, for example holding:100-120')
    table = _table(match[1], text)
    first = _number(match[2], text)
    last = first if match[3] is None else _number(match[3], text)
    if last < first:
        raise ValueError(f'"{text}" ends before it starts')
    return Range(table, first, last + 1)


def parse_type(text: str) -> DataType:
    """A name of the table of types, or `string(n)` with n bytes. Raises ValueError with words for an operator."""
    if (known := _TYPES.get(text)) is not None:
        return known
    if (match := _STRING.fullmatch(text)) is not None:
        size = int(match[1])
        if not 1 <= size <= 2 * MAX_REGISTERS:
            raise ValueError(f'"{text}" does not fit into one request; a string has 1 to {2 * MAX_REGISTERS} bytes')
        return DataType("string", f"{size}s", size)
    if text.startswith("string"):
        raise ValueError(f'"{text}" needs its length in bytes, for example string(16)')
    near = get_close_matches(text.lower(), _TYPES, n=1)
    advice = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(_TYPES)} and string(n)"
    raise ValueError(f'"{text}" is not a type; {advice}')


def _table(name: str, text: str) -> Table:
    try:
        return Table(name)
    except ValueError:
        near = get_close_matches(name, list(Table), n=1)
        advice = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(Table)}"
        raise ValueError(f'"{text}": "{name}" is not a table; {advice}') from None


def _number(digits: str, text: str) -> int:
    if (number := int(digits)) >= ADDRESSES:
        raise ValueError(f'"{text}": {number} is beyond the last address, {ADDRESSES - 1}')
    return number


def _manual_address(text: str) -> str:
    """What `40001`, as manuals print it, is on the wire."""
    match = _MANUAL_ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= ADDRESSES:
        return ""
    table = {"0": Table.COIL, "1": Table.DISCRETE, "3": Table.INPUT, "4": Table.HOLDING}[match[1]]
    return f"addresses are those on the wire, so {text} of a manual is {table}:{int(match[2]) - 1}; "

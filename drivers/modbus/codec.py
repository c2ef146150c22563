"""Bytes of a reply → values. Pure.

A block of points is compiled once into one decoder. Decoding a reply is then: one gather that puts the bytes of every
point in big-endian order (left out when they are in order already), one `struct` for all of them, and work only on the
points that need it: scaled numbers, floats, BCD, bits and strings. Registers are big-endian on the wire (Modbus
Application Protocol V1.1b3, 4.2); coils come eight to a byte, the lowest address in the lowest bit (6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import chain, pairwise
from math import isfinite, lcm
from operator import itemgetter
from struct import Struct
from types import MappingProxyType
from typing import Any

from drivers.modbus.plan import Block
from drivers.modbus.point import BOOL, ModbusPoint, Order
from drivers.modbus.shortest import shortest
from drivers.model import Reason, Value

Decoded = tuple[tuple[Value, ...], Mapping[int, Reason]]
"""Values aligned with the block's points, and for the index of every bad one (its value is None) the reason."""

Decoder = Callable[[bytes], Decoded]
"""Takes exactly `size_bytes(block)` bytes. Raises nothing for any content."""

_Numbered = list[tuple[int, ModbusPoint]]
"""Points with their index in the block."""
_Step = Callable[[list[Any], dict[int, Reason]], None]
"""Turns what `struct` made of some points into their values, in place, and notes which are bad."""

_INTEGERS = ("int16", "uint16", "int32", "uint32", "int64", "uint64")
_NOTHING_BAD: Mapping[int, Reason] = MappingProxyType({})
_BITS_OF_BYTE = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]
_EXACT = Context(prec=60)
"""Digits enough for the product of any two floats as they are written, and for a sum of which a float can show both."""
_LARGEST_INTEGER = 2**63 - 1
"""What JSON readers and SQLite take as an integer; a scaled value that could be larger is a float."""


def size_bytes(block: Block) -> int:
    """The number of data bytes in a reply to this block."""
    return (block.count + 7) // 8 if block.span.table.holds_bits else 2 * block.count


def payload(body: bytes, size: int) -> bytes:
    """The data bytes of a read reply, given what follows its function code. Raises ValueError unless `size` of them."""
    if not body:
        raise ValueError("the reply ends after its function code")
    if body[0] != size:
        raise ValueError(f"the reply announces {body[0]} bytes where {size} were asked for")
    if len(body) != size + 1:
        raise ValueError(f"the reply announces {size} bytes and carries {len(body) - 1}")
    return body[1:]


def compile_decoder(block: Block) -> Decoder:
    """The decoder of replies to `block`."""
    return _compile_bits(block) if block.span.table.holds_bits else _compile_registers(block)


def wire_places(point: ModbusPoint, start: int) -> list[int]:
    """Where in the data the point's bytes are, most significant first."""
    first = 2 * (point.address.number - start)
    if point.address.bit is not None:
        return [first + (0 if point.address.bit > 7 else 1)]
    size = point.type.size
    if point.order is Order.DCBA:
        return [first + size - 1 - k for k in range(size)]
    if point.order is Order.BADC:
        return [first + (k ^ 1) for k in range(size)]
    if point.order is Order.CDAB:
        return [first + size - 2 - 2 * (k // 2) + k % 2 for k in range(size)]
    return [first + k for k in range(size)]


def _compile_bits(block: Block) -> Decoder:
    wanted = [point.span.start - block.span.start for point in block.points]
    contiguous = wanted == list(range(len(wanted)))
    pick = itemgetter(*wanted) if len(wanted) > 1 else lambda bits: (bits[wanted[0]],)
    count = len(wanted)

    def decode(data: bytes) -> Decoded:
        bits = tuple(chain.from_iterable(map(_BITS_OF_BYTE.__getitem__, data)))
        return (bits[:count] if contiguous else pick(bits)), _NOTHING_BAD

    return decode


def _compile_registers(block: Block) -> Decoder:
    places = [wire_places(point, block.span.start) for point in block.points]
    in_order = all(a < b for a, b in pairwise(chain.from_iterable(places)))
    gather = None if in_order else itemgetter(*chain.from_iterable(places))
    unpack = _struct(block, places if in_order else None).unpack
    numbered = list(enumerate(block.points))
    steps = [
        make(chosen)
        for makes, make in _STEPS
        if (chosen := [(index, point) for index, point in numbered if makes(point)])
    ]

    def decode(data: bytes) -> Decoded:
        raw = unpack(data if gather is None else bytes(gather(data)))
        if not steps:
            return raw, _NOTHING_BAD
        values = list(raw)
        bad: dict[int, Reason] = {}
        for step in steps:
            step(values, bad)
        return tuple(values), bad

    return decode


def _bits(points: _Numbered) -> _Step:
    masks = [(index, 1 << (point.address.bit or 0) % 8) for index, point in points]

    def step(values: list[Any], _: dict[int, Reason]) -> None:
        for index, mask in masks:
            values[index] = values[index] & mask != 0

    return step


def _strings(points: _Numbered) -> _Step:
    indices = [index for index, _ in points]

    def step(values: list[Any], _: dict[int, Reason]) -> None:
        for index in indices:
            values[index] = _text(values[index])

    return step


def _binary_coded_decimals(points: _Numbered) -> _Step:
    ratios = [(index, *_ratio(point)) for index, point in points]

    def step(values: list[Any], bad: dict[int, Reason]) -> None:
        for index, numerator, constant, divisor in ratios:
            try:
                value = int(f"{values[index]:x}") * numerator + constant
            except ValueError:  # a digit above 9
                values[index], bad[index] = None, Reason.OUT_OF_RANGE
            else:
                values[index] = value if divisor is None else value / divisor

    return step


def _scaled_integers(points: _Numbered) -> _Step:
    ratios = [(index, *_ratio(point)) for index, point in points]
    whole = [(index, numerator, constant) for index, numerator, constant, divisor in ratios if divisor is None]
    parts = [(index, numerator, constant, divisor) for index, numerator, constant, divisor in ratios if divisor]

    def step(values: list[Any], _: dict[int, Reason]) -> None:
        for index, numerator, constant in whole:
            values[index] = values[index] * numerator + constant
        for index, numerator, constant, divisor in parts:
            values[index] = (values[index] * numerator + constant) / divisor

    return step


def _floats(points: _Numbered) -> _Step:
    single = points[0][1].type.name == "float32"
    factors = [(index, _is_scaled(point), _decimal(point.scale), _decimal(point.offset)) for index, point in points]

    def step(values: list[Any], bad: dict[int, Reason]) -> None:
        for index, scaled, scale, offset in factors:
            value = values[index]
            if not isfinite(value):
                values[index], bad[index] = None, Reason.NOT_A_NUMBER
                continue
            if single:
                value = shortest(value)
            if scaled:
                value = float(_EXACT.fma(Decimal(repr(value)), scale, offset))
                if not isfinite(value):
                    value, bad[index] = None, Reason.OUT_OF_RANGE
            values[index] = value

    return step


_STEPS: list[tuple[Callable[[ModbusPoint], bool], Callable[[_Numbered], _Step]]] = [
    (lambda point: point.type is BOOL, _bits),
    (lambda point: point.type.name == "string", _strings),
    (lambda point: point.type.name in ("bcd16", "bcd32"), _binary_coded_decimals),
    (lambda point: point.type.name in _INTEGERS and _is_scaled(point), _scaled_integers),
    (lambda point: point.type.name == "float32", _floats),
    (lambda point: point.type.name == "float64", _floats),
]
"""Which points need more than unpacking, and what makes the step that does it for all of them."""


def _struct(block: Block, places: Sequence[list[int]] | None) -> Struct:
    """One field per point; with `places`, the bytes between them are skipped, else there are none."""
    if places is None:
        return Struct(">" + "".join(point.type.code for point in block.points))
    code, position = ">", 0
    for point, bytes_of in zip(block.points, places, strict=True):
        code += "x" * (bytes_of[0] - position) + point.type.code
        position = bytes_of[-1] + 1
    return Struct(code + "x" * (size_bytes(block) - position))


def _is_scaled(point: ModbusPoint) -> bool:
    return point.scale != 1 or point.offset != 0


def _decimal(number: float) -> Decimal:
    """As the operator wrote it."""
    return Decimal(str(number))


def _ratio(point: ModbusPoint) -> tuple[int, int, int | None]:
    """(n, c, d) with value = (raw * n + c) / d, where scale and offset are the decimals that the operator wrote.

    Dividing two integers is correctly rounded, so the result is the double nearest to the exact decimal: 1420 * 0.001
    is 1.42. d is None where the value stays an integer.
    """
    scale, offset = Fraction(_decimal(point.scale)), Fraction(_decimal(point.offset))
    divisor = lcm(scale.denominator, offset.denominator)
    numerator, constant = int(scale * divisor), int(offset * divisor)
    if not _is_scaled(point):
        return 1, 0, None
    is_whole = divisor == 1 and abs(numerator) * 256**point.type.size + abs(constant) <= _LARGEST_INTEGER
    return numerator, constant, None if is_whole else divisor


def _text(raw: bytes) -> str:
    """Latin-1 up to the first NUL, without trailing blanks; what cannot be printed becomes U+FFFD."""
    text = raw.partition(b"\0")[0].decode("latin-1").rstrip()
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)

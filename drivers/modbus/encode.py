"""A value → the bytes that a unit has to hold for it: the inverse of `codec`. Pure.

Every function raises ValueError, in words for the person who sent the value, when the point cannot take it.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from struct import Struct

from drivers.modbus.codec import wire_places
from drivers.modbus.point import ModbusPoint
from drivers.model import Value

_LARGEST_EXPONENT = 400
"""A decimal beyond it, or below its negative, is nothing to any type; as a fraction it could fill the memory."""
_LARGEST_FLOAT32 = Fraction((2 - 2**-23) * 2.0**127)
_LARGEST_FLOAT64 = Fraction((2 - 2**-52) * 2.0**1023)


def encode_bit(point: ModbusPoint, value: Value) -> bool:
    """What a coil or a bit of a register has to be. Takes true and false, and 1 and 0."""
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{point.name} takes true or false, not {_shown_value(value)}")


def encode_registers(point: ModbusPoint, value: Value) -> bytes:
    """The bytes of the point's registers, as they lie on the wire.

    A number is brought to the nearest step that the point has: 1.4204 at a scale of 0.001 is 1420. A string is filled
    up with NULs; so is the spare byte after an odd one.
    """
    raw = _text(point, value) if point.type.name == "string" else _number(point, value)
    data = bytearray(2 * point.type.registers)
    for byte, place in zip(raw, wire_places(point, point.address.number), strict=True):
        data[place] = byte
    return bytes(data)


def _text(point: ModbusPoint, value: Value) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{point.name} takes text, not {_shown_value(value)}")  # noqa: TRY004  contract: ValueError
    size = point.type.size
    if not value.isprintable():
        raise ValueError(f"{point.name} takes text that can be printed")
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f'{point.name} takes Latin-1 text, which has no "{value[error.start]}"') from None
    if len(raw) > size:
        raise ValueError(f"{point.name} takes up to {size} characters, not {len(raw)}")
    return raw.ljust(size, b"\0")


def _number(point: ModbusPoint, value: Value) -> bytes:
    scale, offset = Fraction(Decimal(str(point.scale))), Fraction(Decimal(str(point.offset)))
    wanted = (_exact(point, value) - offset) / scale
    code, (low, high) = Struct(">" + point.type.code), _limits(point)
    if point.type.name in ("float32", "float64"):
        with suppress(OverflowError):
            return code.pack(float(wanted))
    elif low <= (raw := round(wanted)) <= high:
        return code.pack(int(str(raw), 16) if point.type.name in ("bcd16", "bcd32") else raw)
    least, most = sorted((low * scale + offset, high * scale + offset))
    unit = f" {point.unit}" if point.unit else ""
    raise ValueError(f"{point.name} takes {_shown(least)} to {_shown(most)}{unit}, not {_shown_value(value)}")


def _exact(point: ModbusPoint, value: Value) -> Fraction:
    """The decimal that a person has written."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{point.name} takes a number, not {_shown_value(value)}")  # noqa: TRY004  contract: ValueError
    if isinstance(value, int):
        return Fraction(value)
    decimal = value if isinstance(value, Decimal) else Decimal(str(value))
    if not decimal.is_finite() or decimal.adjusted() > _LARGEST_EXPONENT:
        raise ValueError(f"{point.name} takes a number, not {value}")
    return Fraction(0 if decimal.adjusted() < -_LARGEST_EXPONENT else decimal)


def _limits(point: ModbusPoint) -> tuple[Fraction, Fraction]:
    """The least and the greatest number that the registers can hold."""
    name, bits = point.type.name, 8 * point.type.size
    if name == "float32":
        return -_LARGEST_FLOAT32, _LARGEST_FLOAT32
    if name == "float64":
        return -_LARGEST_FLOAT64, _LARGEST_FLOAT64
    if name in ("bcd16", "bcd32"):
        return Fraction(0), Fraction(10 ** (bits // 4) - 1)
    if name.startswith("u"):
        return Fraction(0), Fraction(2**bits - 1)
    return Fraction(-(2 ** (bits - 1))), Fraction(2 ** (bits - 1) - 1)


def _shown(number: Fraction) -> str:
    if number.denominator == 1 and abs(number) < 10**20:
        return str(int(number))
    try:
        return f"{float(number):.15g}"
    except OverflowError:
        return "more than a number can say"


def _shown_value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value[:40]}{"…" if len(value) > 40 else ""}"'
    if isinstance(value, int):
        return _shown(Fraction(value))
    return "nothing" if value is None else str(value)

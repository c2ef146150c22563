"""Whether a point can be read and written at all, under the limits and in the dialect of its device. Pure.

Each answer is None, or what stands in the way, for the person who wrote the config.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

from drivers.modbus.dialect import MAX_WRITTEN_REGISTERS, WRITE_REGISTER, Dialect
from drivers.modbus.plan import Limits
from drivers.modbus.point import ADDRESSES, ModbusPoint, Range


def unreadable(point: ModbusPoint, limits: Limits, dialect: Dialect) -> str | None:
    """Why no request can fetch the point."""
    own = span = point.span
    for whole in limits.start_only:
        if whole.overlaps(own):
            if own.start < whole.start or own.end > whole.end:
                return f"at {own} lies across the edge of the start-only block {whole}"
            span = Range(own.table, whole.start, own.end)
    count, most = span.end - span.start, limits.max_bits if span.table.holds_bits else limits.max_registers
    if count > most:
        what, key = ("bits", "max_bits") if span.table.holds_bits else ("registers", "max_registers")
        if span != own:
            return f"is read with {span}, which is {count} {what}, but {key} is {most}"
        return f"has {count} {what} but {key} is {most}"
    for banned in limits.forbidden:
        if banned.overlaps(own):
            return f"at {own} lies in the forbidden {banned}"
        if banned.overlaps(span):
            return f"is read with {span}, which takes in the forbidden {banned}"
    return _off_the_table(span, dialect)


def unwritable(point: ModbusPoint, dialect: Dialect) -> str | None:
    """Why a point that is to be writable cannot be written. Whether its table can is the point's own matter."""
    if not point.writable or point.address.table.holds_bits:
        return None
    count = point.span.end - point.span.start
    if count > 1 and dialect.writes_register == WRITE_REGISTER:
        return f"has {count} registers, which must change together, but write_register: 6 writes one"
    if count > MAX_WRITTEN_REGISTERS:
        return f"has {count} registers; at most {MAX_WRITTEN_REGISTERS} can be written in one request"
    return None


def off_step(point: ModbusPoint, limit: float) -> str | None:
    """Why `limit`, in the point's own unit, is none: a command is brought to the nearest step, which may be beyond."""
    if point.type.name in ("float32", "float64"):
        return None
    scale, offset, wanted = (Fraction(Decimal(str(number))) for number in (point.scale, point.offset, limit))
    raw = (wanted - offset) / scale
    if raw.denominator == 1:
        return None
    near = sorted(float(step * scale + offset) for step in (floor(raw), floor(raw) + 1))
    return (
        f"{limit:g} lies between {near[0]:.15g} and {near[1]:.15g}, the nearest that the register can hold; write one"
    )


def _off_the_table(span: Range, dialect: Dialect) -> str | None:
    first, last = span.start + dialect.offset, span.end - 1 + dialect.offset
    if first >= 0 and last < ADDRESSES:
        return None
    wrong = first if first < 0 else last
    return f"at {span} would be {wrong} on the wire, because of address_offset: {dialect.offset}"

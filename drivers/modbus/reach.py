"""Whether a point can be read and written at all, under the limits and in the dialect of its device. Pure.

Each answer is None, or what stands in the way, for the person who wrote the config.
"""

from __future__ import annotations

from drivers.modbus.dialect import MAX_WRITTEN_REGISTERS, WRITE_REGISTER, Dialect
from drivers.modbus.plan import Limits, plan
from drivers.modbus.point import ADDRESSES, ModbusPoint, Range


def unreadable(point: ModbusPoint, limits: Limits, dialect: Dialect) -> str | None:
    """Why no request can fetch the point."""
    for whole in limits.start_only:
        if whole.overlaps(point.span) and not (whole.start <= point.span.start and point.span.end <= whole.end):
            return f"at {point.span} lies across the edge of the start-only block {whole}"
    (block,) = plan([point], limits)
    span, most = block.span, limits.max_bits if block.span.table.holds_bits else limits.max_registers
    if block.count > most:
        what, key = ("bits", "max_bits") if span.table.holds_bits else ("registers", "max_registers")
        if block.start_only:
            return f"is read with {span}, which is {block.count} {what}, but {key} is {most}"
        return f"has {block.count} {what} but {key} is {most}"
    for banned in limits.forbidden:
        if banned.overlaps(point.span):
            return f"at {point.span} lies in the forbidden {banned}"
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


def _off_the_table(span: Range, dialect: Dialect) -> str | None:
    first, last = span.start + dialect.offset, span.end - 1 + dialect.offset
    if first >= 0 and last < ADDRESSES:
        return None
    wrong = first if first < 0 else last
    return f"at {span} would be {wrong} on the wire, because of address_offset: {dialect.offset}"

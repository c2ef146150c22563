"""Writes one point and reads back what the unit then holds."""

from __future__ import annotations

from drivers.contract import BadResponse, DeviceUnavailable, DriverError
from drivers.modbus.codec import compile_decoder
from drivers.modbus.encode import encode_bit, encode_registers
from drivers.modbus.failure import Refused, in_doubt
from drivers.modbus.line import Asker
from drivers.modbus.plan import Block
from drivers.modbus.point import ModbusPoint
from drivers.modbus.request import WriteRequest, write_bit, write_masked, write_registers
from drivers.modbus.unit import Unit
from drivers.model import Reason, Value

_NOT_FOR_READING = (1, 2, 3)
"""Exceptions by which a unit says that it has no such thing to read."""


async def write(line: Asker, unit: Unit, point: ModbusPoint, value: Value) -> Value:
    """Write `value`, in the point's own unit; returns what was read back, or confirmed where nothing can be read.

    Raises as `drivers.contract.WritableSession.write`. An error after which the value may have been written says so.
    """
    if not point.writable:
        raise ValueError(f"{point.name} is not writable")
    request, confirmed = await _request(line, unit, point, value)
    try:
        await line.ask(request, timeout_s=unit.timeout_s)
    except DriverError as error:
        doubt = in_doubt(error)
        if doubt is None:
            raise
        raise doubt from error
    try:
        block = unit.block(point)
        return _value(point, block, await line.ask(unit.request(block), timeout_s=unit.timeout_s))
    except Refused as refusal:
        if refusal.code in _NOT_FOR_READING and confirmed is not None:
            return _value(point, Block(point.span, (point,)), confirmed)
        raise _written(refusal) from refusal
    except DriverError as error:
        raise _written(error) from error


async def _request(line: Asker, unit: Unit, point: ModbusPoint, value: Value) -> tuple[WriteRequest, bytes | None]:
    """The request that writes, and the data by which a reply to a read would then say so, if that is all of them."""
    span, dialect = point.span, unit.dialect
    if span.table.holds_bits:
        bit = encode_bit(point, value)
        return write_bit(span, bit, unit=unit.number, dialect=dialect), bytes([bit])
    if point.address.bit is None:
        data = encode_registers(point, value)
        return write_registers(span, data, unit=unit.number, dialect=dialect), data
    bit, place = encode_bit(point, value), point.address.bit
    if dialect.masks_bits:
        return write_masked(span, place, bit, unit=unit.number, dialect=dialect), (bit << place).to_bytes(2, "big")
    block = unit.block(point)
    whole = await line.ask(unit.request(block), timeout_s=unit.timeout_s)
    held = int.from_bytes(whole[-2:], "big")  # the point's register is the last of its block
    data = (held & ~(1 << place) | bit << place).to_bytes(2, "big")
    return write_registers(span, data, unit=unit.number, dialect=dialect), None


def _value(point: ModbusPoint, block: Block, data: bytes) -> Value:
    """What the point is, by a reply to a read of `block`."""
    (value,), bad = compile_decoder(block)(data)
    if bad:
        message = f"{point.name} was written, but what the unit holds is no value of it ({data.hex(' ')})"
        raise BadResponse(message, reason=Reason.BAD_RESPONSE, hint="compare type and order with the manual")
    return value


def _written(error: DriverError) -> DriverError:
    """`error` came while reading back."""
    kind = BadResponse if isinstance(error, BadResponse) else DeviceUnavailable
    message = f"it was written, but cannot be read back: {error.message}"
    return kind(message, reason=error.reason, hint=error.hint)

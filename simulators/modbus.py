"""Modbus as a server speaks it: request PDU in, response PDU out, against a register table. No I/O, no framing.

Written from "MODBUS Application Protocol Specification V1.1b3": function codes in section 6, exception codes in section
7. Function codes 1, 2, 3, 4, 5, 6, 15 and 16. The order of the checks follows the state diagrams of the specification:
function (01), quantity and lengths (03), address (02), execution (whatever the device says).

A read is a slice of a packed `bytearray`, so it costs the same for one register as for 125.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

MAX_PDU_BYTES = 253
MAX_REGISTERS_READ = 125
MAX_REGISTERS_WRITTEN = 123
MAX_BITS_READ = 2000
MAX_BITS_WRITTEN = 1968


class ExceptionCode(IntEnum):
    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    SERVER_DEVICE_FAILURE = 0x04
    SERVER_DEVICE_BUSY = 0x06
    GATEWAY_TARGET_FAILED_TO_RESPOND = 0x0B


class ModbusError(Exception):
    """The request is answered with an exception response."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(code.name)
        self.code = code


class Area(Enum):
    """What a client can write to."""

    COILS = "coils"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class Write:
    """A client wants `values` from `address` on: 0 or 1 for coils, 0 to 65535 for holding registers."""

    area: Area
    address: int
    values: tuple[int, ...]


class Registers:
    """16-bit registers, packed in `blob` as they go on the wire (big-endian): register n is `blob[2 * n : 2 * n + 2]`.

    A request must lie within one of `blocks`, a write within one of `writable`; everything else is an illegal address.
    """

    __slots__ = ("_blocks", "_writable", "blob")

    def __init__(self, blocks: Sequence[range] = (), *, writable: Sequence[range] = ()) -> None:
        self._blocks = tuple(blocks)
        self._writable = tuple(writable)
        self.blob = bytearray(2 * max((block.stop for block in blocks), default=0))

    def read(self, address: int, count: int) -> bytes:
        """`count` registers from `address`, two bytes each. Raises `ModbusError`."""
        _check_within(self._blocks, address, count)
        return bytes(self.blob[2 * address : 2 * (address + count)])

    def check_write(self, address: int, count: int) -> None:
        _check_within(self._writable, address, count)

    def write(self, address: int, data: bytes) -> None:
        self.blob[2 * address : 2 * address + len(data)] = data


class Bits:
    """Coils or discrete inputs; bit `n` of the whole number `state` is address `n`."""

    __slots__ = ("_blocks", "_writable", "state")

    def __init__(self, blocks: Sequence[range] = (), *, writable: Sequence[range] = ()) -> None:
        self._blocks = tuple(blocks)
        self._writable = tuple(writable)
        self.state = 0

    def read(self, address: int, count: int) -> bytes:
        """`count` bits from `address`, the first in the lowest bit of the first byte. Raises `ModbusError`."""
        _check_within(self._blocks, address, count)
        return ((self.state >> address) & ((1 << count) - 1)).to_bytes((count + 7) // 8, "little")

    def check_write(self, address: int, count: int) -> None:
        _check_within(self._writable, address, count)

    def write(self, address: int, count: int, bits: int) -> None:
        mask = ((1 << count) - 1) << address
        self.state = (self.state & ~mask) | ((bits << address) & mask)


def _allow(write: Write) -> None:
    """A table without a device behind it takes every write."""


@dataclass(slots=True)
class RegisterTable:
    """What one unit shows.

    `on_write` is asked before a write is stored; it acts on the device or raises `ModbusError`.
    """

    coils: Bits = field(default_factory=Bits)
    discrete: Bits = field(default_factory=Bits)
    holding: Registers = field(default_factory=Registers)
    inputs: Registers = field(default_factory=Registers)
    on_write: Callable[[Write], None] = _allow


def respond(table: RegisterTable, pdu: bytes) -> bytes:
    """The response to `pdu`, which has at least its function code. Never raises for what a client sent."""
    handler = _HANDLERS.get(pdu[0])
    if handler is None:
        return exception_response(pdu[0], ExceptionCode.ILLEGAL_FUNCTION)
    try:
        return handler(table, pdu)
    except ModbusError as refused:
        return exception_response(pdu[0], refused.code)


def exception_response(function: int, code: int) -> bytes:
    """Section 7: the function code with its highest bit set, then the exception code."""
    return bytes((function | 0x80, code))


_ADDRESS_AND_COUNT = struct.Struct(">BHH")
_WRITE_MULTIPLE_HEAD = struct.Struct(">BHHB")


def _check_within(blocks: Sequence[range], address: int, count: int) -> None:
    end = address + count
    for block in blocks:
        if block.start <= address and end <= block.stop:
            return
    raise ModbusError(ExceptionCode.ILLEGAL_DATA_ADDRESS)


def _two_words(pdu: bytes) -> tuple[int, int]:
    if len(pdu) != _ADDRESS_AND_COUNT.size:
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    _, first, second = _ADDRESS_AND_COUNT.unpack(pdu)
    return first, second


def _read_bits(bits: Bits, pdu: bytes) -> bytes:
    address, count = _two_words(pdu)
    if not 1 <= count <= MAX_BITS_READ:
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    data = bits.read(address, count)
    return bytes((pdu[0], len(data))) + data


def _read_registers(registers: Registers, pdu: bytes) -> bytes:
    address, count = _two_words(pdu)
    if not 1 <= count <= MAX_REGISTERS_READ:
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    return bytes((pdu[0], 2 * count)) + registers.read(address, count)


def _write_single_coil(table: RegisterTable, pdu: bytes) -> bytes:
    address, value = _two_words(pdu)
    if value not in {0x0000, 0xFF00}:
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    table.coils.check_write(address, 1)
    bit = value >> 15
    table.on_write(Write(Area.COILS, address, (bit,)))
    table.coils.write(address, 1, bit)
    return pdu


def _write_single_register(table: RegisterTable, pdu: bytes) -> bytes:
    address, value = _two_words(pdu)
    table.holding.check_write(address, 1)
    table.on_write(Write(Area.HOLDING, address, (value,)))
    table.holding.write(address, pdu[3:5])
    return pdu


def _write_multiple(pdu: bytes, *, most: int, bits_each: int) -> tuple[int, int, bytes]:
    """Address, count and data of a request of function code 15 or 16."""
    if len(pdu) < _WRITE_MULTIPLE_HEAD.size:
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    _, address, count, byte_count = _WRITE_MULTIPLE_HEAD.unpack_from(pdu)
    data = pdu[_WRITE_MULTIPLE_HEAD.size :]
    if not (1 <= count <= most and byte_count == len(data) == (count * bits_each + 7) // 8):
        raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
    return address, count, data


def _write_multiple_coils(table: RegisterTable, pdu: bytes) -> bytes:
    address, count, data = _write_multiple(pdu, most=MAX_BITS_WRITTEN, bits_each=1)
    table.coils.check_write(address, count)
    bits = int.from_bytes(data, "little")
    table.on_write(Write(Area.COILS, address, tuple((bits >> index) & 1 for index in range(count))))
    table.coils.write(address, count, bits)
    return pdu[:5]


def _write_multiple_registers(table: RegisterTable, pdu: bytes) -> bytes:
    address, count, data = _write_multiple(pdu, most=MAX_REGISTERS_WRITTEN, bits_each=16)
    table.holding.check_write(address, count)
    table.on_write(Write(Area.HOLDING, address, struct.unpack(f">{count}H", data)))
    table.holding.write(address, data)
    return pdu[:5]


_HANDLERS: dict[int, Callable[[RegisterTable, bytes], bytes]] = {
    1: lambda table, pdu: _read_bits(table.coils, pdu),
    2: lambda table, pdu: _read_bits(table.discrete, pdu),
    3: lambda table, pdu: _read_registers(table.holding, pdu),
    4: lambda table, pdu: _read_registers(table.inputs, pdu),
    5: _write_single_coil,
    6: _write_single_register,
    15: _write_multiple_coils,
    16: _write_multiple_registers,
}

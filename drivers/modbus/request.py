"""Requests as bytes, and whether a reply fits them. Pure (Modbus Application Protocol V1.1b3, 6)."""

from __future__ import annotations

from drivers.modbus.codec import payload
from drivers.modbus.dialect import MASK_WRITE, WRITE_COIL, WRITE_COILS, WRITE_REGISTERS, Dialect
from drivers.modbus.point import Range


class Request:
    """One request to one unit, made once and sent as often as it is needed.

    `attempt` is what it tries, for messages. The names of the other attributes are those that pymodbus looks for.
    """

    __slots__ = ("attempt", "body", "dev_id", "function_code", "transaction_id")
    writes = False

    def __init__(self, unit: int, function: int, body: bytes, attempt: str) -> None:
        self.dev_id = unit
        self.function_code = function
        self.transaction_id = 0
        self.body = body
        self.attempt = attempt

    def encode(self) -> bytes:
        """What follows the function code."""
        return self.body

    def data(self, reply: bytes) -> bytes:
        """What a reply to this means, given what follows its function code. Raises ValueError if it does not fit."""
        raise NotImplementedError


class ReadRequest(Request):
    """Reads a range; its data are the bytes of the values, exactly as many as were asked for."""

    __slots__ = ("_size",)

    def __init__(self, span: Range, *, unit: int, dialect: Dialect) -> None:
        function, count = dialect.reads[span.table], span.end - span.start
        body = (span.start + dialect.offset).to_bytes(2, "big") + count.to_bytes(2, "big")
        super().__init__(unit, function, body, f"reading {dialect.text(function, span)} from unit {unit}")
        self._size = (count + 7) // 8 if span.table.holds_bits else 2 * count

    def data(self, reply: bytes) -> bytes:
        return payload(reply, self._size)


class WriteRequest(Request):
    """Writes; its data are empty. The unit confirms by repeating what it was told, or where and how much."""

    __slots__ = ("_confirmation",)
    writes = True

    def __init__(self, span: Range, function: int, written: bytes, *, unit: int, dialect: Dialect) -> None:
        """`written` is what `function` takes after the address, without counts."""
        address = (span.start + dialect.offset).to_bytes(2, "big")
        place = address + (span.end - span.start).to_bytes(2, "big")
        several = function in (WRITE_COILS, WRITE_REGISTERS)
        body = place + bytes([len(written)]) + written if several else address + written
        attempt = f"writing {written.hex(' ')} by {dialect.text(function, span)} to unit {unit}"
        super().__init__(unit, function, body, attempt)
        self._confirmation = place if several else body

    def data(self, reply: bytes) -> bytes:
        if reply != self._confirmation:
            raise ValueError(f"the unit confirms {reply.hex(' ')} where {self._confirmation.hex(' ')} was written")
        return b""


def write_bit(span: Range, value: bool, *, unit: int, dialect: Dialect) -> WriteRequest:  # noqa: FBT001
    """Switches one coil."""
    function = dialect.writes_coil
    written = (b"\xff\0" if value else b"\0\0") if function == WRITE_COIL else bytes([value])
    return WriteRequest(span, function, written, unit=unit, dialect=dialect)


def write_registers(span: Range, data: bytes, *, unit: int, dialect: Dialect) -> WriteRequest:
    """Writes the bytes of one or several registers."""
    return WriteRequest(span, dialect.register_write(span.end - span.start), data, unit=unit, dialect=dialect)


def write_masked(span: Range, bit: int, value: bool, *, unit: int, dialect: Dialect) -> WriteRequest:  # noqa: FBT001
    """Changes one bit of a register and nothing else: register = (register AND kept) OR (set AND NOT kept)."""
    kept, set_ = 0xFFFF ^ 1 << bit, value << bit
    masks = kept.to_bytes(2, "big") + set_.to_bytes(2, "big")
    return WriteRequest(span, MASK_WRITE, masks, unit=unit, dialect=dialect)

"""The machines behind one Modbus address, and what a fault makes of one answer. Pure: no socket, no line.

A wrong unit is the next id; `exception` is the exception `code`; `wrong-length` is one register (or eight coils) fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from simulators.faults import Fault, FaultKind
from simulators.modbus import MAX_PDU_BYTES, RegisterTable, exception_response, respond

ANSWER_FAULTS = frozenset(
    {
        FaultKind.NONE,
        FaultKind.HANG,
        FaultKind.SLOW,
        FaultKind.GARBLE,
        FaultKind.HALF_FRAME,
        FaultKind.WRONG_LENGTH,
        FaultKind.WRONG_UNIT,
        FaultKind.EXCEPTION,
        FaultKind.RESTART,
    }
)
"""What is possible wherever Modbus is spoken."""


def _nothing() -> None:
    """A unit that forgets nothing when it is restarted."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A machine behind one unit id. `power_cycle` makes it forget what a real one forgets."""

    name: str
    table: RegisterTable
    power_cycle: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes on the wire (no bytes: no answer), and how late; `reset` drops the connection instead."""

    frame: bytes = b""
    delay_s: float = 0.0
    reset: bool = False


class ModbusUnits:
    """Unit id → machine, and the answers of those."""

    def __init__(self, units: Mapping[int, Unit], *, random: Random) -> None:
        self.tables = {number: unit.table for number, unit in units.items()}
        self.names = {number: unit.name for number, unit in units.items()}
        self._units = dict(units)
        self._random = random

    def power_cycle(self, unit: int | None) -> None:
        """Make one unit, or all, forget what real ones forget."""
        for restarted in self._units.values() if unit is None else (self._units[unit],):
            restarted.power_cycle()

    def answer(self, unit: int, pdu: bytes, fault: Fault, *, frame: Callable[[int, bytes], bytes]) -> Answer:
        """What a client gets for `pdu`, which asks a unit that is here."""
        if fault.kind in {FaultKind.HANG, FaultKind.RESET, FaultKind.EXCEPTION}:
            response = bytes((pdu[0],))  # the machine does not act on what it does not answer properly
        else:
            response = respond(self.tables[unit], pdu)
        return spoil(fault, unit, response, frame=frame, random=self._random)


def spoil(fault: Fault, unit: int, response: bytes, *, frame: Callable[[int, bytes], bytes], random: Random) -> Answer:
    """What `fault` makes of the `response` PDU of `unit`; `frame` wraps unit and PDU for the wire."""
    bytes_sent = b""
    match fault.kind:
        case FaultKind.GARBLE:
            bytes_sent = random.randbytes(len(frame(unit, response)))
        case FaultKind.HALF_FRAME:
            whole = frame(unit, response)
            bytes_sent = whole[: len(whole) // 2]
        case FaultKind.WRONG_CHECKSUM:
            whole = frame(unit, response)
            bytes_sent = whole[:-1] + bytes((whole[-1] ^ 0xFF,))
        case FaultKind.WRONG_UNIT:
            bytes_sent = frame(unit + 1 & 0xFF, response)
        case FaultKind.EXCEPTION:
            bytes_sent = frame(unit, exception_response(response[0] & 0x7F, fault.code))
        case FaultKind.WRONG_LENGTH:
            bytes_sent = frame(unit, _wrong_length(response))
        case FaultKind.SLOW | FaultKind.NONE:
            bytes_sent = frame(unit, response)
    return Answer(bytes_sent, delay_s=fault.delay_s, reset=fault.kind is FaultKind.RESET)


def _wrong_length(response: bytes) -> bytes:
    """One register (or eight coils) fewer than asked for, with a byte count that agrees; two bytes more where there is
    only one to take. An answer without a byte count loses its last byte."""
    if response[0] not in {1, 2, 3, 4}:
        return response[:-1]
    each = 1 if response[0] in {1, 2} else 2
    data = response[2:-each] if len(response) - 2 > each else (response[2:] + bytes(2))[: MAX_PDU_BYTES - 2]
    return bytes((response[0], len(data))) + data

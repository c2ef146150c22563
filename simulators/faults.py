"""How an endpoint can misbehave, and what that makes of one answer. Pure: the random source is handed in.

| fault        | over TCP                                       | over a serial line        |
|--------------|------------------------------------------------|---------------------------|
| none         | works again                                    | works again               |
| refuse       | listening socket and all connections closed    | not possible              |
| reset        | connections are reset, now and at each request | not possible              |
| hang         | accepts and reads, never answers               | silent                    |
| garble       | random bytes in place of the answer            | the same                  |
| half-frame   | the first half of the answer                   | the same                  |
| wrong-unit   | a correct answer with the next unit's id       | the same                  |
| slow         | the answer `delay_ms` late                     | the same                  |
| exception    | exception `code` in place of every answer      | the same                  |
| wrong-length | a correct frame with one register too few      | the same                  |
| restart      | counters to zero, connections reset, once      | counters to zero, once    |

All but `refuse` and `reset`, which concern a connection and not a unit, can be limited to one unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from simulators.modbus import MAX_PDU_BYTES, exception_response


class FaultKind(StrEnum):
    NONE = "none"
    REFUSE = "refuse"
    RESET = "reset"
    HANG = "hang"
    GARBLE = "garble"
    HALF_FRAME = "half-frame"
    WRONG_UNIT = "wrong-unit"
    SLOW = "slow"
    EXCEPTION = "exception"
    WRONG_LENGTH = "wrong-length"
    RESTART = "restart"


CONNECTION_FAULTS = frozenset({FaultKind.REFUSE, FaultKind.RESET})


class FaultError(ValueError):
    """This endpoint cannot misbehave in this way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`delay_s` belongs to `slow`, `code` to `exception`; both are 0 elsewhere."""

    kind: FaultKind
    delay_s: float = 0.0
    code: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes on the wire (no bytes: no answer), and how late; `reset` drops the connection instead."""

    frame: bytes = b""
    delay_s: float = 0.0
    reset: bool = False


def spoil(fault: Fault, unit: int, response: bytes, *, frame: Callable[[int, bytes], bytes], random: Random) -> Answer:
    """What `fault` makes of the `response` PDU of `unit`; `frame` wraps unit and PDU for the wire."""
    bytes_sent = b""
    match fault.kind:
        case FaultKind.GARBLE:
            bytes_sent = random.randbytes(len(frame(unit, response)))
        case FaultKind.HALF_FRAME:
            whole = frame(unit, response)
            bytes_sent = whole[: len(whole) // 2]
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

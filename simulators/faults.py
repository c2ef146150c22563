"""How an endpoint can misbehave: a closed set of kinds. Each endpoint class says in `possible_faults` which it can.

| fault            | what a client meets                                                                | parameter    |
|------------------|------------------------------------------------------------------------------------|--------------|
| `none`           | works again                                                                        |              |
| `refuse`         | the listening socket is closed, connections are reset, new ones refused            |              |
| `reset`          | connections are reset, now and at each request                                     |              |
| `busy`           | a new client is turned away in the dialect's words, as if another one were there   |              |
| `close-event`    | clients are told, in the dialect's words, that the connection ends, and it does    |              |
| `hang`           | it accepts and reads, and nothing comes back                                       |              |
| `silent`         | requests are answered; what should come unasked (keepalive, report, stream) stays out |           |
| `slow`           | every answer comes late                                                            | `delay_s`    |
| `split`          | every message comes in several pieces                                              |              |
| `merged`         | messages are gathered and come several at once                                     |              |
| `garble`         | random bytes in place of every message                                             |              |
| `half-frame`     | the first half of every message                                                    |              |
| `wrong-length`   | every message is one element too short and agrees with itself                      |              |
| `wrong-checksum` | every message has a checksum that does not fit                                     |              |
| `wrong-unit`     | a correct answer in the name of the next unit                                      |              |
| `exception`      | an error in the dialect's words in place of every answer                           | `code`       |
| `bad-status`     | the machine says of its values that they are not to be used                        |              |
| `overload`       | the scale shows more than it may weigh                                             |              |
| `antenna-lost`   | an antenna of the reader sees nothing                                              | `code`       |
| `buffer-overflow` | reports of the reader are lost, and it says so                                    |              |
| `wrong-clock`    | every time that the machine tells is off                                           | `offset_s`   |
| `restart`        | connections are reset, what a restart forgets is forgotten; over at once           |              |

`refuse`, `reset`, `busy` and `close-event` concern a connection; all others can be limited to one unit where an
endpoint has units.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    NONE = "none"
    REFUSE = "refuse"
    RESET = "reset"
    BUSY = "busy"
    CLOSE_EVENT = "close-event"
    HANG = "hang"
    SILENT = "silent"
    SLOW = "slow"
    SPLIT = "split"
    MERGED = "merged"
    GARBLE = "garble"
    HALF_FRAME = "half-frame"
    WRONG_LENGTH = "wrong-length"
    WRONG_CHECKSUM = "wrong-checksum"
    WRONG_UNIT = "wrong-unit"
    EXCEPTION = "exception"
    BAD_STATUS = "bad-status"
    OVERLOAD = "overload"
    ANTENNA_LOST = "antenna-lost"
    BUFFER_OVERFLOW = "buffer-overflow"
    WRONG_CLOCK = "wrong-clock"
    RESTART = "restart"


CONNECTION_FAULTS = frozenset({FaultKind.REFUSE, FaultKind.RESET, FaultKind.BUSY, FaultKind.CLOSE_EVENT})


class FaultError(ValueError):
    """This endpoint cannot misbehave in this way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`delay_s` belongs to `slow`, `code` to `exception` and `antenna-lost`, `offset_s` to `wrong-clock`; else 0."""

    kind: FaultKind = FaultKind.NONE
    delay_s: float = 0.0
    code: int = 0
    offset_s: float = 0.0

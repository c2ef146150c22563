"""The ledger: what truly happened in the twin, event by event, to compare with what a gateway says of it.

One JSON object a line, in the order of time. Every line has `t_s` (simulated seconds since the start), `ts_ms` (wall
clock in Unix milliseconds; only where the twin runs in real time), `event` and `machine`. Lines about a parcel have
`parcel` (its number, from 1, unique in the hub) and `epc` (hexadecimal). Weights are decimal kilograms in a string.

| event        | machine       | more                                                                                 |
|--------------|---------------|--------------------------------------------------------------------------------------|
| `entered`    | first of line | `weight_kg`, `length_m`, `destination`                                               |
| `weighed`    | scale         | leaves the belt; `weight_kg` is true; `shown_kg` is the last stable gross, null if it |
|              |               | never stood still                                                                    |
| `passed`     | portal        | leaves the antennas; `read`: whether the line's control has read the tag             |
| `sorted`     | sorter        | `chute`: it is the parcel's destination                                              |
| `missorted`  | sorter        | `chute` is the last one; `destination`, `reason`: `unread`, `unknown` or `full`      |
| `discharged` | `discharge`   | has left a line that has no sorter                                                   |
| `emptied`    | sorter        | `chute`, `parcels`: how many were taken away                                         |
| `state`      | sorter        | `state`: the PackML state that it is in now                                          |
| `stuck`      | conveyor      | the parcel sticks under the exit photo-eye                                           |
| `freed`      | conveyor      | and is free again                                                                    |
| `loaded`     | platform      | `weight_kg` was put on it                                                            |
| `unloaded`   | platform      | and taken off; `weight_kg` and `shown_kg` as for `weighed`                           |
| `gated`      | door          | a pallet has gone through; `epcs` of everything on it                                |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from simulators.machine import Parcel

Detail = str | int | float | bool | None | list[str]


class Event(StrEnum):
    ENTERED = "entered"
    WEIGHED = "weighed"
    PASSED = "passed"
    SORTED = "sorted"
    MISSORTED = "missorted"
    DISCHARGED = "discharged"
    EMPTIED = "emptied"
    STATE = "state"
    STUCK = "stuck"
    FREED = "freed"
    LOADED = "loaded"
    UNLOADED = "unloaded"
    GATED = "gated"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    t_s: float
    event: Event
    machine: str
    parcel: int | None = None
    epc: bytes | None = None
    details: dict[str, Detail] = field(default_factory=dict)

    def line(self, *, ts_ms: int | None = None) -> str:
        """The line as JSON, without a newline."""
        shown: dict[str, Detail] = {"t_s": round(self.t_s, 3)}
        if ts_ms is not None:
            shown["ts_ms"] = ts_ms
        shown["event"] = self.event
        if self.parcel is not None and self.epc is not None:
            shown |= {"parcel": self.parcel, "epc": self.epc.hex().upper()}
        return json.dumps(shown | {"machine": self.machine} | self.details)


class Ledger:
    """Where machines write and readers are told at once. Without a reader a record costs almost nothing."""

    def __init__(self) -> None:
        self.time_s = 0.0
        """Simulated time; the twin moves it."""
        self._readers: list[Callable[[Entry], None]] = []

    def tell(self, reader: Callable[[Entry], None]) -> None:
        """Call `reader` for every entry from now on."""
        self._readers.append(reader)

    def record(self, event: Event, machine: str, parcel: Parcel | None = None, **details: Detail) -> None:
        """Something has happened now."""
        if not self._readers:
            return
        id_, epc = (None, None) if parcel is None else (parcel.id, parcel.epc)
        entry = Entry(self.time_s, event, machine, id_, epc, details)
        for reader in self._readers:
            reader(entry)


def kilograms(weight_kg: float) -> str:
    """To the gram, as ledger lines show weights."""
    return f"{weight_kg:.3f}"

"""The verdict: what the database committed against what each destination received. Pure.

What is promised, and judged here
    Loss      Positions of an epoch are given one after the other, so everything from 1 to the last was committed. Each
              has reached every destination, or the destination has set it aside, or it was dropped, which the table
              `dropped` counts. It does not tell ids: a reading that several destinations lacked counts once, and one
              that was dropped while its acknowledgement was under way counts although it has arrived. So the readings
              that are missing somewhere are at most as many as were dropped.
    Copies    An id that comes again says the same again, except for the flag `historical`, and for time and quality
              once the clock has been set. It comes once only in one connection.
    Content   It is that which was seen in the database.
    Order     In one connection the ids of a device grow within each lane. Nothing is promised beyond: what was in
              flight when a connection was lost comes again in the next one, in the history lane, while newer readings
              go in the live lane. What a destination had refused and is sent again comes late.

A connection begins with the message that says online, on the topic `status`: the gateway sends it before any reading,
and a broker that has accepted a new connection takes nothing from an older one of the same client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from tests.chaos.witness import Content, content

CLOCK_UNSET = b"clock-unset"
NO_VALUES = b"{}"


@dataclass(slots=True)
class Arrivals:
    """What one destination has received, message after message."""

    contents: dict[int, Content] = field(default_factory=dict)
    copies: int = 0
    connections: int = 0
    corrected: int = 0
    """Ids that came again with the time corrected."""
    refused: frozenset[str] = frozenset()
    """The devices whose readings the destination refuses, unless it relents."""
    late: int = 0
    """Their readings that came after newer ones."""
    faults: list[str] = field(default_factory=list)
    epochs: set[str] = field(default_factory=set)
    _lanes: dict[tuple[str, bool], int] = field(default_factory=dict)
    _here: set[int] = field(default_factory=set)
    _connected_ms: int | None = None
    """Of the connection that is under way, as its status says, more than once if it has history."""

    @property
    def duplicates(self) -> int:
        return self.copies - len(self.contents)

    def take(self, topic: str, payload: bytes) -> None:
        """The next message."""
        body = orjson.loads(payload)
        if topic.endswith("/status"):
            connected_ms = body.get("connected_ms")
            if body["online"] and (connected_ms is None or connected_ms != self._connected_ms):
                self._connected_ms = connected_ms
                self.connections += 1
                self._lanes.clear()
                self._here.clear()
            return
        for reading in body if isinstance(body, list) else [body]:
            epoch, _, position = reading["id"].rpartition("-")
            self.epochs.add(epoch)
            found = content(reading["device"], reading["ts_ms"], reading["values"], reading.get("quality", {}))
            self._take(int(position), found, historical=reading["historical"])

    def _take(self, position: int, found: Content, *, historical: bool) -> None:
        self.copies += 1
        before = self.contents.setdefault(position, found)
        if before != found:
            if same_but_for_the_clock(before, found):
                self.corrected += 1
            else:
                self.faults.append(f"{position} came again as another: {before} became {found}")
        device = found[0]
        lane = (device, historical)
        if position in self._here:
            self.faults.append(f"{position} of {device} came twice in connection {self.connections}")
        elif position <= self._lanes.get(lane, 0) and device in self.refused:
            self.late += 1
        elif position <= self._lanes.get(lane, 0):
            self.faults.append(
                f"{position} of {device} came after {self._lanes[lane]} in the {'history' if historical else 'live'} "
                f"lane of connection {self.connections}"
            )
        self._lanes[lane] = max(position, self._lanes.get(lane, 0))
        self._here.add(position)


def arrivals(lines: Iterable[bytes], *, refused: Iterable[str] = ()) -> Arrivals:
    """From the record of a subscriber."""
    found = Arrivals(refused=frozenset(refused))
    for line in lines:
        _, topic, payload = line.rstrip(b"\n").split(b" ", 2)
        found.take(topic.decode(), payload)
    return found


def same_but_for_the_clock(before: Content, after: Content) -> bool:
    """Whether `after` is the reading `before`, whose time was not known yet. Without a value nothing is marked."""
    if before[0] != after[0] or before[2] != after[2]:
        return False
    if before[2] == NO_VALUES:
        return before[3] == after[3]
    return CLOCK_UNSET in before[3] and CLOCK_UNSET not in after[3]


@dataclass(frozen=True, slots=True)
class Owed:
    """What a destination must have: the positions, and those of them that it has refused for good."""

    positions: set[int]
    set_aside: set[int] = field(default_factory=set)


def missing(owed: Owed, arrived: Arrivals) -> set[int]:
    """What the destination should have and has not."""
    return owed.positions - arrived.contents.keys() - owed.set_aside


def contradictions(committed: dict[int, Content], arrived: Arrivals) -> Iterator[str]:
    """Readings that are not what the database said."""
    for position, found in arrived.contents.items():
        truth = committed.get(position, found)
        if truth != found and not same_but_for_the_clock(truth, found) and not same_but_for_the_clock(found, truth):
            yield f"{position} was committed as {truth} and came as {found}"

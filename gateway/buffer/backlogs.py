"""Which destination still waits for which position. Pure bookkeeping; `gateway.buffer.writer` makes it durable.

Per destination: `pending`, a few ranges, and `waiting`, the number of readings among them that still exist. The two
differ when readings were dropped by priority out of the middle: cutting every hole into the ranges would make as many
ranges as there are survivors, so `pending` may name positions that no longer exist. Holes disappear when a `peek`
passes over them, when everything before them is gone, and when nothing is left waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.buffer.ranges import Ranges


@dataclass(slots=True)
class Backlog:
    """One destination's place in the buffer."""

    pending: Ranges
    waiting: int
    handed_out: set[int] = field(default_factory=set)
    """Peeked and not acknowledged."""
    lost_in_flight: set[int] = field(default_factory=set)
    """Dropped after they were handed out; their acknowledgement may still come and must not be counted again."""


class Backlogs:
    """Every destination's backlog, and what follows from them together.

    `held` is the number of readings that at least one destination waits for; `done` are the positions that every
    destination has acknowledged and whose rows are still to be deleted; `changes` grows with everything that has to be
    made durable.
    """

    def __init__(self, backlogs: Mapping[str, Backlog], *, held: int, done: Ranges) -> None:
        self._backlogs = dict(backlogs)
        self.held = held
        self.done = done
        self.changes = 0
        self.dropping: set[int] = set()
        """Dropped, but their rows are still to be deleted."""
        self.generation = 0
        """Grows with every `drop`: what was read from the database before is out of date."""

    def __getitem__(self, destination: str) -> Backlog:
        """Raises KeyError for a destination that the buffer was not opened with."""
        return self._backlogs[destination]

    def __iter__(self) -> Iterator[tuple[str, Backlog]]:
        return iter(self._backlogs.items())

    @property
    def first_pending(self) -> int | None:
        """The smallest position that somebody waits for."""
        return min(
            (one.pending.first for one in self._backlogs.values() if one.pending.first is not None), default=None
        )

    def committed(self, first: int, last: int) -> None:
        """New positions exist; every destination waits for them."""
        for backlog in self._backlogs.values():
            backlog.waiting += backlog.pending.add(first, last)
        self.held += last - first + 1

    def acknowledge(self, destination: str, positions: Iterable[int]) -> bool:
        """Positions that the destination does not wait for are ignored. Returns whether anything changed."""
        backlog = self._backlogs[destination]
        others = [one.pending for name, one in self._backlogs.items() if name != destination]
        changed = False
        for position in positions:
            if not backlog.pending.discard(position):
                continue
            changed = True
            backlog.handed_out.discard(position)
            if position in backlog.lost_in_flight:
                backlog.lost_in_flight.discard(position)
                continue
            backlog.waiting -= 1
            if not any(position in other for other in others):
                self.done.add(position, position)
                self.held -= 1
        if changed:
            self.changes += 1
            _tidy(backlog)
        return changed

    def drop(self, positions: Iterable[int]) -> set[int]:
        """These rows are being deleted. Returns those that somebody was still waiting for."""
        lost: set[int] = set()
        self.generation += 1
        for position in positions:
            self.dropping.add(position)
            for backlog in self._backlogs.values():
                if position not in backlog.pending:
                    continue
                backlog.waiting -= 1
                lost.add(position)
                if position in backlog.handed_out:
                    backlog.handed_out.discard(position)
                    backlog.lost_in_flight.add(position)
        self.held -= len(lost)
        self.changes += 1
        for backlog in self._backlogs.values():
            _tidy(backlog)
        return lost

    def put_back(self, destination: str, positions: Iterable[tuple[int, bool]]) -> None:
        """`destination` waits for these again, which it had handled. With each comes whether its row was still there:
        if not, it has one again now, and what others name at that position is a hole that must not become a reading."""
        backlog = self._backlogs[destination]
        others = [one for name, one in self._backlogs.items() if name != destination]
        self.generation += 1
        for position, existed in positions:
            if position in self.dropping or not existed:
                self.dropping.discard(position)
                for other in others:
                    other.pending.discard(position)
                    other.lost_in_flight.discard(position)
            self.done.discard(position)
            if not any(position in other.pending for other in others):
                self.held += 1
            backlog.waiting += backlog.pending.add(position, position)
        self.changes += 1

    def copy(self) -> Backlogs:
        """One that changes on its own."""
        backlogs = {
            name: Backlog(one.pending.copy(), one.waiting, set(one.handed_out), set(one.lost_in_flight))
            for name, one in self._backlogs.items()
        }
        twin = Backlogs(backlogs, held=self.held, done=self.done.copy())
        twin.changes, twin.dropping, twin.generation = self.changes, set(self.dropping), self.generation
        return twin

    def nothing_before(self, position: int) -> None:
        """No row exists before `position`."""
        for backlog in self._backlogs.values():
            backlog.pending.remove(1, position - 1)
            if backlog.lost_in_flight:
                backlog.lost_in_flight = {one for one in backlog.lost_in_flight if one >= position}

    def nothing_between(self, destination: str, first: int, last: int) -> None:
        """No row that `destination` waits for exists in `[first, last]`: a `peek` has looked."""
        self._backlogs[destination].pending.remove(first, last)


def _tidy(backlog: Backlog) -> None:
    if backlog.waiting == 0:  # whatever is still named are holes
        backlog.pending.clear()
        backlog.lost_in_flight.clear()

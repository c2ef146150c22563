"""Which destination still waits for which position. Pure bookkeeping; `gateway.buffer.writer` makes it durable.

Per destination: `pending`, a few ranges, and `waiting`, the number of readings among them that still exist. The two
differ when readings were dropped by priority out of the middle: cutting every hole into the ranges would make as many
ranges as there are survivors, so `pending` may name positions that no longer exist. Holes disappear when a `peek`
passes over them, when everything before them is gone, and when nothing is left waiting.

What only a destination that leaves was waiting for is `orphaned` until `gateway.buffer.leaving` has counted it as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.buffer.ranges import Ranges, union
from gateway.config import Start


@dataclass(slots=True)
class Backlog:
    """One destination's place in the buffer."""

    pending: Ranges
    waiting: int
    handed_out: set[int] = field(default_factory=set)
    """Peeked and not acknowledged."""
    lost_in_flight: set[int] = field(default_factory=set)
    """Dropped after they were handed out; their acknowledgement may still come and must not be counted again."""

    def remove_holes(self, first: int, last: int, *, rows: Iterable[int] = ()) -> bool:
        """Between the two, only these positions have rows. Returns False, and has changed nothing, when that cannot be:
        more readings wait than would be left."""
        holes = Ranges([(first, last)])
        for position in rows:
            holes.discard(position)
        if self.pending.count - self.pending.count_common(holes) < self.waiting:
            return False
        self.pending.subtract(holes)
        return True

    def handed_back(self) -> None:
        """No acknowledgement will come for what was peeked until now."""
        self.handed_out.clear()
        self.lost_in_flight.clear()


class Backlogs:
    """Every destination's backlog, and what follows from them together.

    `held` is the number of readings that at least one destination waits for or that are `orphaned`; `done` are the
    positions that every destination has acknowledged and whose rows are still to be deleted; `changes` grows with
    everything that has to be made durable. Nobody waits for what is `orphaned`.
    """

    def __init__(
        self,
        backlogs: Mapping[str, Backlog],
        *,
        held: int,
        done: Ranges,
        orphaned: Ranges | None = None,
        orphaned_by: Iterable[str] = (),
    ) -> None:
        self._backlogs = dict(backlogs)
        self.held = held
        self.done = done
        self.orphaned = orphaned or Ranges()
        self.orphaned_by = set(orphaned_by)
        """Destinations whose leaving has made what is orphaned."""
        self.left: set[str] = set()
        """Destinations that have left and still have a row in the database."""
        self.changes = 0
        self.dropping: set[int] = set()
        """Dropped, but their rows are still to be deleted."""
        self.generation = 0
        """Grows with every `drop`, `deleted` and the like: what was read from the database before is out of date."""

    def __getitem__(self, destination: str) -> Backlog:
        """That of a destination that has left is empty."""
        return self._backlogs.get(destination) or Backlog(Ranges(), 0)

    def __iter__(self) -> Iterator[tuple[str, Backlog]]:
        return iter(self._backlogs.items())

    @property
    def first_pending(self) -> int | None:
        """The smallest position that somebody waits for."""
        return min(
            (one.pending.first for one in self._backlogs.values() if one.pending.first is not None), default=None
        )

    def join(self, destination: str, start: Start) -> None:
        """Another destination. Does nothing when it is there already."""
        if destination in self._backlogs:
            return
        backlog = Backlog(Ranges(), 0)
        if start is Start.OLDEST:
            backlog = Backlog(union((*(one.pending for one in self._backlogs.values()), self.orphaned)), self.held)
            self.orphaned.clear()
            self.generation += 1
        self._backlogs[destination] = backlog
        self.left.discard(destination)
        self.changes += 1

    def leave(self, destination: str) -> tuple[int, int]:
        """One destination less. Returns how many readings it was waiting for, and that at most so many of them wait for
        nobody else: those are `orphaned` now. A `peek` that is under way finds nothing more."""
        backlog = self._backlogs.pop(destination)
        alone = backlog.pending.copy()
        for other in self._backlogs.values():
            alone.subtract(other.pending)
        self._orphan(destination, alone)
        waiting, backlog.waiting = backlog.waiting, 0
        backlog.pending.clear()
        self.left.add(destination)
        self.changes += 1
        return waiting, alone.count

    def _orphan(self, destination: str, alone: Ranges) -> None:
        if not self.orphaned:
            self.orphaned_by.clear()
        if alone:
            self.orphaned = union((self.orphaned, alone))
            self.orphaned_by.add(destination)

    def lose_orphans(self, spans: Iterable[tuple[int, int]], readings: int) -> None:
        """These were found to be `readings` rows and have been counted as lost: their rows are to be deleted."""
        for first, last in spans:
            self.orphaned.remove(first, last)
            if readings:
                self.done.add(first, last)
        self.held -= readings
        self.changes += 1

    def committed(self, first: int, last: int) -> None:
        """New positions exist; every destination waits for them."""
        for backlog in self._backlogs.values():
            backlog.waiting += backlog.pending.add(first, last)
        self.held += last - first + 1

    def acknowledge(self, destination: str, positions: Iterable[int]) -> bool:
        """Positions that the destination does not wait for are ignored. Returns whether anything changed."""
        backlog = self._backlogs.get(destination)
        if backlog is None:  # it has left
            return False
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

    def drop(self, positions: Iterable[int]) -> dict[str, list[int]]:
        """These rows are being deleted. Returns those of them that each destination was still waiting for, or one that
        has left."""
        lost: dict[str, list[int]] = {}
        self.generation += 1
        for position in positions:
            if position in self.dropping:
                continue  # by another: it is counted already
            self.dropping.add(position)
            if self.orphaned.discard(position):
                self.held -= 1
                for name in self.orphaned_by:
                    lost.setdefault(name, []).append(position)
                continue
            waiting = [(name, one) for name, one in self._backlogs.items() if position in one.pending]
            self.held -= bool(waiting)
            for name, backlog in waiting:
                backlog.waiting -= 1
                lost.setdefault(name, []).append(position)
                if position in backlog.handed_out:
                    backlog.handed_out.discard(position)
                    backlog.lost_in_flight.add(position)
        self.changes += 1
        for backlog in self._backlogs.values():
            _tidy(backlog)
        return lost

    def deleted(self, dropped: Sequence[int]) -> None:
        """These have no rows any more; a query that began before may still have found them."""
        if dropped:
            self.dropping.difference_update(dropped)
            self.generation += 1

    def put_back(self, destination: str, positions: Iterable[tuple[int, bool]]) -> None:
        """`destination` waits for these again, which it had handled. With each comes whether its row was still there:
        if not, or if it was being dropped, it is there again now, and whoever names that position names a hole, which
        must not become a reading. One that has joined anew meanwhile may be waiting for it as it is."""
        backlog = self._backlogs.get(destination)
        self.generation += 1
        for position, existed in positions:
            if position in self.dropping or not existed:
                self._cut_out(position)
            self.done.discard(position)
            orphaned = self.orphaned.discard(position)
            waited = any(position in one.pending for one in self._backlogs.values())
            if not (orphaned or waited):
                self.held += 1
            if backlog is not None:
                backlog.waiting += backlog.pending.add(position, position)
            elif not waited:  # it left meanwhile
                self._orphan(destination, Ranges([(position, position)]))
        self.changes += 1

    def _cut_out(self, position: int) -> None:
        """Whoever names this position names a hole."""
        self.dropping.discard(position)
        self.orphaned.discard(position)
        for backlog in self._backlogs.values():
            backlog.pending.discard(position)
            backlog.lost_in_flight.discard(position)

    @property
    def wanted(self) -> Ranges:
        """What somebody waits for, and what is orphaned; without what is being deleted."""
        wanted = union((*(one.pending for one in self._backlogs.values()), self.orphaned))
        for position in self.dropping:
            wanted.discard(position)
        return wanted

    def found(self, rows: Ranges) -> tuple[int, dict[str, int]]:
        """Of all rows only these are left. Returns how many readings were lost that somebody was waiting for, and how
        many of them each destination."""
        self.generation += 1
        wanted, before = self.wanted, {name: one.waiting for name, one in self._backlogs.items()}
        for backlog in self._backlogs.values():
            lost = {position for position in backlog.handed_out if position not in rows}
            backlog.handed_out -= lost
            backlog.lost_in_flight |= lost
            waiting = backlog.pending.copy()
            for position in self.dropping:
                waiting.discard(position)
            backlog.waiting = rows.count_common(waiting)
            _tidy(backlog)
        held = self.held
        self.held = rows.count_common(wanted)
        self.done = rows.copy()
        self.done.subtract(wanted)
        self.changes += 1
        lost_for = {name: before[name] - one.waiting for name, one in self if before[name] > one.waiting}
        return max(0, held - self.held), lost_for

    def copy(self) -> Backlogs:
        """One that changes on its own."""
        backlogs = {
            name: Backlog(one.pending.copy(), one.waiting, set(one.handed_out), set(one.lost_in_flight))
            for name, one in self._backlogs.items()
        }
        twin = Backlogs(
            backlogs,
            held=self.held,
            done=self.done.copy(),
            orphaned=self.orphaned.copy(),
            orphaned_by=self.orphaned_by,
        )
        twin.changes, twin.generation = self.changes, self.generation
        twin.dropping, twin.left = set(self.dropping), set(self.left)
        return twin

    def nothing_before(self, position: int) -> bool:
        """No row exists before `position`. Returns whether that can be: see `Backlog.remove_holes`."""
        self.orphaned.remove(1, position - 1)
        for backlog in self._backlogs.values():
            if not backlog.remove_holes(1, position - 1):
                return False
            if backlog.lost_in_flight:
                backlog.lost_in_flight = {one for one in backlog.lost_in_flight if one >= position}
        return True


def _tidy(backlog: Backlog) -> None:
    if backlog.waiting == 0:  # whatever is still named are holes
        backlog.pending.clear()
        backlog.lost_in_flight.clear()

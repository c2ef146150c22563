"""From memory into the database: one batch after the other, and beside it the mark that says how far they have come.

An error leaves it open whether a commit has reached the disk. Until that is known the batch stays as it is: a
repetition stores the same readings under the same positions, or finds them there.
"""

from __future__ import annotations

import time

from gateway.buffer.backlogs import Backlogs
from gateway.buffer.batch import Batch, gather
from gateway.buffer.bounds import Budget
from gateway.buffer.drops import DropReason, Drops
from gateway.buffer.eras import Era
from gateway.buffer.groups import Groups
from gateway.buffer.intake import Intake
from gateway.buffer.mark import Mark, MarkFile
from gateway.buffer.milestones import Milestones
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.buffer.timekeeping import Timekeeper
from gateway.health import BufferHealth


class Committer:
    """Empties the intake. Belongs to the writer's task."""

    def __init__(
        self,
        intake: Intake,
        *,
        mark: Mark,
        marks: MarkFile,
        budget: Budget,
        store: Store,
        backlogs: Backlogs,
        groups: Groups,
        tail: Tail,
        drops: Drops,
        health: BufferHealth,
        timekeeper: Timekeeper,
        milestones: Milestones,
    ) -> None:
        self.mark = mark
        """What was committed, as it stands beside the database."""
        self.uninspected_bytes = 0
        """How much was committed since the writer last looked at the bounds."""
        self._intake = intake
        self._marks = marks
        self._budget = budget
        self._store = store
        self._backlogs = backlogs
        self._groups = groups
        self._tail = tail
        self._drops = drops
        self._health = health
        self._timekeeper = timekeeper
        self._milestones = milestones
        self._batch: Batch | None = None
        self._doubtful = False

    @property
    def busy(self) -> bool:
        return self._batch is not None or bool(self._intake)

    @property
    def held(self) -> int:
        """Readings that are not committed yet."""
        return len(self._intake) + self._in_batch

    @property
    def through(self) -> int:
        """Of all readings that were ever put in, so many have been committed or dropped."""
        return self._intake.left - self._in_batch

    async def commit(self) -> None:
        """The batch whose fate is open, or else what has gathered. Raises `StoreFailed`; then call `failed`."""
        batch = self._batch = self._batch or gather(
            self._intake, self._groups, after=self.mark.last, budget=self._budget
        )
        if self._groups.unsaved:
            await self._store.insert_groups(self._groups.unsaved)
            self._groups.unsaved.clear()
        if batch.era is not None:
            await self.begin(batch.era)
        if batch.readings and not await self._was_committed_after_all(batch):
            started_s = time.perf_counter()
            await self._store.insert(batch.columns)
            self._health.commit_seconds.observe(time.perf_counter() - started_s)
        self._batch = None
        self._doubtful = False
        self._drops.count_uncommitted(DropReason.NOT_ENCODABLE, batch.unencodable)
        self._drops.count_uncommitted(DropReason.MAX_BYTES, batch.too_large)
        if batch.readings:
            first, last = self.mark.last + 1, self.mark.last + len(batch.readings)
            self._backlogs.committed(first, last)
            self._tail.extend(batch.readings)  # first, for from the mark on it counts as committed
            self._milestones.reached(last)
            await self._write_mark(last)
            self.uninspected_bytes += batch.size_bytes
        if not self._intake:
            self._drops.ended(DropReason.MEMORY)

    async def begin(self, era: Era) -> None:
        """What is committed from now on belongs to `era`; does nothing when that is so already."""
        newest = self._timekeeper.eras.newest
        if newest is None or not newest.is_same_clock(era):
            first, era = self.mark.last + 1, self._timekeeper.resolved(era)
            ended_boot_ns = self._timekeeper.ended_boot_ns
            await self._store.begin_era(first, era, ended_boot_ns=ended_boot_ns)
            self._timekeeper.eras.begin(first, era, ended_boot_ns=ended_boot_ns)

    async def write_mark(self) -> None:
        """What waits has changed."""
        await self._write_mark(self.mark.last)

    def failed(self) -> None:
        """Nobody knows whether the batch has reached the disk."""
        self._doubtful = self._batch is not None

    def repaired(self) -> None:
        """It has not: what is above the mark was not taken over from the database that went bad."""
        self._doubtful = False

    def give_up(self) -> None:
        """What is held is lost, and counted."""
        in_batch = self._batch.readings if self._batch else []
        self._drops.count_uncommitted(
            DropReason.SHUTDOWN, [*in_batch, *(entry.reading for entry in self._intake.empty())]
        )
        self._batch = None

    @property
    def _in_batch(self) -> int:
        return len(self._batch.readings) if self._batch else 0

    async def _was_committed_after_all(self, batch: Batch) -> bool:
        return self._doubtful and await self._store.last_position() >= self.mark.last + len(batch.readings)

    async def _write_mark(self, last: int) -> None:
        firsts = (self._backlogs.first_pending, self._backlogs.orphaned.first)
        first = min((first for first in firsts if first is not None), default=last + 1)
        self.mark = self.mark._replace(first=first, last=last)
        await self._marks.write(self.mark)

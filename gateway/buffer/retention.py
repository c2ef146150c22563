"""Keeping the buffer within its bounds: measures the database about once a second and drops what has to go.

Runs inside the writer's task, between commits, so it never competes with one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import takewhile

from drivers.settings import Priority
from gateway.buffer.backlogs import Backlogs
from gateway.buffer.bounds import Bounds, FillRate, Measured, Verdict, wal_budget_bytes
from gateway.buffer.drops import DropReason, Drops, Loss
from gateway.buffer.groups import Groups
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.buffer.timekeeping import Timekeeper
from gateway.config import BufferSettings, WhenFull
from gateway.health import BufferHealth

_log = logging.getLogger(__name__)

_MOST_DROPPED = 20_000  # rows per step, so that commits are held up for milliseconds only
_MOST_VACUUMED = 4096  # pages per step
_LOWEST_FIRST = (Priority.LOW, Priority.NORMAL, Priority.HIGH)


class Retention:
    """Enforces `max_bytes`, `min_free_disk` and `max_age`, and returns free space to the file system."""

    def __init__(
        self,
        settings: BufferSettings,
        *,
        store: Store,
        backlogs: Backlogs,
        groups: Groups,
        tail: Tail,
        drops: Drops,
        health: BufferHealth,
        timekeeper: Timekeeper,
        clock_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._store = store
        self._backlogs = backlogs
        self._groups = groups
        self._tail = tail
        self._drops = drops
        self._health = health
        self._timekeeper = timekeeper
        self._max_age_ns = int(settings.max_age * 1e9)
        self._clock_ns = clock_ns
        self._bounds = Bounds(max_bytes=settings.max_bytes, min_free_disk=settings.min_free_disk)
        self._rate = FillRate()
        self._searched: dict[Priority, int] = {}
        self._wal_held = False
        self.refusing: DropReason | None = None
        """Why new readings are refused (`drop-newest`); None while they are welcome."""

    async def look(self, now_s: float) -> bool:
        """Measure, decide, and drop what has to go: it is counted as lost and joins `backlogs.dropping`, which the
        writer deletes. Returns whether there is more to do at once."""
        measured = await self._store.measure()
        verdict = self._bounds.judge(measured)
        self._report(measured, now_s)
        victims: list[tuple[int, int]] = []
        reason = verdict.reason
        if self._settings.when_full is WhenFull.DROP_NEWEST:
            self.refusing = reason
        elif reason is not None:  # what everybody has goes first
            victims = await self._oldest(self._rows_in(verdict.surplus_bytes, measured) - self._backlogs.done.count)
        if not victims:
            reason = DropReason.MAX_AGE
            victims = await self._aged(measured)
        if victims and reason is not None:
            self._drop(victims, reason)
        self._end_episodes(verdict, measured)
        await self._return_space(measured, verdict)
        return bool(victims or self._backlogs.done) or verdict.spare_pages > _MOST_VACUUMED

    def refuse(self, observed_at_ns: int) -> bool:
        """Count a new reading as lost if the buffer does not take any. Returns whether it was refused."""
        if self.refusing is None:
            return False
        self._drops.count(self.refusing, Loss.of((observed_at_ns,)))
        return True

    def search_again(self) -> None:
        """Old readings have come back."""
        self._searched.clear()

    def _drop(self, victims: Sequence[tuple[int, int]], reason: DropReason) -> None:
        lost = self._backlogs.drop(position for position, _ in victims)
        self._tail.forget(position for position, _ in victims)
        if lost:
            times = [observed_at_ns for position, observed_at_ns in victims if position in lost]
            self._drops.count(reason, Loss.of(times))

    async def _oldest(self, wanted: int) -> list[tuple[int, int]]:
        """The oldest rows of the lowest priority, then of the next. What was searched once is not searched again."""
        newest = self._tail.end - 1
        found: list[tuple[int, int]] = []
        for priority in _LOWEST_FIRST:
            groups = self._groups.with_priority(priority)
            missing = wanted - len(found)
            if groups and missing > 0:
                rows = await self._store.oldest(groups, after=self._searched.get(priority, 0), limit=missing)
                self._searched[priority] = rows[-1][0] if len(rows) == missing else newest
                found += rows
        return found

    async def _aged(self, measured: Measured) -> list[tuple[int, int]]:
        """The oldest rows, as far as they are too old. Those whose age nobody knows go with the one that follows."""
        if measured.first_position is None:
            return []
        dated = self._timekeeper.dated_from(measured.first_position)
        if dated is None:
            return []
        first = await self._store.fetch(dated, self._tail.end, limit=1)
        if not first or not self._may_be_too_old(first[0][0], first[0][2]):
            return []
        rows = [(row[0], row[2]) for row in await self._store.fetch(0, self._tail.end, limit=1000)]
        aged = list(takewhile(lambda row: row[0] < dated or self._may_be_too_old(*row), rows))
        while aged and aged[-1][0] >= dated and self._timekeeper.age_ns(*aged[-1]) is None:
            aged.pop()
        return aged

    def _may_be_too_old(self, position: int, observed_at_ns: int) -> bool:
        age_ns = self._timekeeper.age_ns(position, observed_at_ns)
        return age_ns is None or age_ns > self._max_age_ns

    def _rows_in(self, surplus_bytes: int, measured: Measured) -> int:
        rows = max(1, self._backlogs.held)
        return min(_MOST_DROPPED, max(1, -(-rows * surplus_bytes // max(1, measured.used_bytes))))

    def _report(self, measured: Measured, now_s: float) -> None:
        health = self._health
        health.bytes = measured.file_bytes + measured.wal_bytes
        self._rate.observe(now_s, used_bytes=measured.used_bytes)
        health.seconds_until_full = self._rate.seconds_until(self._bounds.headroom_bytes(measured))
        if self._backlogs.held and measured.first_position is not None and measured.first_observed_ns is not None:
            age_ns = self._timekeeper.age_ns(measured.first_position, measured.first_observed_ns)
            health.oldest_ns = measured.first_observed_ns if age_ns is None else self._clock_ns() - age_ns
        if measured.first_position is not None:
            self._backlogs.nothing_before(measured.first_position)

    def _end_episodes(self, verdict: Verdict, measured: Measured) -> None:
        if verdict.relieved:
            self._drops.ended(DropReason.MAX_BYTES)
            self._drops.ended(DropReason.MIN_FREE_DISK)
        age_ns = None
        if measured.first_position is not None and measured.first_observed_ns is not None:
            age_ns = self._timekeeper.age_ns(measured.first_position, measured.first_observed_ns)
        if age_ns is None or age_ns < self._max_age_ns * 0.9:
            self._drops.ended(DropReason.MAX_AGE)

    async def _return_space(self, measured: Measured, verdict: Verdict) -> None:
        too_long = measured.wal_bytes > 2 * wal_budget_bytes(self._settings.max_bytes)
        if verdict.spare_pages or (too_long and not self._wal_held):
            await self._store.return_space(min(verdict.spare_pages, _MOST_VACUUMED))
        if too_long and not self._wal_held:
            after = await self._store.measure()
            self._wal_held = after.wal_bytes >= measured.wal_bytes
            if self._wal_held:
                _log.warning(
                    "the write-ahead log of %s has grown to %d bytes because another process keeps reading it: "
                    "close that sqlite3 shell or backup",
                    self._settings.path,
                    after.wal_bytes,
                )
        elif not too_long:
            self._wal_held = False

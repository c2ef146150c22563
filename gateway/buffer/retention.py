"""Keeping the buffer within its bounds: measures the database about once a second and drops what has to go.

Runs inside the writer's task, between commits, so it never competes with one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from drivers.settings import Priority
from gateway.buffer.backlogs import Backlogs
from gateway.buffer.bounds import PAGE_BYTES, Bounds, Budget, Forecast, Measured, Verdict
from gateway.buffer.drops import DropReason, Drops, Loss
from gateway.buffer.full_disk import FullDisk
from gateway.buffer.groups import Groups
from gateway.buffer.milestones import Milestones
from gateway.buffer.model import RowsMissing
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.buffer.thinning import Sweep, encode_sweeps, new_sweeps
from gateway.buffer.timekeeping import Timekeeper
from gateway.config import BufferSettings, WhenFull
from gateway.health import BufferHealth

_log = logging.getLogger(__name__)

_MOST_ROWS = 20_000  # in one transaction, so that commits are held up for milliseconds only
_WAL_ATTEMPTS = 3
_NEVER_THINNED = 8  # the newest eighth
_MOST_SCANS = 32  # in one look
_PATIENCE_S = 2.0  # when commits have waited for so long, the oldest go


class Retention:
    """Enforces `max_bytes`, `min_free_disk` and `max_age`, and returns free space to the file system."""

    def __init__(
        self,
        settings: BufferSettings,
        *,
        budget: Budget,
        store: Store,
        backlogs: Backlogs,
        groups: Groups,
        tail: Tail,
        drops: Drops,
        health: BufferHealth,
        full_disk: FullDisk,
        sweeps: dict[Priority, Sweep],
        timekeeper: Timekeeper,
        milestones: Milestones,
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
        self._milestones = milestones
        self._max_age_ns = int(settings.max_age * 1e9)
        self._clock_ns = clock_ns
        self._budget = budget
        self._bounds = Bounds(budget, min_free_disk=settings.min_free_disk)
        self._forecast = Forecast(budget, min_free_disk=settings.min_free_disk)
        self._full_disk = full_disk
        self._searched: dict[Priority, int] = {}
        self._sweeps = sweeps
        self._wal_attempts = 0
        self.row_bytes = PAGE_BYTES
        """What a row takes of the database, on average."""
        self.crowded_out = 0
        """So many set-aside readings have to go, because nothing else is left to drop."""
        self._urgent_since_s = float("inf")
        self.urgent = False
        """Room has to be made before the next commit, and can be."""
        self.refusing: DropReason | None = None
        """Why new readings are refused: by `drop-newest`, or because there is nothing to drop; None while they are
        welcome."""

    @property
    def rows_at_once(self) -> int:
        """How many rows that lie together fit into one transaction."""
        return max(1, min(_MOST_ROWS, self._budget.transaction // self.row_bytes))

    @property
    def set_aside_at_once(self) -> int:
        """As `rows_at_once`, of what was set aside: it may have been refused for its size."""
        return max(1, self.rows_at_once // 8)

    @property
    def facts(self) -> dict[str, str]:
        """Rows of `state`: what has been thinned, and the forecast of now for whoever looks from outside."""
        full = f"{self._clock_ns()} {self._health.seconds_until_full:.0f}"
        return {"sweeps": encode_sweeps(self._sweeps), "full": full, **self._milestones.facts}

    def settled(self) -> None:
        """What was asked for with the last settlement has been done."""
        self.crowded_out = 0
        self._milestones.unsaved = False

    async def look(self, now_s: float) -> bool:
        """Measure, decide, and drop what has to go: it is counted as lost and joins `backlogs.dropping`, which the
        writer deletes. Returns whether there is more to do at once."""
        measured = await self._store.measure()
        verdict = self._bounds.judge(measured)
        self.row_bytes = measured.row_bytes(self._backlogs.held + self._backlogs.done.count)
        self._milestones.note()
        if not measured.has_set_aside:  # which may come back
            self._milestones.forget_before(measured.first_position or self._tail.end)
        self._report(measured, verdict, now_s)
        await self._full_disk.look(measured, is_low=verdict.disk_is_low)
        self._drops.look(now_s)
        victims, reason = await self._surplus(verdict, measured, now_s)
        if not victims:
            victims, reason = await self._aged(measured), DropReason.MAX_AGE
        if victims:
            self._drop(victims, reason)
        self._end_episodes(verdict, measured)
        most_pages = self._budget.transaction // PAGE_BYTES
        if verdict.spare_pages and self._wal_attempts < _WAL_ATTEMPTS:
            await self._store.return_space(min(verdict.spare_pages, most_pages))
        await self.keep_wal_short(looking=True)
        return bool(victims or self._backlogs.done) or verdict.spare_pages > most_pages

    async def _surplus(
        self, verdict: Verdict, measured: Measured, now_s: float
    ) -> tuple[list[tuple[int, int]], DropReason]:
        """What has to go for want of room, and why. What everybody has goes first; when there is nothing else, what was
        set aside; when there is not even that, new readings are refused."""
        victims: list[tuple[int, int]] = []
        full, reason = verdict.reason is not None, verdict.reason or DropReason.MAX_BYTES
        wanted = -(-verdict.surplus_bytes // self.row_bytes) - self._backlogs.done.count
        drops = full and self._settings.when_full is not WhenFull.DROP_NEWEST
        self.crowded_out = 0
        if drops and wanted > 0:
            if self._settings.when_full is WhenFull.THIN and now_s < self._urgent_since_s + _PATIENCE_S:
                victims, reason = await self._thinned(wanted), DropReason.THINNED
            if not victims:
                victims, reason = await self._oldest(min(wanted, self.rows_at_once)), verdict.reason or reason
        if drops and not victims and not self._backlogs.done and measured.has_set_aside:
            self.crowded_out = self.set_aside_at_once
        makes_room = bool(victims or self._backlogs.done or self.crowded_out)
        self.refusing = None if drops and makes_room else verdict.reason
        self._health.refusing = self.refusing or ""
        was_urgent, self.urgent = self.urgent, full and makes_room and measured.used_bytes <= self._budget.file
        if not (was_urgent and self.urgent):
            self._urgent_since_s = now_s
        return victims, reason

    def refuse(self, observed_at_ns: int) -> bool:
        """Count a new reading as lost if the buffer does not take any. Returns whether it was refused."""
        if self.refusing is None:
            return False
        self._drops.count(self.refusing, Loss.of((observed_at_ns,)))
        return True

    def search_again(self) -> None:
        """Old readings have come back."""
        self._searched.clear()

    async def keep_wal_short(self, *, looking: bool = False) -> None:
        """After every transaction. A log that is too long has been read by another connection whenever it could have
        begun again. That is waited for, but not for ever: a reader that stays is told of, and left alone between two
        looks."""
        if self._store.wal_bytes <= self._budget.truncate_wal:
            self._wal_attempts = 0
            return
        patiently = self._wal_attempts < _WAL_ATTEMPTS
        if not (patiently or looking):
            return
        if await self._store.empty_wal(patiently=patiently):
            self._wal_attempts = 0
            return
        self._wal_attempts += 1
        if self._wal_attempts == _WAL_ATTEMPTS:
            _log.warning(
                "the write-ahead log of %s is %d bytes long and grows beyond max_bytes because another process keeps "
                "reading it: close that sqlite3 shell or backup",
                self._settings.path,
                self._store.wal_bytes,
            )

    def _drop(self, victims: Sequence[tuple[int, int]], reason: DropReason) -> None:
        lost = self._backlogs.drop(position for position, _ in victims)
        self._tail.forget(position for position, _ in victims)
        if lost:
            eras = self._timekeeper.eras
            rows = [(position, eras.at(position).dated_ns(taken_ns)) for position, taken_ns in victims]
            self._drops.count(reason, Loss.at(rows, lost))

    async def _thinned(self, wanted: int) -> list[tuple[int, int]]:
        """Polled readings from between others that stay, those of the lowest priority first. The newest are left alone:
        destinations that keep up have not got them yet."""
        last = self._tail.end - 1 - self._backlogs.held // _NEVER_THINNED
        most = self._budget.transaction // PAGE_BYTES  # beyond one scan: where they are rare, each costs a page
        scans = 0
        victims: list[tuple[int, int]] = []
        for priority in Priority:
            groups, sweep = self._groups.polled(priority), self._sweeps[priority]
            while groups and len(victims) < min(wanted, most) and scans < _MOST_SCANS:
                if sweep.after >= last:
                    if not sweep.is_worth_another(self._backlogs.held, rows_per_page=PAGE_BYTES // self.row_bytes):
                        break
                    if victims:  # another sweep must not meet them again
                        return victims
                    sweep.begin_another()
                scans += 1
                rows = await self._store.scan(sweep.after, last, limit=self.rows_at_once)
                victims += sweep.thin(rows, groups, most=wanted - len(victims))
                if len(rows) < self.rows_at_once and (not rows or sweep.after == rows[-1][0]):
                    sweep.end(last)
        return victims

    async def _oldest(self, wanted: int) -> list[tuple[int, int]]:
        """The oldest rows of the lowest priority that has any. What was searched once is not searched again."""
        newest = self._tail.end - 1
        for priority in Priority:
            groups = self._groups.with_priority(priority)
            if not groups or wanted <= 0:
                continue
            rows = await self._store.oldest(groups, after=self._searched.get(priority, 0), limit=wanted)
            found = self._affordable(rows)
            self._searched[priority] = found[-1][0] if len(found) == wanted or len(found) < len(rows) else newest
            if found:
                return found
        return []

    def _affordable(self, rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """As many of these as can be deleted in one transaction, which writes each page that it touches."""
        if not rows or (rows[-1][0] - rows[0][0] + 1) * self.row_bytes <= self._budget.transaction:
            return rows
        return rows[: self._budget.transaction // PAGE_BYTES]

    async def _aged(self, measured: Measured) -> list[tuple[int, int]]:
        """The oldest rows, as far as they are too old."""
        aged = self._milestones.aged()
        if measured.first_position is None or measured.first_position > aged:
            return []
        found = await self._store.fetch(0, aged, limit=min(1000, self.rows_at_once))
        return [(row[0], row[2]) for row in found]

    def _report(self, measured: Measured, verdict: Verdict, now_s: float) -> None:
        health = self._health
        health.bytes = measured.file_bytes + measured.wal_bytes
        seconds = self._forecast.seconds_until_full(measured, now_s=now_s)
        health.seconds_until_full = 0.0 if verdict.reason else seconds
        if self._backlogs.held and measured.first_position is not None and measured.first_observed_ns is not None:
            age_ns = self._timekeeper.age_ns(measured.first_position, measured.first_observed_ns)
            health.oldest_ns = measured.first_observed_ns if age_ns is None else self._clock_ns() - age_ns
        if measured.first_position is not None and not self._backlogs.nothing_before(measured.first_position):
            raise RowsMissing

    def _end_episodes(self, verdict: Verdict, measured: Measured) -> None:
        if verdict.relieved:
            self._drops.ended(DropReason.MAX_BYTES)
            self._drops.ended(DropReason.MIN_FREE_DISK)
            self._drops.ended(DropReason.THINNED)
            self._sweeps = new_sweeps()
        oldest_age_ns = self._milestones.age_ns(measured.first_position) if measured.first_position is not None else 0
        if oldest_age_ns < self._max_age_ns * 0.9:
            self._drops.ended(DropReason.MAX_AGE)

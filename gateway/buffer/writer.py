"""The one task that writes: commits what has gathered, makes acknowledgements durable, keeps the bounds.

A reading that finds the writer idle waits `_GATHER_S` for those that were asked for at the same instant; those that
arrive during a commit go together in the next. Commits start at least `_SPACING_S` apart. The cost is per commit, not
per reading, so both turn many tiny commits into fewer, and add at most that much to the latency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from drivers.model import Reading
from drivers.settings import Priority
from gateway.buffer.drops import DropReason, Loss
from gateway.buffer.mark import Mark
from gateway.buffer.model import StoreFailed
from gateway.buffer.parts import Parts
from gateway.buffer.progress import Progress
from gateway.buffer.settlement import SetAside
from gateway.buffer.store import MOST_ROWS

_GATHER_S = 0.002
_SPACING_S = 0.005
_SETTLE_WITHIN_S = 1.0
_SETTLE_EVERY_S = 60.0  # while readings wait: others see the forecast
_LOOK_EVERY_S = 1.0
_LAST_ATTEMPTS = 3  # when the gateway stops while the database does not accept commits, and
_LAST_PAUSE_S = 0.1  # between them


class Writer:
    """Owns everything between `append` and the disk. `run` is its task; everything else is called from the same
    loop."""

    def __init__(self, parts: Parts) -> None:
        self.tail = parts.tail
        self.retries = parts.retries
        self._budget = parts.budget
        self._backlogs = parts.backlogs
        self._timekeeper = parts.timekeeper
        self._intake = parts.intake
        self._committer = parts.committer
        self._settler = parts.settler
        self._retention = parts.retention
        self._leaving = parts.leaving
        self._full_disk = parts.full_disk
        self._repair = parts.repair
        self._trouble = parts.trouble
        self._drops = parts.drops
        self._health = parts.health
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._progress = Progress()
        self._hurry = 0
        self._settle_at_s = 0.0 if parts.backlogs.done else float("inf")
        self._settled_s = time.monotonic()
        self._look_at_s = 0.0
        self._commit_at_s = 0.0

    @property
    def last_committed(self) -> int:
        return self.mark.last

    @property
    def mark(self) -> Mark:
        """How far commits have come, as it stands beside the database."""
        return self._committer.mark

    def append(self, reading: Reading, priority: Priority) -> None:
        if self._retention.refuse(reading.observed_at_ns):
            return
        era = self._timekeeper.era()
        reading = self._timekeeper.by_present_clock(reading)
        dropped = self._intake.put(reading, priority, era)
        self._drops.count_uncommitted(DropReason.MEMORY, dropped)
        self._count_held()
        if self._health.oldest_ns is None:
            self._health.oldest_ns = reading.observed_at_ns
        self._wake.set()

    def acknowledged(self) -> None:
        """The backlogs have changed: make that durable soon."""
        self._count_held()
        if self._settle_at_s == float("inf"):
            self._settle_at_s = asyncio.get_running_loop().time() + _SETTLE_WITHIN_S

    def left(self) -> None:
        """As `acknowledged`, and there is something to be freed."""
        self.acknowledged()
        self._wake.set()

    async def joined(self) -> None:
        """As `acknowledged`, but returns when it is durable, or at once while the database does not accept commits."""
        changes = self._backlogs.changes
        self.acknowledged()
        await self._hurry_until(lambda: self._settler.settled >= changes or not self._health.writable)

    def lose_unreadable(self, rows: Sequence[tuple[int, int]]) -> None:
        """These rows (position, observed_at_ns) do not say what was written: bits have changed on the disk."""
        lost = self._backlogs.drop(position for position, _ in rows)
        if lost:
            eras = self._timekeeper.eras
            dated = [(position, eras.at(position).dated_ns(taken_ns)) for position, taken_ns in rows]
            self._drops.count(DropReason.DAMAGED, Loss.at(dated, lost))
        self._wake.set()

    async def set_aside(self, request: SetAside) -> None:
        """Returns when it is durable, or at once while the database does not accept commits (it follows then)."""
        most = self._retention.set_aside_at_once
        await self._hurry_until(lambda: self._settler.asked < most or not self._health.writable)
        self._settler.add(request)
        self.acknowledged()
        await self._hurry_until(lambda: not (self._settler.waits(request) and self._health.writable))

    async def flush(self) -> None:
        appended, changes = self._intake.appended, self._backlogs.changes
        await self._hurry_until(lambda: self._committer.through >= appended and self._settler.settled >= changes)

    async def wait(self) -> None:
        """Until anything was made durable, or failed to be."""
        await self._progress.wait()

    def repair(self, failure: StoreFailed) -> None:
        """A row cannot be read: repair the database."""
        self._repair.ask(failure)
        self._wake.set()

    def stop(self) -> None:
        """Let `run` make everything durable and return."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        while not (self._stopping.is_set() and self._finished):
            try:
                await self._idle()
                self._repair.raise_what_was_asked()
                await self._work()
            except StoreFailed as failure:
                self._committer.failed()
                if await self._full_disk.has_made_room(failure):
                    continue
                delay_s = self._trouble.failed(failure)
                self._announce()
                if await self._repaired(failure):
                    continue
                if self._stopping.is_set() and self._trouble.attempts >= _LAST_ATTEMPTS:
                    self._committer.give_up()
                    self._announce()
                    break
                await self._back_off(delay_s)
            else:
                self._trouble.over()
                self._full_disk.over()
        self._drops.ended_all()

    async def _repaired(self, failure: StoreFailed) -> bool:
        """Repair the database, if the failure is of that kind."""
        if not self._repair.is_due(failure, attempts=self._trouble.attempts):
            return False
        repaired = await self._repair.run(failure, self.mark)
        if repaired:
            self._committer.repaired()
            self._retention.search_again()
            self._settle_at_s = self._look_at_s = 0.0
        self._announce()
        return repaired

    @property
    def _finished(self) -> bool:
        return not self._committer.busy and self._settler.finished and not self._backlogs.done

    async def _idle(self) -> None:
        """Wait until there is something to do."""
        self._wake.clear()
        gather_s = 0.0
        if not (
            self._committer.busy
            or self._hurry
            or self._leaving.busy
            or self._repair.is_wanted
            or self._stopping.is_set()
        ):
            try:
                async with asyncio.timeout_at(self._look_at_s):
                    await self._wake.wait()
            except TimeoutError:
                return
            gather_s = _GATHER_S
        if self._hurry == 0 and not self._stopping.is_set() and len(self._intake) < MOST_ROWS:
            pause_s = max(gather_s, self._commit_at_s + _SPACING_S - asyncio.get_running_loop().time())
            if pause_s > 0:
                await asyncio.sleep(pause_s)

    async def _work(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._committer.busy:
            self._commit_at_s = now_s
            await self._committer.commit()
            self._announce()
            await self._retention.keep_wal_short()
        await self._leaving.look()
        await self._look_at_clock(now_s)
        if not self._backlogs.dropping and (
            now_s >= self._look_at_s or self._committer.uninspected_bytes >= self._budget.transaction
        ):
            more = await self._keep_bounds()
            if await self.retries.look(through=self.last_committed, most_rows=self._retention.set_aside_at_once):
                more = True
                await self._retention.keep_wal_short()
                self._retention.search_again()
                self.acknowledged()
            self._look_at_s = now_s if more else now_s + _LOOK_EVERY_S
            self._committer.uninspected_bytes = 0
            self._count_held()
        forced = self._hurry > 0 or self._stopping.is_set()
        forced = forced or bool(self._backlogs.held and now_s >= self._settled_s + _SETTLE_EVERY_S)
        if forced or self._backlogs.dropping or self._drops.unsaved or now_s >= self._settle_at_s:
            await self._settle()

    async def _keep_bounds(self) -> bool:
        """Until there is room for the next commit. Returns whether there is more to do at once."""
        while True:
            if self._backlogs.done:
                await self._settle()  # deleted first, so that only what is left is judged
            more = await self._retention.look(asyncio.get_running_loop().time())
            if self._retention.refusing is not None and self._intake:
                refused = [entry.reading for entry in self._intake.empty()]
                self._drops.count_uncommitted(self._retention.refusing, refused)
            if not self._retention.urgent:
                return more
            if self._backlogs.dropping or self._retention.crowded_out:
                await self._settle()

    async def _look_at_clock(self, now_s: float) -> None:
        if now_s >= self._look_at_s:
            self._timekeeper.look()
        if not self._intake:  # what is in it may belong to an earlier era
            await self._committer.begin(self._timekeeper.present)

    async def _settle(self) -> None:
        backlogs = self._backlogs
        await self._settler.settle(
            through=self.last_committed,
            most_rows=self._retention.rows_at_once,
            row_bytes=self._retention.row_bytes,
            facts=self._retention.facts,
            crowded_out=self._retention.crowded_out,
        )
        self._retention.settled()
        await self._retention.keep_wal_short()
        now_s = self._settled_s = asyncio.get_running_loop().time()
        if backlogs.done:  # more than one transaction should delete
            self._settle_at_s = now_s
        else:
            self._settle_at_s = now_s + _SETTLE_WITHIN_S if not self._settler.finished else float("inf")
        first_pending = backlogs.first_pending
        self.tail.forget_before(self.tail.end if first_pending is None else first_pending)
        await self._committer.write_mark()
        self._announce()

    def _announce(self) -> None:
        self._count_held()
        self._progress.announce()

    def _count_held(self) -> None:
        self._health.readings = self._backlogs.held + self._committer.held
        if self._health.readings == 0:
            self._health.oldest_ns = None

    async def _hurry_until(self, reached: Callable[[], bool]) -> None:
        self._hurry += 1
        try:
            while not reached():
                self._wake.set()
                await self._progress.wait()
        finally:
            self._hurry -= 1

    async def _back_off(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_LAST_PAUSE_S)

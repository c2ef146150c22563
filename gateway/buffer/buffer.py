"""The buffer as the rest of the gateway sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType

from drivers.model import Reading
from drivers.settings import Priority
from gateway.buffer.backlogs import Backlog, Backlogs
from gateway.buffer.bounds import Budget
from gateway.buffer.connections import connect
from gateway.buffer.drops import Drops
from gateway.buffer.encoding import Row, decode_reading, verify
from gateway.buffer.groups import Groups
from gateway.buffer.leaving import tell_of_leaving
from gateway.buffer.lock import exclusive
from gateway.buffer.mark import STOPPED, Mark, MarkFile, mark_of
from gateway.buffer.model import BufferUnavailable, RowsMissing, StoreClosed, StoredReading, StoreFailed
from gateway.buffer.opening import mark_stopped, prepare
from gateway.buffer.parts import assemble
from gateway.buffer.repair import PATIENCE
from gateway.buffer.settlement import SetAside
from gateway.buffer.store import Store
from gateway.buffer.timekeeping import Timekeeper
from gateway.buffer.writer import Writer
from gateway.clock import Clock
from gateway.config import BufferSettings, Start
from gateway.health import BufferHealth

_log = logging.getLogger(__name__)


class Buffer:
    """Readings between acquisition and their destinations. Use from one event loop; open with `Buffer.open`."""

    def __init__(
        self,
        *,
        epoch: str,
        store: Store,
        writer: Writer,
        backlogs: Backlogs,
        groups: Groups,
        timekeeper: Timekeeper,
        clock: Clock,
    ) -> None:
        self.epoch = epoch
        """8 hex digits, made when the database is created. With a position it names a reading for ever."""
        self._store = store
        self._writer = writer
        self._backlogs = backlogs
        self._groups = groups
        self._eras = timekeeper.eras
        self._clock = clock
        self._unreadable = 0  # attempts in a row

    @staticmethod
    def open(
        settings: BufferSettings,
        *,
        destinations: Sequence[str],
        starts: Mapping[str, Start] = MappingProxyType({}),
        health: BufferHealth,
        clock: Clock | None = None,
    ) -> AbstractAsyncContextManager[Buffer]:
        """Open (or make, migrate, repair) the database and run its writer for as long as the context lasts.

        On a new database every destination starts at the beginning. One that joins later does as in `attach`, by its
        entry in `starts` (`Start.NOW` without one); one that is no longer named does as in `detach`. Leaving the
        context commits everything that was appended and makes every acknowledgement durable. Raises
        `BufferUnavailable` on entering.
        """
        joining = {name: starts.get(name, Start.NOW) for name in destinations}
        return _opened(settings, destinations=joining, health=health, clock=clock or Clock())

    @property
    def last_committed(self) -> int:
        """The highest position ever committed; 0 before the first."""
        return self._writer.last_committed

    def append(self, reading: Reading, *, priority: Priority = Priority.NORMAL) -> None:
        """Hand a reading over. Never blocks and never fails: what cannot be kept is counted in `health.dropped`."""
        self._writer.append(reading, priority)

    async def committed(self, after: int) -> int:
        """Wait until `last_committed` is beyond `after`, and return it."""
        while self._writer.last_committed <= after:
            await self._writer.wait()
        return self._writer.last_committed

    async def flush(self) -> None:
        """Wait until everything appended and acknowledged before this call is durable. Waits for ever while the
        database does not accept commits."""
        await self._writer.flush()

    async def peek(
        self, destination: str, *, after: int, until: int | None = None, limit: int = 500
    ) -> list[StoredReading]:
        """Committed readings that `destination` has not acknowledged, with `after < position <= until`, ascending.

        Times of a clock that was not set are corrected when it has been set since, and else marked. Recent readings
        come from memory. While older ones cannot be read from the database, only those in memory are returned.
        """
        backlog = self._backlogs[destination]  # the same for the whole of it, though the destination may leave
        found: list[StoredReading] = []
        position = after + 1
        while len(found) < limit:
            last = self.last_committed if until is None else min(until, self.last_committed)
            span = next(backlog.pending.within(position, last), None)
            if span is None:
                break
            position = span[0]
            if position < self._writer.tail.first:
                stored, position = await self._fetch(backlog, position, last=last, limit=limit - len(found))
                found = [one for one in found if one.position in backlog.pending]  # some were handled meanwhile
            else:
                following = min(span[1] + 1, position + limit - len(found))
                stored, position = list(self._writer.tail.within(position, following - 1)), following
            stored = [one for one in stored if one.position in backlog.pending]
            backlog.handed_out.update(one.position for one in stored)  # at once: it may be dropped before the next
            found += stored
        if found and found[0].position < self._eras.certain_from:
            return [StoredReading(one.position, self._eras.at(one.position).dated(one.reading)) for one in found]
        return found

    def hand_back(self, destination: str) -> None:
        """`destination` will not acknowledge what it has peeked so far: the connection that it was sent on is gone."""
        self._backlogs[destination].handed_back()

    def acknowledge(self, destination: str, positions: Iterable[int]) -> None:
        """`destination` has these for good. Idempotent. Durable within two seconds; a crash before means duplicates."""
        if self._backlogs.acknowledge(destination, positions):
            self._writer.acknowledged()

    async def set_aside(self, destination: str, position: int, reason: str) -> None:
        """`destination` refuses this reading for good: keep a copy in the table `set_aside` and count it as handled.

        Does nothing when the destination does not wait for it.
        """
        if position in self._backlogs[destination].pending:
            await self._writer.set_aside(SetAside(destination, position, reason, self._clock.wall_ns()))

    async def attach(self, destination: str, *, start: Start) -> None:
        """From now on `destination` waits for what is committed, and with `Start.OLDEST` also for everything that is
        still held for another, though it be one that is leaving. Does nothing when it is there already.

        Returns when that is durable, or at once while the database does not accept commits (it follows then).
        """
        self._backlogs.join(destination, start)
        await self._writer.joined()

    def detach(self, destination: str) -> None:
        """`destination` has left: what only it was waiting for is lost, counted as `destination-removed`, and deleted.

        That is done piece by piece beside everything else and made durable with the acknowledgements. After a crash the
        next `open` goes on with it, unless `destination` is named again, which then finds what is left. Does nothing
        for a destination that is not there; one that has left has an empty backlog, and acknowledges nothing.
        """
        if any(name == destination for name, _ in self._backlogs):
            waiting, alone = self._backlogs.leave(destination)
            tell_of_leaving(destination, waiting=waiting, alone=alone)
            self._writer.left()

    async def returned(self, destination: str, *, seen: int = 0) -> int:
        """Wait until more than `seen` readings that were set aside wait for `destination` again, since the buffer was
        opened; how many. They have old positions, so a lane that has passed them does not meet them."""
        return await self._writer.retries.returned(destination, seen=seen)

    def backlog(self, destination: str) -> int:
        """How many committed readings `destination` has not acknowledged."""
        return self._backlogs[destination].waiting

    async def _fetch(self, backlog: Backlog, first: int, *, last: int, limit: int) -> tuple[list[StoredReading], int]:
        """Rows from the database, and the position to go on from. One query spans small gaps in what is pending."""
        tail_first = self._writer.tail.first
        final = _reach(backlog, first, min(last, tail_first - 1), limit)
        generation = self._backlogs.generation
        rows = await self._rows(first, final, limit=limit)
        if rows is None:
            return [], tail_first
        if generation != self._backlogs.generation:
            return [], first  # some of these have been dropped meanwhile: look again
        reached = final if len(rows) < limit else rows[-1][0]
        if not backlog.remove_holes(first, reached, rows=(row[0] for row in rows)):
            self._writer.repair(RowsMissing())
            return [], tail_first
        stored: list[StoredReading] = []
        unreadable: list[tuple[int, int]] = []
        for row in rows:
            position, group_id, observed_at_ns, body, quality, _ = row
            if position in self._backlogs.dropping:
                continue
            try:
                verify(row)
                reading = decode_reading(self._groups.group(group_id), observed_at_ns, body=body, quality=quality)
            except (KeyError, TypeError, ValueError):
                unreadable.append((position, observed_at_ns))
            else:
                stored.append(StoredReading(position, reading))
        if unreadable:
            self._writer.lose_unreadable(unreadable)
        return stored, reached + 1

    async def _rows(self, first: int, last: int, *, limit: int) -> list[Row] | None:
        """Rows from the database; None while it cannot be read, which is said once."""
        try:
            rows = await self._store.fetch(first, last, limit=limit)
        except StoreClosed:
            return None  # it is being repaired, which is said there
        except StoreFailed as failure:
            self._unreadable += 1
            if failure.damaged or (failure.io_error and self._unreadable >= PATIENCE):
                self._writer.repair(failure)
            elif self._unreadable == 1:
                _log.error("%s; older readings stay where they are until then", failure)
            return None
        self._unreadable = 0
        return rows


def _reach(backlog: Backlog, first: int, last: int, limit: int) -> int:
    """Where one query for pending positions from `first` on should end: before the first long stretch of others."""
    final = first
    for low, high in backlog.pending.within(first, last):
        if low - final > limit:
            break
        final = high
    return final


@asynccontextmanager
async def _opened(
    settings: BufferSettings, *, destinations: Mapping[str, Start], health: BufferHealth, clock: Clock
) -> AsyncIterator[Buffer]:
    path = settings.path
    health.max_bytes = settings.max_bytes
    with exclusive(path), mark_of(path) as marks:
        opened = await asyncio.to_thread(prepare, settings, destinations=destinations, marks=marks, clock=clock)
        timekeeper = Timekeeper(clock, opened.eras, newest_ns=opened.newest_ns)
        health.readings, health.oldest_ns = opened.backlogs.held, opened.oldest_ns
        drops = Drops(health, next_id=opened.next_drop, clock_ns=clock.wall_ns)
        for episode in opened.episodes:
            drops.found(episode)
        disk = os.statvfs(path.parent)
        budget = Budget.of(settings.max_bytes, disk_bytes=disk.f_blocks * disk.f_frsize)
        try:
            async with connect(path, durability=settings.durability, budget=budget) as connections:
                store = Store(path, connections)
                parts = assemble(
                    settings,
                    opened=opened,
                    connections=connections,
                    store=store,
                    marks=marks,
                    budget=budget,
                    drops=drops,
                    timekeeper=timekeeper,
                    health=health,
                    clock=clock,
                )
                writer = Writer(parts)
                buffer = Buffer(
                    epoch=opened.mark.epoch,
                    store=store,
                    writer=writer,
                    backlogs=opened.backlogs,
                    groups=opened.groups,
                    timekeeper=timekeeper,
                    clock=clock,
                )
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(writer.run(), name="buffer writer")
                    try:
                        yield buffer
                    finally:
                        writer.stop()
                        await asyncio.wait([running])
        except StoreFailed as failure:
            raise BufferUnavailable(failure.message, hint=failure.hint) from failure
        await asyncio.to_thread(_mark_stopped, settings, marks, writer.mark._replace(boot=STOPPED))


def _mark_stopped(settings: BufferSettings, marks: MarkFile, mark: Mark) -> None:
    try:
        mark_stopped(settings.path)
        marks.sync(mark)
    except (sqlite3.Error, OSError) as error:
        _log.warning("could not note that the buffer %s was closed in good order: %s", settings.path, error)

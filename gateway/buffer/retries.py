"""Readings that were set aside and that a person wants to be sent again.

Another process asks, by a row of the table `retry`; the running writer looks there about once a second, as does the
next one after its start. What is asked for moves from `set_aside` back to `reading` under its old position, and its
destination waits for it again, all in one transaction: after a crash it is in one of the two places. If it is refused
again it is set aside again, under a new id, which no longer belongs to the request.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.buffer.backlogs import Backlogs
from gateway.buffer.eras import CLOCK_UNSET_BEFORE_NS
from gateway.buffer.inspect import reading_buffer
from gateway.buffer.model import BufferUnavailable, StoreFailed
from gateway.buffer.progress import Progress
from gateway.buffer.schema import primary_code, read_write_uri
from gateway.buffer.settling import Returning, Settler
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.config import BufferSettings

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 500  # rows in one transaction, so that commits are held up for milliseconds only
_REQUEST_WAITS_S = 10.0  # for the lock, while the gateway commits
_SINCE_VERSION = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: `readings` of this destination go out again; `too_old` stay where they are."""

    destination: str
    readings: int
    too_old: int


def request(path: Path, destinations: Sequence[str], *, since_ns: int) -> list[Request]:
    """Ask for all that is set aside for these destinations to be sent again, as far as it was observed since then:
    what is older than the buffer keeps would be dropped at once. From any process. Raises `BufferUnavailable`."""
    with reading_buffer(path) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    if version < _SINCE_VERSION:
        raise BufferUnavailable(
            f"the buffer {path} is that of an older gateway", hint="start this gateway with it once, then ask again"
        )
    try:
        database = sqlite3.connect(read_write_uri(path), uri=True, isolation_level=None, timeout=_REQUEST_WAITS_S)
        try:
            return [_request(database, name, since_ns) for name in destinations]
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        hint = {
            sqlite3.SQLITE_READONLY: "run this as the gateway's user or as root, where the file can be written",
            sqlite3.SQLITE_CANTOPEN: "run this as the gateway's user or as root, where the file can be written",
            sqlite3.SQLITE_BUSY: "another process holds the database locked: close that sqlite3 shell or backup",
        }.get(primary_code(error), "look at the file system of the buffer and at the kernel log (dmesg)")
        raise BufferUnavailable(f"cannot write to the buffer {path}: {error}", hint=hint) from error


def is_taken(path: Path) -> bool:
    """Whether a gateway has done all that was asked for. Raises `BufferUnavailable`."""
    with reading_buffer(path) as database:
        return database.execute("SELECT 1 FROM retry").fetchone() is None


class Retries:
    """The writer's side of it. Runs inside the writer's task."""

    def __init__(
        self,
        settings: BufferSettings,
        *,
        store: Store,
        settler: Settler,
        backlogs: Backlogs,
        tail: Tail,
        clock_ns: Callable[[], int],
    ) -> None:
        self._path = settings.path
        self._max_age_ns = int(settings.max_age * 1e9)
        self._store = store
        self._settler = settler
        self._backlogs = backlogs
        self._tail = tail
        self._clock_ns = clock_ns
        self._returned: Counter[str] = Counter()
        self._telling: Counter[str] = Counter()
        self._progress = Progress()
        self._failing = False
        settler.came_back = self._came_back

    async def returned(self, destination: str, *, seen: int) -> int:
        """Wait until more than `seen` readings have come back for this destination since the start; how many."""
        while self._returned[destination] <= seen:
            await self._progress.wait()
        return self._returned[destination]

    async def look(self, *, through: int, most_rows: int) -> int:
        """Do a part of what is asked for, up to so many rows; how many readings have come back. 0 means that nothing is
        left to be done.

        Raises `StoreFailed` for a damage only. Another failure is logged once and tried again at the next look: it
        holds up nothing else.
        """
        try:
            came = await self._look(through, min(most_rows, _MOST_AT_ONCE))
        except StoreFailed as failure:
            if failure.damaged:
                raise  # it is repaired, and then looked at again
            if not self._failing:
                _log.warning("%s; what was set aside is not sent again until then", failure)
            self._failing = True
            return 0
        self._failing = False
        return came

    async def _look(self, through: int, most_rows: int) -> int:
        known = {name for name, _ in self._backlogs}
        for destination, last in await self._store.retries():
            if destination not in known:
                continue  # it may come back; until then its readings stay where they are
            found = await self._store.returning(
                destination, through=last, since_ns=self._clock_ns() - self._max_age_ns, limit=most_rows
            )
            if found:
                await self._settler.take_back(destination, [Returning(*one) for one in found], through=through)
                return len(found)
            await self._store.end_retry(destination, through=last)
            if destination in self._telling:
                _log.info(
                    "%s: %d readings that were set aside are sent again", destination, self._telling.pop(destination)
                )
        return 0

    def _came_back(self, destination: str, found: Sequence[Returning]) -> None:
        self._tail.unhide(one.position for one in found)
        self._returned[destination] += len(found)
        self._telling[destination] += len(found)
        self._progress.announce()


def _request(database: sqlite3.Connection, destination: str, since_ns: int) -> Request:
    database.execute("BEGIN IMMEDIATE")
    last, every, readings = database.execute(
        "SELECT max(id), count(*), count(*) FILTER (WHERE observed_at_ns >= ? OR observed_at_ns < ?) FROM set_aside "
        "WHERE destination = ?",
        (since_ns, CLOCK_UNSET_BEFORE_NS, destination),
    ).fetchone()
    if readings:
        database.execute("INSERT OR REPLACE INTO retry VALUES (?, ?)", (destination, last))
    database.execute("COMMIT")
    return Request(destination, readings, every - readings)

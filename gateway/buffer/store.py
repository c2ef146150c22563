"""The open database: every statement that runs while the gateway does. A thin rim over aiosqlite.

Two connections: the writer's thread is the only one that writes; the reader's serves `fetch` and `oldest`, so that
history never holds up a commit. Each aiosqlite call is a hop to a thread and back, which costs more than the SQL, so a
group of readings is one statement, which in autocommit mode is one transaction: one hop.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import aiosqlite

from gateway.buffer.bounds import Measured
from gateway.buffer.connections import Connections, explained
from gateway.buffer.drops import Loss, Share
from gateway.buffer.encoding import Row
from gateway.buffer.eras import CLOCK_UNSET_BEFORE_NS, MOST_ERAS, Era
from gateway.buffer.groups import GroupRow
from gateway.buffer.schema import TAKEN, size_bytes
from gateway.buffer.settlement import CrowdedOut, Settlement, crowded_out, write_settlement

MOST_ROWS = 2048
"""Rows in one commit: more than the event loop reads between two of them when it is saturated."""

_COLUMNS = 6


class Store:
    """Statements on the open database. All raise `StoreFailed`, and have then changed nothing."""

    def __init__(self, path: Path, connections: Connections) -> None:
        self._path = path
        self._wal_path = path.with_name(f"{path.name}-wal")
        self._connections = connections

    @property
    def _writer(self) -> aiosqlite.Connection:
        return self._connections.writer

    @property
    def _reader(self) -> aiosqlite.Connection:
        return self._connections.reader

    async def insert(self, columns: list[Any]) -> None:
        """Commit rows, given as their columns one after the other (`Row`, flat)."""
        size = _bucket(len(columns) // _COLUMNS)
        padding = [None] * (size * _COLUMNS - len(columns))
        with explained(self._path, "commit readings to"):
            await self._writer.execute_fetchall(_insert(size), columns + padding)

    async def insert_groups(self, rows: Sequence[GroupRow]) -> None:
        """Commit all of them in one statement: at start-up every device brings its groups at once."""
        values = ",".join(["(?,?,?,?,?,?)"] * len(rows))
        with explained(self._path, "commit point groups to"):
            await self._writer.execute_fetchall(
                f"INSERT OR REPLACE INTO point_group VALUES {values}",  # noqa: S608  only ?
                list(chain.from_iterable(row.columns for row in rows)),
            )

    async def begin_era(self, first: int, era: Era, *, ended_boot_ns: int) -> None:
        """Commit that readings from this position on belong to `era`, and what that says of others: `Eras.begin`."""
        row = (first, era.boot_id, era.offset_ns, era.correction_ns, era.ended_boot_ns)
        true_ns = era.true_offset_ns
        async with self._transaction("commit the setting of the clock to"):
            await self._writer.execute_fetchall("INSERT OR REPLACE INTO clock_era VALUES (?, ?, ?, ?, ?)", row)
            if true_ns is not None:
                await self._writer.execute_fetchall(
                    "UPDATE clock_era SET correction_ns = ? - offset_ns, ended_boot_ns = ? "
                    "WHERE boot_id = ? AND correction_ns IS NULL",
                    (true_ns, ended_boot_ns, era.boot_id),
                )
            await self._writer.execute_fetchall(
                "DELETE FROM clock_era WHERE first_position < "
                "(SELECT first_position FROM clock_era ORDER BY first_position DESC LIMIT 1 OFFSET ?)",
                (MOST_ERAS - 1,),
            )

    async def last_position(self) -> int:
        """The highest position that has a row; 0 without rows."""
        with explained(self._path, "read"):
            ((newest,),) = await self._writer.execute_fetchall("SELECT coalesce(max(id), 0) FROM reading")
        return int(newest)

    async def settle(self, settlement: Settlement) -> None:
        """Make acknowledgements, set-aside readings, loss and deletions durable in one transaction."""
        async with self._transaction("commit acknowledgements to"):
            await write_settlement(self._writer, settlement)

    async def crowded_out(self, *, coming: int, going: Sequence[int], at_least: int) -> list[CrowdedOut]:
        """The oldest set-aside readings that have to leave when so many are `coming`, and those with these ids are
        `going` anyhow."""
        with explained(self._path, "read"):
            return await crowded_out(self._writer, coming=coming, going=going, at_least=at_least)

    async def retries(self) -> list[tuple[str, int]]:
        """`(destination, through)`: it is to be sent again what was set aside up to this id."""
        with explained(self._path, "read"):
            found: Any = await self._writer.execute_fetchall("SELECT destination, through FROM retry")
        rows: list[tuple[str, int]] = found
        return rows

    async def returning(
        self, destination: str, *, through: int, since_ns: int, limit: int
    ) -> list[tuple[int, int, bool]]:
        """`(id, position, whether it still is a row of reading)` of what was set aside up to the id `through` and
        observed since then (or by a clock that was not set), ascending by position."""
        with explained(self._path, "read"):
            found: Any = await self._writer.execute_fetchall(
                "SELECT id, CAST(position AS INTEGER), EXISTS (SELECT 1 FROM reading WHERE reading.id = position) "
                "FROM set_aside WHERE destination = ? AND id <= ? AND (observed_at_ns >= ? OR observed_at_ns < ?) "
                "ORDER BY position LIMIT ?",
                (destination, through, since_ns, CLOCK_UNSET_BEFORE_NS, limit),
            )
        return [(row_id, position, bool(exists)) for row_id, position, exists in found]

    async def is_set_aside(self, row_id: int) -> bool:
        with explained(self._path, "read"):
            return bool(await self._writer.execute_fetchall("SELECT 1 FROM set_aside WHERE id = ?", (row_id,)))

    async def end_retry(self, destination: str, *, through: int) -> None:
        """Nothing is left to be done for this request. One that was made meanwhile stays."""
        with explained(self._path, "commit acknowledgements to"):
            await self._writer.execute_fetchall(
                "DELETE FROM retry WHERE destination = ? AND through = ?", (destination, through)
            )

    async def fetch(self, first: int, last: int, *, limit: int) -> list[Row]:
        """Rows with `first <= position <= last`, ascending."""
        with explained(self._path, "read"):
            rows: Any = await self._reader.execute_fetchall(
                f"SELECT id, group_id, {TAKEN}, body, quality, checksum FROM reading "  # noqa: S608  ours
                "WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                (first, last, limit),
            )
            found: list[Row] = rows
            if any(later <= earlier for earlier, later in pairwise([first - 1, *(row[0] for row in found)])):
                raise sqlite3.DatabaseError("rows are out of order")  # SQLite does not look for that
        return found

    async def extent(self, spans: Sequence[tuple[int, int]], *, lost_by: Sequence[str]) -> Loss | None:
        """What would be lost with these ranges of positions, by each of these destinations; None without rows."""
        with explained(self._path, "read"):
            ((rows, first_ns, last_ns, first, last),) = await self._reader.execute_fetchall(
                f"SELECT count(*), min({TAKEN}), max({TAKEN}), min(reading.id), max(reading.id) "  # noqa: S608  ours
                "FROM json_each(?) AS span CROSS JOIN reading "
                "ON reading.id BETWEEN span.value ->> 0 AND span.value ->> 1",
                (json.dumps(spans),),
            )
        if not rows:
            return None
        return Loss(rows, first_ns, last_ns, first, last, dict.fromkeys(lost_by, Share(rows, first, last)))

    async def oldest(self, group_ids: Sequence[int], *, after: int, limit: int) -> list[tuple[int, int]]:
        """`(position, observed_at_ns)` of the oldest rows of these groups after a position, ascending."""
        with explained(self._path, "read"):
            rows: Any = await self._reader.execute_fetchall(
                f"SELECT id, {TAKEN} FROM reading WHERE id > ? "  # noqa: S608  ours
                "AND group_id IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
                (after, json.dumps(group_ids), limit),
            )
        found: list[tuple[int, int]] = rows
        return found

    async def scan(self, after: int, last: int, *, limit: int) -> list[tuple[int, int, int, bool]]:
        """`(position, group_id, observed_at_ns, whether most points are left out)` of the rows with
        `after < position <= last`, ascending."""
        with explained(self._path, "read"):
            rows: Any = await self._reader.execute_fetchall(
                f"SELECT id, group_id, {TAKEN}, ltrim(body) LIKE '{{%' FROM reading "  # noqa: S608  ours
                "WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, last, limit),
            )
        found: list[tuple[int, int, int, bool]] = rows
        return found

    async def measure(self) -> Measured:
        with explained(self._path, "measure"):
            ((pages, free_pages, has_set_aside, first, observed_at_ns),) = await self._writer.execute_fetchall(
                "SELECT page_count, freelist_count, EXISTS (SELECT 1 FROM set_aside), id, taken_ns "  # noqa: S608  ours
                "FROM pragma_page_count, pragma_freelist_count "
                f"LEFT JOIN (SELECT id, {TAKEN} AS taken_ns FROM reading ORDER BY id LIMIT 1)"
            )
        disk = os.statvfs(self._path.parent)
        return Measured(
            file_bytes=size_bytes(self._path),
            wal_bytes=self.wal_bytes,
            pages=pages,
            free_pages=free_pages,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            first_position=first,
            first_observed_ns=observed_at_ns,
            has_set_aside=bool(has_set_aside),
        )

    @property
    def wal_bytes(self) -> int:
        """The length of the write-ahead log as the file system sees it."""
        return size_bytes(self._wal_path)

    @property
    def size_bytes(self) -> int:
        """Database and write-ahead log as the file system sees them."""
        return size_bytes(self._path) + self.wal_bytes

    async def copy_wal(self) -> None:
        """Copy the write-ahead log into the database, as far as nobody reads what that would write over."""
        with explained(self._path, "copy the write-ahead log into"):
            await self._writer.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")

    async def begin_wal_again(self) -> bool:
        """Copy the write-ahead log into the database; the next commit writes over it from its beginning. Returns
        whether that was possible: another connection may be reading it."""
        with explained(self._path, "copy the write-ahead log into"):
            ((busy, _, _),) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(RESTART)")
        return not busy

    async def return_space(self, pages: int) -> None:
        """Give free pages back to the file system, then empty the write-ahead log."""
        with explained(self._path, "shrink"):
            await self._writer.executescript(f"PRAGMA incremental_vacuum({pages})")  # `execute` stops after one page
        await self.empty_wal()

    async def empty_wal(self, *, patiently: bool = True) -> bool:
        """Copy the write-ahead log into the database and cut it off. Returns whether that was possible: another
        connection may be reading it, which is waited for up to `BUSY_TIMEOUT_S` if `patiently`."""
        with explained(self._path, "shrink"):
            if not patiently:
                ((_, frames, copied),) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
                if copied < frames:
                    return False
            ((busy, _, _),) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    @asynccontextmanager
    async def _transaction(self, doing: str) -> AsyncIterator[None]:
        with explained(self._path, doing):
            await self._writer.execute_fetchall("BEGIN IMMEDIATE")
            try:
                yield
                await self._writer.execute_fetchall("COMMIT")
            except sqlite3.DatabaseError:
                if self._writer.in_transaction:
                    await self._writer.execute_fetchall("ROLLBACK")
                raise


def _bucket(rows: int) -> int:
    """The next power of two: a dozen prepared statements serve every size, and all rows still go in one."""
    return 1 << (rows - 1).bit_length()


@cache
def _insert(rows: int) -> str:
    """Padding rows have no id and are left out."""
    values = ",".join(["(?,?,?,?,?,?)"] * rows)
    return f"INSERT INTO reading SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"  # noqa: S608  only ?

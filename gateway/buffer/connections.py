"""The two connections of an open buffer: the writer's thread is the only one that writes, the reader's serves history.

They are closed and opened again when the database is repaired while the gateway runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiosqlite

from gateway.buffer.bounds import PAGE_BYTES, Budget
from gateway.buffer.model import StoreClosed, StoreFailed
from gateway.buffer.schema import BUSY_TIMEOUT_S, is_damage, primary_code, read_only_uri, read_write_uri
from gateway.buffer.settlement import MAKE_SURVIVOR
from gateway.config import Durability

_SYNCHRONOUS = {Durability.POWER_LOSS: "FULL", Durability.PROCESS_CRASH: "NORMAL"}


class Connections:
    """To a database that `gateway.buffer.opening` has prepared."""

    def __init__(self, path: Path, *, durability: Durability, budget: Budget) -> None:
        self._path = path
        self._pragmas = (
            f"synchronous = {_SYNCHRONOUS[durability]}",
            f"wal_autocheckpoint = {budget.checkpoint // PAGE_BYTES}",
            f"journal_size_limit = {budget.truncate_wal}",
            "temp_store = MEMORY",
            "secure_delete = OFF",  # Debian's default overwrites what is deleted: every page is written once more
        )
        self._both: tuple[aiosqlite.Connection, aiosqlite.Connection] | None = None
        self._stack = AsyncExitStack()

    @property
    def writer(self) -> aiosqlite.Connection:
        """Raises `StoreClosed`."""
        return self._opened()[0]

    @property
    def reader(self) -> aiosqlite.Connection:
        """Raises `StoreClosed`."""
        return self._opened()[1]

    async def open(self) -> None:
        """Raises `StoreFailed`, and has then opened nothing."""
        async with AsyncExitStack() as stack:
            with explained(self._path, "open"):
                writer = await stack.enter_async_context(self._connect(read_write_uri(self._path)))
                for pragma in self._pragmas:
                    await writer.execute_fetchall(f"PRAGMA {pragma}")
                await writer.execute_fetchall(MAKE_SURVIVOR)
                reader = await stack.enter_async_context(self._connect(read_only_uri(self._path)))
            self._stack = stack.pop_all()
            self._both = writer, reader

    async def close(self) -> None:
        """What was asked for before is done first; then everything raises `StoreClosed`."""
        self._both = None
        await self._stack.aclose()

    def _opened(self) -> tuple[aiosqlite.Connection, aiosqlite.Connection]:
        if self._both is None:
            raise StoreClosed(f"the buffer {self._path} is not open", hint="it is being repaired", damaged=True)
        return self._both

    def _connect(self, uri: str) -> aiosqlite.Connection:
        return aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)


@asynccontextmanager
async def connect(path: Path, *, durability: Durability, budget: Budget) -> AsyncIterator[Connections]:
    """Open both, and close them at the end. Raises `StoreFailed`."""
    connections = Connections(path, durability=durability, budget=budget)
    await connections.open()
    try:
        yield connections
    finally:
        await connections.close()


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite or the file system reports into `StoreFailed`. Mistakes in the SQL stay what they are: bugs."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        code = primary_code(error)
        hint = _HINTS.get(code, "look at the file system of the buffer and at the kernel log (dmesg)")
        raise StoreFailed(
            f"cannot {doing} {path}: {error}",
            hint=hint,
            damaged=is_damage(error),
            io_error=code == sqlite3.SQLITE_IOERR,
            disk_full=code == sqlite3.SQLITE_FULL,
        ) from error


_HINTS = {
    sqlite3.SQLITE_FULL: "free some space on its file system; readings wait in memory meanwhile",
    sqlite3.SQLITE_IOERR: "look for disk errors in the kernel log (dmesg), and for a full disk",
    sqlite3.SQLITE_BUSY: "another process holds the database locked: close that sqlite3 shell or backup",
    sqlite3.SQLITE_READONLY: "the file or its file system is read-only: make it writable for the gateway's user",
    sqlite3.SQLITE_CORRUPT: "it is moved aside and salvaged; check the disk that it is on",
    sqlite3.SQLITE_NOTADB: "it is moved aside and salvaged; check the disk that it is on",
    sqlite3.SQLITE_CONSTRAINT: "it is moved aside and salvaged; check the disk that it is on",
}

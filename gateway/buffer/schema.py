"""Making, migrating and identifying the database. Synchronous: done before the gateway does anything else.

`schema/NNNN.sql` brings version NNNN-1 to NNNN; `PRAGMA user_version` says where a file stands. A step and its version
number are committed together.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.model import BufferUnavailable

APPLICATION_ID = 0x48554247
"""`HUBG`, at byte 68 of the file: what `file` and `sqlite3` recognise the buffer by."""

ORPHANED = ""
"""The name in `destination` under which stands what only destinations that have left were waiting for, while it is
being counted and deleted."""

TAKEN = "coalesce(CAST(observed_at_ns AS INTEGER), 0)"
"""In place of `observed_at_ns` in a query: a bit that changes on the disk may make anything of it, which is for the
checksum to find out."""

BUSY_TIMEOUT_S = 1.0

_DAMAGE = (
    0,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)
_OUR_TABLES = {"state", "point_group", "reading", "destination"}


def versions() -> dict[int, str]:
    """The migration scripts by the version that they lead to, ascending."""
    folder = resources.files("gateway.buffer").joinpath("schema")
    scripts = {
        int(entry.name[:4]): entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".sql")
    }
    return dict(sorted(scripts.items()))


@contextmanager
def connection(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    """A plain connection in autocommit mode, closed at the end. Raises `sqlite3.Error`."""
    target = read_only_uri(path) if read_only else f"{read_write_uri(path)}c"
    opened = sqlite3.connect(target, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        yield opened
    finally:
        opened.close()


def read_only_uri(path: Path) -> str:
    """What SQLite opens `path` for reading by."""
    return f"{path.absolute().as_uri()}?mode=ro"


def read_write_uri(path: Path) -> str:
    """What SQLite opens a `path` that exists for writing by."""
    return f"{path.absolute().as_uri()}?mode=rw"


def size_bytes(path: Path) -> int:
    """Of a database or a write-ahead log as the file system sees it; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def new_epoch() -> str:
    """Names a database for ever."""
    return secrets.token_hex(4)


def primary_code(error: sqlite3.Error) -> int:
    """`SQLITE_BUSY` and so on, without the extended part; 0 when the error did not come from SQLite itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that the file does not hold what was written to it. (Text that is not UTF-8 has no code;
    `SQLITE_ERROR` is a missing table or column, `SQLITE_CONSTRAINT` a row that is written again and never was so.)"""
    return primary_code(error) in _DAMAGE


def migrate(path: Path, *, to: int | None = None) -> None:
    """Bring the database to the newest version, or the version `to`, making it when it is not there.

    Raises `BufferUnavailable` when it is of a newer version or belongs to another program, `sqlite3.Error` when it
    cannot be read or written.
    """
    is_new = not path.exists() or path.stat().st_size == 0
    scripts = versions()
    newest = max(scripts)
    with connection(path) as database:
        identify(database, path, newest=newest)
        if is_new:
            database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        for step, script in scripts.items():
            if version < step <= (to or newest):
                database.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {step};\nCOMMIT;")
    if is_new:
        sync_directory(path.parent)


def is_ours_by_its_tables(database: sqlite3.Connection) -> bool:
    """Whether it is a buffer, whatever its application id says."""
    return {name for (name,) in database.execute("SELECT name FROM sqlite_schema")} >= _OUR_TABLES


def has_table(database: sqlite3.Connection, name: str) -> bool:
    """An older version may not have it yet."""
    return database.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None


def newer_version(path: Path) -> int | None:
    """The version of a buffer that a newer gateway has written; None for everything else. Raises `sqlite3.Error`."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with connection(path, read_only=True) as database:
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version) if application_id == APPLICATION_ID and version > max(versions()) else None


def identify(database: sqlite3.Connection, path: Path, *, newest: int | None = None) -> None:
    """Raises `BufferUnavailable` unless the database is empty or a buffer of a version that this program knows."""
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application_id != APPLICATION_ID:
        raise BufferUnavailable(f"{path} is a database of another program", hint="change buffer.path")
    newest = max(versions()) if newest is None else newest
    if version > newest:
        raise BufferUnavailable(
            f"{path} has version {version}, this gateway knows versions up to {newest}",
            hint="run the gateway that wrote it, or a newer one, or change buffer.path",
        )


def sync_directory(directory: Path) -> None:
    """Make new and changed directory entries survive a power cut; syncing the files alone does not."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

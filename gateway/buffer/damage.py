"""Recognising a damaged database when the buffer is opened."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from gateway.buffer.encoding import decode_held
from gateway.buffer.mark import Mark
from gateway.buffer.schema import (
    APPLICATION_ID,
    connection,
    is_damage,
    is_ours_by_its_tables,
    primary_code,
)

CHECKED_UP_TO_BYTES = 64 * 2**20
"""A file up to this size is checked in full after an unclean stop (a second or so on an SD card). A larger one is
trusted until a page turns out to be unreadable, so that a large backlog does not delay the first reading."""

_HEADER_BYTES = 100
_BEGINNING = b"SQLite format 3\x00"
_FILE_FORMAT = slice(18, 20)  # for writing and for reading: 1 is a rollback journal, 2 a write-ahead log
_LAST = """
    SELECT max(
        (SELECT coalesce(max(id), 0) FROM reading),
        (SELECT coalesce(max(CAST(through AS INTEGER)), 0) FROM destination)
    )
"""
_OF_EPOCH = "SELECT 1 FROM state WHERE key = 'epoch' AND value = ?"


def damage(path: Path, *, suspect: bool, mark: Mark | None) -> str | None:
    """What is wrong with the file, or None. A missing or empty one is fine.

    `suspect`: check every page whatever the size. Raises `sqlite3.OperationalError` when it cannot be opened at all.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(_BEGINNING):
        return "it does not begin like a SQLite database"
    if header[_FILE_FORMAT] not in (b"\x01\x01", b"\x02\x02"):
        return "it claims a file format that does not exist"
    try:
        if path.with_name(f"{path.name}-journal").exists():
            _roll_back(path)
        with connection(path, read_only=True) as database:
            return _damage(database, suspect=suspect, size_bytes=path.stat().st_size, mark=mark)
    except sqlite3.DatabaseError as error:
        if primary_code(error) == sqlite3.SQLITE_IOERR or is_damage(error):
            return str(error)
        raise


def _roll_back(path: Path) -> None:
    """The machine went down while the database was being made, before it had a write-ahead log. To undo what was begun
    takes a connection that may write."""
    with connection(path) as database:
        database.execute("SELECT * FROM sqlite_schema").fetchall()


def _damage(database: sqlite3.Connection, *, suspect: bool, size_bytes: int, mark: Mark | None) -> str | None:
    if not is_ours_by_its_tables(database):
        return None  # another program's, or of another version: `identify` says which
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        return "it does not say that it is a buffer"
    small = size_bytes <= CHECKED_UP_TO_BYTES
    if suspect or (small and _stopped_uncleanly(database)) or _is_behind(database, mark):
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        return _missing_rows(database) if verdict == "ok" else " ".join(str(verdict).split())
    database.execute("SELECT max(id) FROM reading").fetchone()
    database.execute("SELECT * FROM destination").fetchall()
    return None


def suspicion(path: Path) -> Path:
    """A file that exists when the running gateway met an unreadable page, so that the next one checks them all."""
    return path.with_name(f"{path.name}.suspect")


def suspect(path: Path) -> None:
    """Leave that file, if it can be made. Whoever meets the damage says so, and the next gateway meets it again."""
    with suppress(OSError):
        suspicion(path).touch()


def trust(path: Path) -> None:
    """Take that file away, if it can be removed. Where it stays, the next start checks every page for nothing."""
    with suppress(OSError):
        suspicion(path).unlink(missing_ok=True)


def _missing_rows(database: sqlite3.Connection) -> str | None:
    """A table of which whole pages are gone may be in good order for SQLite."""
    row = database.execute("SELECT value FROM state WHERE key = 'held'").fetchone()
    if row is None:
        return None
    try:
        through, held = decode_held(row[0])
    except (AttributeError, ValueError):
        return "it does not say how many readings it holds"
    rows, newest = database.execute("SELECT count(*), coalesce(max(id), 0) FROM reading").fetchone()
    missing = held + max(0, newest - through) - rows
    return f"{missing} readings are missing in it" if missing > 0 else None


def _is_behind(database: sqlite3.Connection, mark: Mark | None) -> bool:
    """Whether commits have vanished; a log that vanished in the middle of a checkpoint leaves worse than that."""
    if mark is None:
        return False
    is_its_own = database.execute(_OF_EPOCH, (mark.epoch,)).fetchone() is not None
    (last,) = database.execute(_LAST).fetchone()
    return is_its_own and last < mark.last


def _stopped_uncleanly(database: sqlite3.Connection) -> bool:
    row = database.execute("SELECT value FROM state WHERE key = 'running'").fetchone()
    return row is not None and row[0] != ""

"""A database that cannot be used as it is: recognised when the buffer is opened, moved aside, and salvaged.

Nothing is ever deleted: the damaged file stays beside the new one for `sqlite3 FILE .recover` and for whoever asks why.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.buffer.salvage import Salvaged, salvage
from gateway.buffer.schema import connection, sync_directory

CHECKED_UP_TO_BYTES = 64 * 2**20
"""A file up to this size is checked in full after an unclean stop (a second or so on an SD card). A larger one is
trusted until a page turns out to be unreadable, so that a large backlog does not delay the first reading."""

_HEADER = b"SQLite format 3\x00"
_COMPANIONS = ("", "-wal", "-shm")


def damage(path: Path, *, suspect: bool) -> str | None:
    """What is wrong with the file, or None. A missing or empty one is fine.

    `suspect`: check every page whatever the size. Raises `sqlite3.OperationalError` when it cannot be opened at all.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            return "it does not begin like a SQLite database"
    try:
        with connection(path, read_only=True) as database:
            database.execute("SELECT name FROM sqlite_schema").fetchall()
            if suspect or (path.stat().st_size <= CHECKED_UP_TO_BYTES and _stopped_uncleanly(database)):
                (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
                return None if verdict == "ok" else str(verdict)
            database.execute("SELECT max(id) FROM reading").fetchone()
            database.execute("SELECT * FROM destination").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None  # another program's, or of another version: `identify` says which
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def replace(path: Path, *, cause: str, clock_ns: Callable[[], int]) -> tuple[Path, Salvaged]:
    """Put a new database with everything readable in the place of this one, which is moved aside, named for `cause`.

    Returns where it is now, and what was salvaged. A crash in the middle loses nothing: see `finish_replacing`. Raises
    `sqlite3.Error` or `OSError` when the new database cannot be written.
    """
    salvaging = _salvaging(path)
    for suffix in _COMPANIONS:
        salvaging.with_name(salvaging.name + suffix).unlink(missing_ok=True)
    salvaged = salvage(path, salvaging)
    sync_directory(path.parent)
    aside = _move_aside(path, cause=cause, clock_ns=clock_ns)
    sync_directory(path.parent)
    salvaging.rename(path)
    sync_directory(path.parent)
    return aside, salvaged


def finish_replacing(path: Path) -> None:
    """Complete a replacement that was interrupted after the damaged database had been moved aside."""
    if not path.exists() and _salvaging(path).exists():
        _salvaging(path).rename(path)


def suspicion(path: Path) -> Path:
    """A file that exists when the running gateway met an unreadable page, so that the next one checks them all."""
    return path.with_name(f"{path.name}.suspect")


def _salvaging(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaging")


def _move_aside(path: Path, *, cause: str, clock_ns: Callable[[], int]) -> Path:
    moment = datetime.fromtimestamp(clock_ns() // 1_000_000_000, UTC)
    name = f"{path.name}.{cause}-{moment:%Y%m%dT%H%M%SZ}"
    aside, attempt = path.with_name(name), 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{name}.{attempt}")
    for suffix in ("-wal", "-shm", ""):  # the database last: until it has gone, the next start begins again
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def _stopped_uncleanly(database: sqlite3.Connection) -> bool:
    row = database.execute("SELECT value FROM state WHERE key = 'running'").fetchone()
    return row is not None and row[0] != ""

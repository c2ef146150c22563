"""A damaged database: recognised when the buffer is opened, moved aside, and salvaged row by row.

Nothing is ever deleted: the damaged file stays beside the new one for `sqlite3 FILE .recover` and for whoever asks why.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.buffer.encoding import decode_group, decode_ranges, decode_reading, encode_ranges
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import connection, migrate

CHECKED_UP_TO_BYTES = 64 * 2**20
"""A file up to this size is checked in full after an unclean stop (a second or so on an SD card). A larger one is
trusted until a page turns out to be unreadable, so that a large backlog does not delay the first reading."""

_HEADER = b"SQLite format 3\x00"
_COMPANIONS = ("", "-wal", "-shm")
_CHUNK = 500
_FARTHEST = 2**40


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
        with connection(path) as database:
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


def replace(path: Path, *, clock_ns: Callable[[], int]) -> tuple[Path, int, int]:
    """Put a new database with everything readable in the place of the damaged one, which is moved aside.

    Returns where the damaged one is now, how many readings were copied (they keep their positions) and how many
    positions between them could not be read (an upper bound). A crash in the middle loses nothing: see
    `finish_replacing`. Raises `sqlite3.Error` or `OSError` when the new database cannot be written.
    """
    salvaging = _salvaging(path)
    for suffix in _COMPANIONS:
        salvaging.with_name(salvaging.name + suffix).unlink(missing_ok=True)
    copied, skipped = _salvage(path, salvaging)
    aside = _move_aside(path, clock_ns=clock_ns)
    salvaging.rename(path)
    return aside, copied, skipped


def finish_replacing(path: Path) -> None:
    """Complete a replacement that was interrupted after the damaged database had been moved aside."""
    if not path.exists() and _salvaging(path).exists():
        _salvaging(path).rename(path)


def suspicion(path: Path) -> Path:
    """A file that exists when the running gateway met an unreadable page, so that the next one checks them all."""
    return path.with_name(f"{path.name}.suspect")


def _salvaging(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaging")


def _move_aside(path: Path, *, clock_ns: Callable[[], int]) -> Path:
    moment = datetime.fromtimestamp(clock_ns() // 1_000_000_000, UTC)
    name = f"{path.name}.damaged-{moment:%Y%m%dT%H%M%SZ}"
    aside, attempt = path.with_name(name), 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{name}.{attempt}")
    for suffix in ("-wal", "-shm", ""):  # the database last: until it has gone, the next start begins again
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def _salvage(damaged: Path, fresh: Path) -> tuple[int, int]:
    migrate(fresh)
    salvaged = Ranges()
    with connection(damaged, read_only=True) as source, connection(fresh) as target:
        groups = _groups(source)
        target.executemany("INSERT INTO point_group VALUES (?, ?, ?, ?, ?)", [row for row, _ in groups.values()])
        for rows in _batched(_rows(source, "reading"), _CHUNK):
            target.execute("BEGIN")
            for row in rows:
                try:
                    position, group_id, observed_at_ns, body, quality = row
                    decode_reading(groups[group_id][1], observed_at_ns, body=body, quality=quality)
                    target.execute("INSERT INTO reading VALUES (?, ?, ?, ?, ?)", row)
                except (AttributeError, KeyError, TypeError, ValueError, sqlite3.IntegrityError):
                    continue  # read, but not what was written
                salvaged.add(position, position)
            target.execute("COMMIT")
        _copy_destinations(source, target, salvaged)
    pairs = list(salvaged)
    return salvaged.count, pairs[-1][1] - pairs[0][0] + 1 - salvaged.count if pairs else 0


def _stopped_uncleanly(database: sqlite3.Connection) -> bool:
    row = database.execute("SELECT value FROM state WHERE key = 'running'").fetchone()
    return row is not None and row[0] != ""


def _groups(source: sqlite3.Connection) -> dict[int, tuple[tuple[Any, ...], Any]]:
    groups: dict[int, tuple[tuple[Any, ...], Any]] = {}
    for row in _rows(source, "point_group"):
        try:
            groups[row[0]] = (row, decode_group(row[1], row[2], points=row[4]))
        except (KeyError, TypeError, ValueError):
            continue
    return groups


def _rows(source: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Every readable row in order of id. After an unreadable one, the next readable id is searched: first by doubling
    steps, then by halving what was jumped over."""
    query = f"SELECT * FROM {table} WHERE id >= ? ORDER BY id LIMIT ?"  # noqa: S608  two fixed names
    start = 0
    while True:
        try:
            rows = source.execute(query, (start, _CHUNK)).fetchall()
        except sqlite3.DatabaseError:
            rows = []
            try:
                for row in source.execute(query, (start, _CHUNK)):
                    rows.append(row)
            except sqlite3.DatabaseError:
                pass
            yield from rows
            found = _next_readable(source, query, rows[-1][0] + 1 if rows else start)
            if found is None:
                return
            start = found
            continue
        yield from rows
        if len(rows) < _CHUNK:
            return
        start = rows[-1][0] + 1


def _next_readable(source: sqlite3.Connection, query: str, bad: int) -> int | None:
    step = 1
    while not _readable(source, query, bad + step):
        step *= 2
        if step > _FARTHEST:
            return None
    low, high = bad + step // 2, bad + step  # low is unreadable, high is readable
    while high - low > 1:
        middle = (low + high) // 2
        if _readable(source, query, middle):
            high = middle
        else:
            low = middle
    return high


def _readable(source: sqlite3.Connection, query: str, start: int) -> bool:
    try:
        source.execute(query, (start, 1)).fetchall()
    except sqlite3.DatabaseError:
        return False
    return True


def _copy_destinations(source: sqlite3.Connection, target: sqlite3.Connection, salvaged: Ranges) -> None:
    """What each destination had acknowledged, when that can still be read; otherwise each gets everything."""
    newest = max((last for _, last in salvaged), default=0)
    rows: list[tuple[str, int, str, int]] = []
    try:
        for name, through, text in source.execute("SELECT name, through, pending FROM destination").fetchall():
            pending = decode_ranges(text)
            pending.add(through + 1, newest)
            waiting = sum(last - first + 1 for wanted in pending for first, last in salvaged.within(*wanted))
            rows.append((name, max(through, newest), encode_ranges(pending), waiting))
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return
    target.executemany("INSERT INTO destination VALUES (?, ?, ?, ?)", rows)


def _batched(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(islice(rows, size)):
        yield batch

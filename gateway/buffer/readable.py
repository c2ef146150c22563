"""Every row of a damaged database that can still be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.buffer.schema import primary_code

_FARTHEST = 2**40
_BEGINNING = b"SQLite format 3\0"
_MOST_ADDED = 64  # times the size of the file: a header that claims more lies
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}
"""Errors that say nothing about what is in the file."""

Row = tuple[Any, ...]


def lengthen(path: Path) -> None:
    """SQLite reads nothing of a file that is shorter than its header says: add what was cut off, as zeros that take no
    room. Then every page that is left can be read. Raises `OSError`.

    The header: page size at byte 16, 1 for 65536; pages at byte 28 (SQLite, Database File Format, 1.3).
    """
    with path.open("r+b") as file:
        header = file.read(32)
        if not header.startswith(_BEGINNING) or len(header) < 32:
            return
        page_bytes = int.from_bytes(header[16:18], "big")
        claimed = int.from_bytes(header[28:32], "big") * (65536 if page_bytes == 1 else page_bytes)
        size = path.stat().st_size
        if size < claimed <= size * _MOST_ADDED:
            file.truncate(claimed)


def readable_rows(source: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Row]:
    """In order of `id`, where the table has one. Raises `sqlite3.Error` only for what `is_passing`."""
    return _by_id(source, table, names) if "id" in names else _until_unreadable(source, table, names)


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the error says nothing about what is in the file."""
    return primary_code(error) in _PASSING


def _by_id(source: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Row]:
    """Every readable row, in order of id as far as the pages are in order: a row out of place says nothing of those
    that follow it. After an unreadable one, the next readable id is searched: first by doubling steps, then by halving
    what was jumped over. That is always beyond all ids that were found, so it does not go round in circles."""
    query = f"SELECT {','.join(names)} FROM {table} WHERE id >= ? ORDER BY id"  # noqa: S608  names of ours
    key = names.index("id")
    start: int | None = 0
    while start is not None:
        try:
            for row in source.execute(query, (start,)):
                yield row
                start = max(start, row[key] + 1)
        except sqlite3.DatabaseError as error:
            if is_passing(error):
                raise
            start = _next_readable(source, query, key, start)
        else:
            return


def _until_unreadable(source: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Row]:
    try:
        yield from source.execute(f"SELECT {','.join(names)} FROM {table}")  # noqa: S608  names of ours
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise


def _next_readable(source: sqlite3.Connection, query: str, key: int, bad: int) -> int | None:
    step = 1
    while not _readable(source, query, key, bad + step):
        step *= 2
        if step > _FARTHEST:
            return None
    low, high = bad + step // 2, bad + step  # low is unreadable, high is readable
    while high - low > 1:
        middle = (low + high) // 2
        if _readable(source, query, key, middle):
            high = middle
        else:
            low = middle
    return high


def _readable(source: sqlite3.Connection, query: str, key: int, start: int) -> bool:
    try:
        rows = source.execute(f"{query} LIMIT 1", (start,)).fetchall()
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return False
    return all(row[key] >= start for row in rows)

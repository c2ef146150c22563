"""What can be read of a database, copied row by row into a new one.

A table is copied by the columns that both databases have, so one of a newer version gives what this one has a place
for. A row counts as read when it is what could have been written: its types, its JSON, and the group it refers to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from drivers.model import PointGroup
from gateway.buffer.drops import Loss
from gateway.buffer.encoding import decode_group, decode_ranges, decode_reading, encode_ranges
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.schema import connection, migrate, new_epoch, primary_code, versions

_CHUNK = 500
_FARTHEST = 2**40
_TYPES: Mapping[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str,)}
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
Check = Callable[[dict[str, Any]], object]
"""Raises for a row, by columns, that was never written like this."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of it."""

    readings: int
    """Copied; they keep their positions."""
    set_aside: int
    """Copied as well."""
    lost: int
    """Readings that somebody was waiting for and that could not be read: an upper bound."""
    first_lost: int
    last_lost: int
    """The positions between which those are; 0 when there are none."""
    first_lost_ns: int | None
    last_lost_ns: int | None
    """When their neighbours were taken, if they have any."""
    keeps_epoch: bool

    def loss(self, now_ns: int) -> Loss:
        """What was lost, with the time of its neighbours, or now."""
        first_ns, last_ns = self.first_lost_ns or self.last_lost_ns or now_ns, self.last_lost_ns or now_ns
        return Loss(self.lost, first_ns, last_ns, self.first_lost, self.last_lost)

    def __str__(self) -> str:
        lost = f"up to {self.lost} lost between {self.first_lost} and {self.last_lost}" if self.lost else "none lost"
        epoch = "positions go on" if self.keeps_epoch else "readings get a new epoch"
        return f"{self.readings} readings and {self.set_aside} that were set aside salvaged, {lost}; {epoch}"


def salvage(damaged: Path, fresh: Path, *, epoch: str | None) -> Salvaged:
    """Make the database `fresh` from all that can be read of `damaged`, which is not changed. Durable on return.

    `epoch` is the one whose last position is known. It goes on, unless `damaged` says that it is of another; without
    it, nobody knows which positions have been used, and `fresh` gets a new one.
    `fresh` gets the version of `damaged`, if that can be told and is known. Raises `sqlite3.Error` when `fresh` cannot
    be written, or `damaged` not be opened.
    """
    with connection(damaged, read_only=True) as source:
        migrate(fresh, to=_version(source))
        with connection(fresh) as target:
            target.execute("PRAGMA synchronous = OFF")  # a crash before the end begins again
            _copy(source, target)
            salvaged = _reckon(target, epoch)
            target.execute("PRAGMA synchronous = FULL")
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return salvaged


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the error says nothing about what is in the file."""
    return primary_code(error) in _PASSING


def _version(source: sqlite3.Connection) -> int | None:
    try:
        (version,) = source.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return None
    return int(version) if version in versions() else None


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    groups: dict[int, PointGroup] = {}

    def check_group(row: dict[str, Any]) -> None:
        groups[row["id"]] = decode_group(row["device"], row["period_s"], points=row["points"])

    def check_reading(row: dict[str, Any]) -> None:
        decode_reading(groups[row["group_id"]], row["observed_at_ns"], body=row["body"], quality=row["quality"])

    checks: dict[str, Check] = {
        "point_group": check_group,
        "reading": check_reading,
        "set_aside": check_reading,
        "destination": lambda row: decode_ranges(row["pending"]),
    }
    tables = [name for (name,) in target.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    for table in sorted(tables, key=lambda name: name != "point_group"):  # groups first: the checks need them
        if not table.startswith("sqlite_"):
            _copy_table(source, target, table, check=checks.get(table, lambda _: None))


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, *, check: Check) -> None:
    columns = [column for column in _columns(target, table) if column.name in _names(source, table)]
    names = [column.name for column in columns]
    if not names:
        return
    insert = f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"  # noqa: S608
    rows = _by_id(source, table, names) if "id" in names else _until_unreadable(source, table, names)
    for some in _batched(filter(partial(_is_sound, columns, check), rows), _CHUNK):
        target.execute("BEGIN")
        target.executemany(insert, some)
        target.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    types: tuple[type, ...]


def _columns(target: sqlite3.Connection, table: str) -> list[_Column]:
    columns = []
    for _, name, kind, not_null, _, is_key in target.execute(f"PRAGMA table_info({table})").fetchall():
        columns.append(_Column(name, _TYPES[kind] if not_null or is_key else (*_TYPES[kind], type(None))))
    return columns


def _names(source: sqlite3.Connection, table: str) -> set[str]:
    try:
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})").fetchall()}
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return set()


def _is_sound(columns: Sequence[_Column], check: Check, row: Row) -> bool:
    if not all(isinstance(value, column.types) for value, column in zip(row, columns, strict=True)):
        return False
    try:
        check({column.name: value for column, value in zip(columns, row, strict=True)})
    except (AttributeError, KeyError, TypeError, ValueError):
        return False  # read, but not what was written
    return True


def _reckon(target: sqlite3.Connection, epoch: str | None) -> Salvaged:
    """Bring what each destination waits for into line with what is there, and tell what is not.

    Without its row a destination gets everything.
    """
    found = Ranges((position, position) for (position,) in target.execute("SELECT id FROM reading ORDER BY id"))
    destinations = [
        (name, through, decode_ranges(pending))
        for name, through, pending in target.execute("SELECT name, through, pending FROM destination").fetchall()
    ]
    newest = max((last for _, last in found), default=0)
    last = max((through for _, through, _ in destinations), default=newest)
    last = max(last, newest)
    for name, through, pending in destinations:
        pending.add(through + 1, last)
        waiting = sum(_count(found, *span) for span in pending)
        target.execute(
            "UPDATE destination SET through = ?, pending = ?, waiting = ? WHERE name = ?",
            (last, encode_ranges(pending), waiting, name),
        )
    wanted = union(pending for _, _, pending in destinations) if destinations else Ranges([(found.first or 1, last)])
    held = sum(_count(found, *span) for span in wanted)
    missing = wanted.copy()
    missing.subtract(found)
    lost = min(missing.count, _held(target, last, otherwise=wanted.count) - held)
    target.execute("INSERT OR REPLACE INTO state VALUES ('held', ?)", (f"{last} {held}",))
    spans = list(missing) if lost > 0 else [(0, 0)]
    first_lost, last_lost = spans[0][0], spans[-1][1]
    (set_aside,) = target.execute("SELECT count(*) FROM set_aside").fetchone()
    return Salvaged(
        readings=found.count,
        set_aside=set_aside,
        lost=max(lost, 0),
        first_lost=first_lost,
        last_lost=last_lost,
        first_lost_ns=_time(target, "id < ? ORDER BY id DESC", first_lost),
        last_lost_ns=_time(target, "id > ? ORDER BY id", last_lost),
        keeps_epoch=_settle_epoch(target, epoch),
    )


def _time(target: sqlite3.Connection, which: str, position: int) -> int | None:
    row = target.execute(f"SELECT observed_at_ns FROM reading WHERE {which} LIMIT 1", (position,)).fetchone()  # noqa: S608
    return row and int(row[0])


def _settle_epoch(target: sqlite3.Connection, epoch: str | None) -> bool:
    row = target.execute("SELECT value FROM state WHERE key = 'epoch'").fetchone()
    if epoch is not None and (row is None or row[0] == epoch):
        target.execute("INSERT OR REPLACE INTO state VALUES ('epoch', ?)", (epoch,))
        return True
    target.execute("DELETE FROM state WHERE key = 'skipped'")
    target.execute("INSERT OR REPLACE INTO state VALUES ('epoch', ?)", (new_epoch(),))
    return False


def _held(target: sqlite3.Connection, last: int, *, otherwise: int) -> int:
    """How many readings were held, by the book."""
    row = target.execute("SELECT value FROM state WHERE key = 'held'").fetchone()
    try:
        through, held = (int(number) for number in row[0].split())
    except (TypeError, ValueError):
        return otherwise
    return held + last - through


def _count(found: Ranges, first: int, last: int) -> int:
    return sum(high - low + 1 for low, high in found.within(first, last))


def _by_id(source: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Row]:
    """Every readable row in order of id. After an unreadable one, the next readable id is searched: first by doubling
    steps, then by halving what was jumped over."""
    query = f"SELECT {','.join(names)} FROM {table} WHERE id >= ? ORDER BY id LIMIT ?"  # noqa: S608  names of ours
    key = names.index("id")
    start = 0
    while True:
        rows: list[Row] = []
        try:
            for row in source.execute(query, (start, _CHUNK)):
                rows.append(row)  # noqa: PERF402  those before the error are wanted
        except sqlite3.DatabaseError as error:
            if is_passing(error):
                raise
            yield from rows
            found = _next_readable(source, query, rows[-1][key] + 1 if rows else start)
            if found is None:
                return
            start = found
            continue
        yield from rows
        if len(rows) < _CHUNK:
            return
        start = rows[-1][key] + 1


def _until_unreadable(source: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Row]:
    try:
        yield from source.execute(f"SELECT {','.join(names)} FROM {table}")  # noqa: S608  names of ours
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise


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
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return False
    return True


def _batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch

"""What can be read of a database, copied row by row into a new one.

A table is copied by the columns that both databases have, so one of a newer version gives what this one has a place
for. A row counts as read when it is what could have been written: its types, its JSON, and the group it refers to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from drivers.model import PointGroup
from gateway.buffer.drops import Loss
from gateway.buffer.encoding import (
    decode_group,
    decode_held,
    decode_ranges,
    decode_reading,
    encode_held,
    encode_ranges,
    verify,
)
from gateway.buffer.eras import Era
from gateway.buffer.groups import GroupRow
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.readable import Row, is_passing, lengthen, readable_rows
from gateway.buffer.schema import connection, migrate, new_epoch, versions

_CHUNK = 500
_TYPES: Mapping[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str,)}
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
    is_told: bool
    """Whether what could be read tells how many there were."""
    keeps_epoch: bool
    positions: Ranges
    """Of the readings that were copied."""

    def loss(self, now_ns: int) -> Loss:
        """What was lost, with the time of its neighbours, or now."""
        first_ns, last_ns = self.first_lost_ns or self.last_lost_ns or now_ns, self.last_lost_ns or now_ns
        return Loss(self.lost, first_ns, last_ns, self.first_lost, self.last_lost)

    def __str__(self) -> str:
        none = "none lost" if self.is_told else "nothing in it tells how many are lost"
        lost = f"up to {self.lost} lost between {self.first_lost} and {self.last_lost}" if self.lost else none
        epoch = "positions go on" if self.keeps_epoch else "readings get a new epoch"
        return f"{self.readings} readings and {self.set_aside} that were set aside salvaged, {lost}; {epoch}"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a gateway that is running knows, whatever the file says."""

    wanted: Ranges
    """Positions that are of use to somebody. No others are copied."""
    groups: Sequence[GroupRow]
    eras: Sequence[tuple[int, Era]]
    rows: Sequence[Row]
    """Of `reading`, the newest."""
    state: Mapping[str, str]
    is_enough: bool
    """Do without a file that cannot even be opened."""


def salvage(damaged: Path, fresh: Path, *, epoch: str | None, memory: Memory | None = None) -> Salvaged:
    """Make the database `fresh` from all that can be read of `damaged`, which is at most lengthened, and what is in
    `memory`. Durable on return.

    `epoch` is the one whose last position is known. It goes on, unless `damaged` says that it is of another; without
    it, nobody knows which positions have been used, and `fresh` gets a new one.
    `fresh` gets the version of `damaged`, if that can be told and is known, and the newest with `memory`. Raises
    `sqlite3.Error` when `fresh` cannot be written, or `damaged` not be opened.
    """
    with _source(damaged, memory) as source:
        migrate(fresh, to=None if memory else _version(source))
        with connection(fresh) as target:
            target.execute("PRAGMA synchronous = OFF")  # a crash before the end begins again
            _copy(source, target, memory)
            if memory is not None:
                _complete(target, memory)
            salvaged = _reckon(target, epoch, memory.wanted if memory else None)
            target.execute("PRAGMA synchronous = FULL")
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing does it too, and does not say when it fails
    return salvaged


@contextmanager
def _source(damaged: Path, memory: Memory | None) -> Iterator[sqlite3.Connection]:
    with ExitStack() as stack:
        with suppress(OSError):  # of another user, say: then what can be read is read
            lengthen(damaged)
        try:
            source = stack.enter_context(connection(damaged, read_only=True))
        except sqlite3.Error:
            if memory is None or not memory.is_enough:
                raise
            source = stack.enter_context(closing(sqlite3.connect(":memory:")))
        yield source


def _version(source: sqlite3.Connection) -> int | None:
    try:
        (version,) = source.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return None
    return int(version) if version in versions() else None


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, memory: Memory | None) -> None:
    known = memory.groups if memory else ()
    groups: dict[int, PointGroup] = {}

    def check_group(row: dict[str, Any]) -> None:
        groups[row["id"]] = decode_group(row["device"], row["period_s"], points=row["points"])

    def check_content(row: dict[str, Any]) -> None:
        position, observed_at_ns = row.get("position", row["id"]), row["observed_at_ns"]
        group_id, body, quality = row["group_id"], row["body"], row["quality"]
        verify((position, group_id, observed_at_ns, body, quality, row.get("checksum")))
        decode_reading(groups[group_id], observed_at_ns, body=body, quality=quality)

    def check_reading(row: dict[str, Any]) -> None:
        if memory is not None and row["id"] not in memory.wanted:
            raise ValueError("nobody waits for it")
        check_content(row)

    checks: dict[str, Check] = {
        "point_group": check_group,
        "reading": check_reading,
        "set_aside": check_content,
        "destination": lambda row: decode_ranges(row["pending"]),
    }
    tables = [name for (name,) in target.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    for table in sorted(tables, key=lambda name: name != "point_group"):  # groups first: the checks need them
        if not table.startswith("sqlite_"):
            _copy_table(source, target, table, check=checks.get(table, lambda _: None))
        if table == "point_group":
            groups.update((row.id, decode_group(row.device, row.period_s, points=row.points)) for row in known)


def _complete(target: sqlite3.Connection, memory: Memory) -> None:
    target.execute("BEGIN")
    target.executemany("INSERT OR REPLACE INTO point_group VALUES (?, ?, ?, ?, ?)", map(astuple, memory.groups))
    target.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?)", memory.rows)
    target.execute("DELETE FROM clock_era")
    target.executemany(
        "INSERT INTO clock_era VALUES (?, ?, ?, ?, ?)", [(first, *astuple(era)) for first, era in memory.eras]
    )
    target.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", memory.state.items())
    target.execute("COMMIT")


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, *, check: Check) -> None:
    columns = [column for column in _columns(target, table) if column.name in _names(source, table)]
    names = [column.name for column in columns]
    if not names:
        return
    insert = f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"  # noqa: S608
    rows = readable_rows(source, table, names)
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


def _reckon(target: sqlite3.Connection, epoch: str | None, wanted: Ranges | None) -> Salvaged:
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
        target.execute(
            "UPDATE destination SET through = ?, pending = ?, waiting = ? WHERE name = ?",
            (last, encode_ranges(pending), found.count_common(pending), name),
        )
    if wanted is None and destinations:
        wanted = union(pending for _, _, pending in destinations)
    elif wanted is None:
        wanted = Ranges([(found.first or 1, last)])
    held = found.count_common(wanted)
    missing = wanted.copy()
    missing.subtract(found)
    by_the_book = _held(target, last)
    lost = min(missing.count, (wanted.count if by_the_book is None else by_the_book) - held)
    target.execute("INSERT OR REPLACE INTO state VALUES ('held', ?)", (encode_held(last, held),))
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
        is_told=by_the_book is not None or bool(destinations),
        keeps_epoch=_settle_epoch(target, epoch),
        positions=found,
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


def _held(target: sqlite3.Connection, last: int) -> int | None:
    """How many readings were held, by the book; None when that is lost as well."""
    row = target.execute("SELECT value FROM state WHERE key = 'held'").fetchone()
    try:
        through, held = decode_held(row[0])
    except (TypeError, ValueError):
        return None
    return held + last - through


def _batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch

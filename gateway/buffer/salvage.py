"""What can be read of a database, copied row by row into a new one.

A table is copied by the columns that both databases have, so one of a newer version gives what this one has a place
for. A row counts as read when it is what could have been written: its types, its JSON, and the group it refers to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from drivers.model import PointGroup
from gateway.buffer.encoding import decode_group, decode_reading, verify
from gateway.buffer.eras import Era
from gateway.buffer.facts import check_fact
from gateway.buffer.groups import GroupRow
from gateway.buffer.places import PlaceRow, decode_place
from gateway.buffer.ranges import Ranges
from gateway.buffer.readable import Row, is_passing, lengthen, readable_rows
from gateway.buffer.reckoning import Salvaged, leave_note, reckon
from gateway.buffer.schema import connection, migrate, versions

_CHUNK = 500
_TYPES: Mapping[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str,)}
_WAITS_FOR_EVERYTHING = {"through": 0, "pending": "[]", "waiting": 0}

Columns = dict[str, Any]
Check = Callable[[Columns], object]
"""Raises for a row, by columns, that was never written like this."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a gateway that is running knows, whatever the file says."""

    wanted: Ranges
    """Positions that are of use to somebody. No others are copied."""
    places: Sequence[PlaceRow]
    groups: Sequence[GroupRow]
    eras: Sequence[tuple[int, Era]]
    rows: Sequence[Row]
    """Of `reading`, the newest."""
    state: Mapping[str, str]
    is_enough: bool
    """Do without a file that cannot even be opened."""


def salvage(damaged: Path, fresh: Path, *, epoch: str | None, now_ns: int, memory: Memory | None = None) -> Salvaged:
    """Make the database `fresh` from all that can be read of `damaged`, which is at most lengthened, and what is in
    `memory`. Durable on return.

    `epoch` is the one whose last position is known. It goes on, unless `damaged` says that it is of another; without
    it, nobody knows which positions have been used, and `fresh` gets a new one.
    `fresh` gets the version of `damaged`, if that can be told and is known, and the newest with `memory`. It says what
    was lost, for whoever counts it. Raises `sqlite3.Error` when `fresh` cannot be written, or `damaged` not be opened.
    """
    with _source(damaged, memory) as source:
        migrate(fresh, to=None if memory else _version(source))
        with connection(fresh) as target:
            target.execute("PRAGMA synchronous = OFF")  # a crash before the end begins again
            _copy(source, target, memory)
            if memory is not None:
                _complete(target, memory)
            salvaged = reckon(source, target, epoch=epoch, wanted=memory.wanted if memory else None)
            leave_note(target, salvaged, now_ns=now_ns)
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

    def check_group(row: Columns) -> None:
        columns = row["id"], row["device"], row["period_s"], row["priority"], row["points"], row.get("checksum")
        group = GroupRow.read(columns)
        groups[group.id] = decode_group(group.device, group.period_s, points=group.points)

    def check_place(row: Columns) -> None:
        decode_place(row["name"], row["through"], row["pending"], row["waiting"], row.get("checksum"))

    def check_content(row: Columns) -> None:
        group_id, observed_at_ns, body, quality = (
            row[name] for name in ("group_id", "observed_at_ns", "body", "quality")
        )
        position = row["position"] if "position" in row else row["id"]
        verify((position, group_id, observed_at_ns, body, quality, row.get("checksum")))
        decode_reading(groups[group_id], observed_at_ns, body=body, quality=quality)

    def check_reading(row: Columns) -> None:
        if memory is not None and row["id"] not in memory.wanted:
            raise ValueError("nobody waits for it")
        check_content(row)

    checks: dict[str, Check] = {
        "state": lambda row: check_fact(row["key"], row["value"]),
        "point_group": check_group,
        "reading": check_reading,
        "set_aside": check_content,
        "destination": check_place,
    }
    tables = [name for (name,) in target.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    for table in sorted(tables, key=lambda name: name != "point_group"):  # groups first: the checks need them
        if not table.startswith("sqlite_"):
            _copy_table(source, target, table, check=checks.get(table, lambda _: None))
        if table == "point_group":
            groups.update((row.id, decode_group(row.device, row.period_s, points=row.points)) for row in known)


def _complete(target: sqlite3.Connection, memory: Memory) -> None:
    target.execute("BEGIN")
    target.executemany(
        "INSERT OR REPLACE INTO point_group VALUES (?, ?, ?, ?, ?, ?)", [row.columns for row in memory.groups]
    )
    target.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?)", memory.rows)
    target.execute("DELETE FROM destination")
    target.executemany("INSERT INTO destination VALUES (?, ?, ?, ?, ?)", memory.places)
    target.execute("DELETE FROM clock_era")
    target.executemany(
        "INSERT INTO clock_era VALUES (?, ?, ?, ?, ?)", [(first, *astuple(era)) for first, era in memory.eras]
    )
    target.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", memory.state.items())
    target.execute("COMMIT")


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, *, check: Check) -> None:
    types = {name: kinds for name, kinds in _columns(target, table) if name in _names(source, table)}
    if not types:
        return
    insert = f"INSERT OR REPLACE INTO {table} ({','.join(types)}) VALUES ({','.join('?' * len(types))})"  # noqa: S608
    rows = (dict(zip(types, row, strict=True)) for row in readable_rows(source, table, list(types)))
    sound = (row if _is_sound(row, types, check) else _mended(table, row) for row in rows)
    for some in _batched((tuple(row.values()) for row in sound if row is not None), _CHUNK):
        target.execute("BEGIN")
        target.executemany(insert, some)
        target.execute("COMMIT")


def _columns(target: sqlite3.Connection, table: str) -> Iterator[tuple[str, tuple[type, ...]]]:
    """The types that each column may have."""
    for _, name, kind, not_null, _, is_key in target.execute(f"PRAGMA table_info({table})").fetchall():
        yield name, _TYPES[kind] if not_null or is_key else (*_TYPES[kind], type(None))


def _names(source: sqlite3.Connection, table: str) -> set[str]:
    try:
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})").fetchall()}
    except sqlite3.DatabaseError as error:
        if is_passing(error):
            raise
        return set()


def _is_sound(row: Columns, types: Mapping[str, tuple[type, ...]], check: Check) -> bool:
    if not all(isinstance(row[name], kinds) for name, kinds in types.items()):
        return False
    try:
        check(row)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False  # read, but not what was written
    return True


def _mended(table: str, row: Columns) -> Columns | None:
    """A destination of which only the name can be told waits for everything that is found: copies are better than
    loss. Of other rows nothing is left."""
    is_named = table == "destination" and isinstance(row.get("name"), str)
    return row | _WAITS_FOR_EVERYTHING if is_named else None


def _batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch

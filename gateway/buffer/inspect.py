"""Looking into the buffer from another process while the gateway runs: what `hub-gateway buffer …` prints.

Synchronous, read-only, without the gateway's lock, and in short transactions, so that a paused `less` never keeps the
write-ahead log from being emptied. What it sees of acknowledgements is at most two seconds old. Every function raises
`BufferUnavailable` when there is no readable buffer at `path`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.model import Reading
from gateway.buffer.encoding import decode_group, decode_held, decode_ranges, decode_reading
from gateway.buffer.eras import Era, read_eras
from gateway.buffer.model import BufferUnavailable, UnknownDestination
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import ORPHANED, TAKEN, connection, has_table, identify, size_bytes

_CHUNK = 500
_FORECAST_HOLDS_NS = 150_000_000_000
_ROWS = f"""
    SELECT reading.id, device, period_s, points, {TAKEN}, body, quality
    FROM reading JOIN point_group ON point_group.id = group_id
    WHERE reading.id > ? ORDER BY reading.id LIMIT ?
"""  # noqa: S608  ours
_SET_ASIDE = f"""
    SELECT destination, position, reason, set_aside_at_ns, device, period_s, points, {TAKEN}, body, quality
    FROM set_aside JOIN point_group ON point_group.id = group_id
    WHERE destination = coalesce(?, destination)
    ORDER BY set_aside.id
"""  # noqa: S608  ours


@dataclass(frozen=True, slots=True)
class DropRecord:
    """One episode of loss. Times in ns since 1970 UTC: `first_/last_observed_ns` of the lost readings,
    `since_/until_ns` when they were lost."""

    reason: str
    readings: int
    first_observed_ns: int
    last_observed_ns: int
    since_ns: int
    until_ns: int
    shares: Mapping[str, int]
    """How many of them each destination was still waiting for; empty where that is not known, or all lost them before
    they were committed."""


@dataclass(frozen=True, slots=True)
class BufferStatus:
    """The buffer at one moment."""

    epoch: str
    last_position: int
    """The highest that was ever committed; 0 when none was."""
    readings: int
    """Held for at least one destination."""
    bytes: int
    """Database and write-ahead log."""
    oldest_ns: int | None
    newest_ns: int | None
    backlog: Mapping[str, int]
    """Readings that each destination has not acknowledged."""
    seconds_until_full: float | None
    """As the gateway has foreseen it within the last minutes; None when it does not run."""
    set_aside: Mapping[str, int]
    """Readings that each destination has refused; at most `SET_ASIDE_KEPT` together."""
    dropped: tuple[DropRecord, ...]
    """Oldest first."""


def status(path: Path) -> BufferStatus:
    with reading_buffer(path) as database:
        database.execute("BEGIN")
        state = dict(database.execute("SELECT key, value FROM state").fetchall())
        (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM reading").fetchone()
        through, held = decode_held(state["held"])
        eras = read_eras(database)
        (oldest_ns, newest_ns) = (
            eras.at(position).dated_ns(observed_at_ns) if position is not None else None
            for position, observed_at_ns in (
                database.execute(f"SELECT {which}(id), {TAKEN} FROM reading").fetchone()  # noqa: S608  two words
                for which in ("min", "max")
            )
        )
        set_aside = database.execute("SELECT destination, count(*) FROM set_aside GROUP BY destination").fetchall()
        return BufferStatus(
            epoch=state["epoch"],
            last_position=max(through, newest),
            readings=held + max(0, newest - through),
            bytes=sum(size_bytes(path.with_name(path.name + suffix)) for suffix in ("", "-wal")),
            oldest_ns=oldest_ns,
            newest_ns=newest_ns,
            backlog={
                name: waiting + max(0, newest - seen)
                for name, seen, waiting in database.execute("SELECT name, through, waiting FROM destination")
                if name != ORPHANED
            },
            seconds_until_full=_forecast(state.get("full")),
            set_aside=dict(set_aside),
            dropped=_dropped(database),
        )


def rows(path: Path, *, destination: str | None = None, last: int | None = None) -> Iterator[dict[str, object]]:
    """Waiting readings, oldest first, in the shape of the MQTT format `json`: `id`, `ts_ms`, `device`, `values`,
    `quality`.

    Only what `destination` waits for, when given; only the newest `last`, when given. Raises `UnknownDestination`.
    """
    with reading_buffer(path) as database:
        (epoch,) = database.execute("SELECT value FROM state WHERE key = 'epoch'").fetchone()
        after = 0
        if last is not None:
            after = _before_last(database, _pending(database, path, destination), last)
        while True:
            pending, eras = _pending(database, path, destination), read_eras(database)
            found = database.execute(_ROWS, (after, _CHUNK)).fetchall()
            for position, *columns in found:
                if pending is None or position in pending:
                    yield _message(f"{epoch}-{position}", columns, eras.at(position))
            if len(found) < _CHUNK:
                return
            after = found[-1][0]


def set_aside(path: Path, *, destination: str | None = None) -> Iterator[dict[str, object]]:
    """What was set aside, by one destination or by all, oldest first: as `rows`, with `destination`, `reason` and
    `set_aside_ms`. Raises `UnknownDestination` for one that neither waits nor has refused anything."""
    with reading_buffer(path) as database:
        (epoch,) = database.execute("SELECT value FROM state WHERE key = 'epoch'").fetchone()
        found, eras = database.execute(_SET_ASIDE, (destination,)).fetchall(), read_eras(database)
        if not found and destination is not None:
            find_destination(database, path, destination)
    for refused_by, position, reason, set_aside_at_ns, *columns in found:
        about = {"destination": refused_by, "reason": reason, "set_aside_ms": set_aside_at_ns // 1_000_000}
        yield _message(f"{epoch}-{position}", columns, eras.at(position)) | about


@contextmanager
def reading_buffer(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an existing buffer, for reading."""
    absent = BufferUnavailable(f"there is no buffer at {path}", hint="check buffer.path; the first `run` makes it")
    try:
        is_there, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # its folder cannot be entered, or that is no path
        hint = (
            "run this as the gateway's user or as root" if isinstance(error, PermissionError) else "check buffer.path"
        )
        raise BufferUnavailable(f"cannot open the buffer {path}: {error.strerror}", hint=hint) from error
    if not is_there:
        raise absent
    if is_folder:
        raise BufferUnavailable(f"cannot read the buffer {path}: Is a directory", hint="change buffer.path")
    try:
        with connection(path, read_only=True) as database:
            identify(database, path)
            if database.execute("PRAGMA user_version").fetchone() == (0,):  # an empty file
                raise absent
            yield database
    except sqlite3.DatabaseError as error:
        raise BufferUnavailable(
            f"cannot read the buffer {path}: {error}",
            hint="read it as the gateway's user or as root; a damaged one is repaired when the gateway starts",
        ) from error


def find_destination(database: sqlite3.Connection, path: Path, destination: str) -> tuple[int, Ranges]:
    """`through` and `pending` of a destination. Raises `UnknownDestination`."""
    places = {
        name: (through, pending)
        for name, through, pending in database.execute("SELECT name, through, pending FROM destination ORDER BY name")
        if name != ORPHANED
    }
    if destination not in places:
        raise UnknownDestination(f"the buffer {path}", destination, places)
    through, pending = places[destination]
    return through, decode_ranges(pending)


def _pending(database: sqlite3.Connection, path: Path, destination: str | None) -> Ranges | None:
    if destination is None:
        return None
    through, pending = find_destination(database, path, destination)
    pending.add(through + 1, 2**62)
    return pending


def _before_last(database: sqlite3.Connection, pending: Ranges | None, last: int) -> int:
    """The position after which the newest `last` of the pending rows begin."""
    count = 0
    position = 2**62
    for (position,) in database.execute("SELECT id FROM reading ORDER BY id DESC"):
        count += pending is None or position in pending
        if count > last:
            return int(position)
    return 0


def _message(identity: str, columns: list[Any], era: Era) -> dict[str, object]:
    device, period_s, points, observed_at_ns, body, quality = columns
    group = decode_group(device, period_s, points=points)
    reading: Reading = era.dated(decode_reading(group, observed_at_ns, body=body, quality=quality))
    names = reading.group.names
    return {
        "id": identity,
        "ts_ms": reading.observed_at_ns // 1_000_000,
        "device": device,
        "values": {name: value for name, value in zip(names, reading.values, strict=True) if value is not None},
        "quality": {names[index]: str(quality) for index, quality in reading.quality.items()},
    }


def _dropped(database: sqlite3.Connection) -> tuple[DropRecord, ...]:
    shares: dict[int, dict[str, int]] = {}
    if has_table(database, "dropped_for"):
        for episode, destination, lost in database.execute("SELECT episode, destination, readings FROM dropped_for"):
            shares.setdefault(episode, {})[destination] = lost
    rows: list[tuple[int, str, int, int, int, int, int]] = database.execute(
        "SELECT id, reason, readings, first_observed_ns, last_observed_ns, since_ns, until_ns FROM dropped ORDER BY id"
    ).fetchall()
    return tuple(DropRecord(*row[1:], shares.get(row[0], {})) for row in rows)


def _forecast(text: str | None) -> float | None:
    foreseen_at_ns, seconds = (text or "0 inf").split()
    return float(seconds) if abs(time.time_ns() - int(foreseen_at_ns)) < _FORECAST_HOLDS_NS else None

"""What a database says before the gateway changes anything in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from drivers.settings import Priority
from gateway.buffer.drops import Loss, decode_losses
from gateway.buffer.encoding import decode_held, decode_ranges
from gateway.buffer.groups import GroupRow, Groups
from gateway.buffer.milestones import decode_milestones
from gateway.buffer.places import Place, decode_place
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import TAKEN
from gateway.buffer.thinning import Sweep, decode_sweeps
from gateway.config import Durability

NOTE = "salvaged"
"""The row of `state` that says what a salvage has cost, until that is counted; then it is empty."""


class Unsound(sqlite3.DatabaseError):
    """The database can be read, and says what was never written like this."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Positions and times of the first and last row; None without rows."""

    state: dict[str, str]
    places: dict[str, Place]
    held: int
    """Readings that somebody waits for or that are orphaned: by the book, for counting them would read every page."""
    skipped: Ranges
    groups: Groups
    oldest: int | None
    oldest_ns: int | None
    newest: int | None
    newest_ns: int | None
    newest_known_ns: int
    """The newest wall time that is written down; 0 when none is."""
    sweeps: dict[Priority, Sweep]
    """How far readings have been thinned."""
    next_drop: int
    """The first free id of the table `dropped`."""
    lost_in_salvage: Sequence[Loss] | None
    """What is still to be counted; None unless the database has just been salvaged."""

    @property
    def epoch(self) -> str | None:
        """None in a new database."""
        return self.state.get("epoch")

    @property
    def last(self) -> int:
        """The highest position that it knows of; 0 when there is none."""
        return _last(self.newest, self.places)


def read_facts(database: sqlite3.Connection) -> Facts:
    """Raises `Unsound` or another `sqlite3.Error`."""
    oldest, oldest_ns = _end(database, "id")
    newest, newest_ns = _end(database, "id DESC")
    try:
        state: dict[str, str] = dict(database.execute("SELECT key, value FROM state").fetchall())
        for key, value in state.items():
            check_fact(key, value)
        places = {
            name: decode_place(name, *columns) for name, *columns in database.execute("SELECT * FROM destination")
        }
        through, held = decode_held(state.get("held", "0 0"))
        return Facts(
            state=state,
            places=places,
            held=held + _last(newest, places) - through,
            skipped=decode_ranges(state.get("skipped", "[]")),
            groups=Groups(GroupRow.read(row) for row in database.execute("SELECT * FROM point_group")),
            oldest=oldest,
            oldest_ns=oldest_ns,
            newest=newest,
            newest_ns=newest_ns,
            newest_known_ns=int(state.get("newest_ns", 0)),
            sweeps=decode_sweeps(state.get("sweeps", "{}")),
            next_drop=_last_drop(database) + 1,
            lost_in_salvage=decode_losses(state[NOTE]) if state.get(NOTE) else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unsound(f"a row says what was never written: {error}") from error


def check_fact(key: str, value: str) -> None:
    """Of the table `state`. Raises AttributeError, KeyError, TypeError or ValueError for
    what was never written like this."""
    if not (isinstance(key, str) and isinstance(value, str)):
        raise TypeError(f"{key!r} is {value!r}")
    _FACTS.get(key, str)(value)


def _last(newest: int | None, places: Mapping[str, Place]) -> int:
    return max(newest or 0, max((place.through for place in places.values()), default=0))


def _last_drop(database: sqlite3.Connection) -> int:
    (last,) = database.execute(
        "SELECT max(id) FROM (SELECT id FROM dropped UNION ALL SELECT episode FROM dropped_for)"
    ).fetchone()
    return last or 0


def _end(database: sqlite3.Connection, order: str) -> tuple[int, int] | tuple[None, None]:
    """Position and time of the reading at one end of the table. (`min` and `max` in one query would read all of it.)"""
    query = f"SELECT id, {TAKEN} FROM reading ORDER BY {order} LIMIT 1"  # noqa: S608  words of ours
    found: tuple[int, int] | None = database.execute(query).fetchone()
    return found or (None, None)


def _epoch(text: str) -> str:
    if not (text.isascii() and text.isalnum()):
        raise ValueError(f"{text!r} is no epoch")
    return text


def _forecast(text: str) -> tuple[int, float]:
    foreseen_at_ns, seconds = text.split()
    return int(foreseen_at_ns), float(seconds)


_FACTS: Mapping[str, Callable[[str], object]] = {
    "epoch": _epoch,
    "durability": Durability,
    "held": decode_held,
    "newest_ns": int,
    "skipped": decode_ranges,
    "sweeps": decode_sweeps,
    "full": _forecast,
    "milestones": decode_milestones,
    "latest": decode_milestones,
    NOTE: lambda text: decode_losses(text or "[]"),
}

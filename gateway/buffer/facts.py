"""What a database says before the gateway changes anything in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.settings import Priority
from gateway.buffer.encoding import decode_held, decode_ranges
from gateway.buffer.groups import GroupRow, Groups
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import TAKEN
from gateway.buffer.thinning import Sweep, decode_sweeps


class Unsound(Exception):
    """The database can be read, and says what was never written like this."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row of `destination`."""

    through: int
    pending: Ranges
    waiting: int


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

    @property
    def epoch(self) -> str | None:
        """None in a new database."""
        return self.state.get("epoch")

    @property
    def last(self) -> int:
        """The highest position that it knows of; 0 when there is none."""
        return _last(self.newest, self.places)


def read_facts(database: sqlite3.Connection) -> Facts:
    """Raises `Unsound` or `sqlite3.Error`."""
    oldest, oldest_ns = _end(database, "id")
    newest, newest_ns = _end(database, "id DESC")
    (drops,) = database.execute(
        "SELECT max(id) FROM (SELECT id FROM dropped UNION ALL SELECT episode FROM dropped_for)"
    ).fetchone()
    try:
        state: dict[str, str] = dict(database.execute("SELECT key, value FROM state").fetchall())
        places = {
            name: Place(int(through), decode_ranges(pending), int(waiting))
            for name, through, pending, waiting in database.execute("SELECT * FROM destination")
        }
        through, held = decode_held(state.get("held", "0 0"))
        return Facts(
            state=state,
            places=places,
            held=held + _last(newest, places) - through,
            skipped=decode_ranges(state.get("skipped", "[]")),
            groups=Groups(GroupRow(*row) for row in database.execute("SELECT * FROM point_group")),
            oldest=oldest,
            oldest_ns=oldest_ns,
            newest=newest,
            newest_ns=newest_ns,
            newest_known_ns=int(state.get("newest_ns", 0)),
            sweeps=decode_sweeps(state.get("sweeps", "{}")),
            next_drop=(drops or 0) + 1,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unsound(f"a row says what was never written: {error}") from error


def _last(newest: int | None, places: Mapping[str, Place]) -> int:
    return max(newest or 0, max((place.through for place in places.values()), default=0))


def _end(database: sqlite3.Connection, order: str) -> tuple[int, int] | tuple[None, None]:
    """Position and time of the reading at one end of the table. (`min` and `max` in one query would read all of it.)"""
    query = f"SELECT id, {TAKEN} FROM reading ORDER BY {order} LIMIT 1"  # noqa: S608  words of ours
    found: tuple[int, int] | None = database.execute(query).fetchone()
    return found or (None, None)

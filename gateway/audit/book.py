"""What the gateway's own buffer says of positions that did not arrive: waiting, set aside, dropped, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.verdict import Span
from gateway.buffer import BufferUnavailable
from gateway.buffer.encoding import decode_ranges
from gateway.buffer.inspect import find_destination, reading_buffer
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import has_table

STALE_S = 3.0
"""Acknowledgements are in the file within two seconds; what is pending in it so long after a moment was at least as
late acknowledged, and so must be heard from that moment on."""

_LOST_BY_ALL = """
    SELECT readings, first_position, last_position FROM dropped WHERE first_position IS NOT NULL
    ORDER BY last_position - first_position
"""
_LOST_BY_ONE = """
    SELECT * FROM (
        SELECT readings, first_position, last_position FROM dropped
        WHERE first_position IS NOT NULL AND id NOT IN (SELECT episode FROM dropped_for)
        UNION ALL SELECT readings, first_position, last_position FROM dropped_for WHERE destination = ?
    ) ORDER BY last_position - first_position
"""


@dataclass(frozen=True, slots=True)
class Book:
    """One destination's place in the buffer."""

    epoch: str
    last_position: int
    pending: Ranges
    """Up to `last_position`; may name positions that were dropped."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of positions. `unaccounted` are those of which the buffer knows nothing: acknowledged by the broker,
    and not heard."""

    waiting: int
    set_aside: int
    skipped: int
    """Positions that were passed over after a power cut with durability process-crash."""
    dropped: int
    unaccounted: tuple[Span, ...]

    @property
    def unaccounted_count(self) -> int:
        return sum(last - first + 1 for first, last in self.unaccounted)


def read_book(path: Path, destination: str) -> Book:
    """Raises `BufferUnavailable` or `UnknownDestination`."""
    with _reading(path) as database:
        return _book(database, path, destination)


def account(path: Path, destination: str, spans: Iterable[Span]) -> Account:
    """Ask the buffer about positions of its epoch. Raises `BufferUnavailable` or `UnknownDestination`.

    The tables `dropped` and `dropped_for` say how many were lost in an episode and between which positions, not which:
    so many of what this destination has lost are taken as accounted for. What was lost before it had a position left
    no gap.
    """
    left = Ranges(spans)
    with _reading(path) as database:
        database.execute("BEGIN")
        pending = _book(database, path, destination).pending
        waiting = 0
        for first, last in list(left):
            for low, high in pending.within(first, last):
                for (position,) in database.execute("SELECT id FROM reading WHERE id BETWEEN ? AND ?", (low, high)):
                    waiting += left.remove(position, position)
        aside = database.execute("SELECT position FROM set_aside WHERE destination = ?", (destination,)).fetchall()
        set_aside = sum(left.remove(position, position) for (position,) in aside)
        state = database.execute("SELECT value FROM state WHERE key = 'skipped'").fetchone()
        skipped = sum(left.remove(first, last) for first, last in decode_ranges(state[0] if state else "[]"))
        dropped = sum(_take(left, *episode) for episode in _episodes(database, destination))
    return Account(waiting, set_aside, skipped, dropped, tuple(left))


def _take(left: Ranges, readings: int, first: int, last: int) -> int:
    """Remove at most `readings` positions between the two; how many."""
    taken = 0
    for low, high in list(left.within(first, last)):
        taken += left.remove(low, min(high, low + readings - taken - 1))
        if taken >= readings:
            break
    return taken


def _episodes(database: sqlite3.Connection, destination: str) -> list[tuple[int, int, int]]:
    """`(readings, first position, last position)` of what the destination has lost in each episode. Where the file
    does not tell whose the losses were, they count for all; everywhere, where it does not tell positions."""
    columns = {name for (name,) in database.execute("SELECT name FROM pragma_table_info('dropped')")}
    if not {"first_position", "last_position"} <= columns:
        return [(readings, 1, 2**62) for (readings,) in database.execute("SELECT readings FROM dropped")]
    if not has_table(database, "dropped_for"):
        return database.execute(_LOST_BY_ALL).fetchall()
    return database.execute(_LOST_BY_ONE, (destination,)).fetchall()


def _book(database: sqlite3.Connection, path: Path, destination: str) -> Book:
    (epoch,) = database.execute("SELECT value FROM state WHERE key = 'epoch'").fetchone()
    (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM reading").fetchone()
    through, pending = find_destination(database, path, destination)
    last = max(through, newest)
    pending.add(through + 1, last)
    return Book(epoch, last, pending)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with reading_buffer(path) as database:
            yield database
    except OSError as error:  # its folder cannot be entered
        raise BufferUnavailable(
            f"cannot open the buffer {path}: {error.strerror}", hint="run this as the gateway's user or as root"
        ) from error

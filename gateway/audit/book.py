"""What the gateway's own buffer says of positions that did not arrive: waiting, set aside, dropped, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.verdict import Span
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


@dataclass(frozen=True, slots=True)
class Fates:
    """What the buffer knew, at one moment, of the positions up to `last_position`."""

    epoch: str
    last_position: int
    waiting: Ranges
    set_aside: Ranges
    skipped: Ranges
    losses: tuple[tuple[int, int, int], ...]
    """`(readings, first position, last position)` of what the destination has lost in each episode."""

    def account(self, spans: Iterable[Span]) -> Account:
        """What became of these. What was taken after that moment is passed over.

        An episode says how many were lost and between which positions, not which: so many are taken as accounted for.
        """
        left = Ranges((first, min(last, self.last_position)) for first, last in spans)
        waiting, set_aside, skipped = (_take_all(left, of) for of in (self.waiting, self.set_aside, self.skipped))
        dropped = sum(_take(left, *loss) for loss in self.losses)
        return Account(waiting, set_aside, skipped, dropped, tuple(left))


def read_book(path: Path, destination: str) -> Book:
    """Raises `BufferUnavailable` or `UnknownDestination`."""
    with reading_buffer(path) as database:
        return _book(database, path, destination)


def look_up(path: Path, destination: str) -> Fates:
    """Raises `BufferUnavailable` or `UnknownDestination`."""
    with reading_buffer(path) as database:
        database.execute("BEGIN")
        book = _book(database, path, destination)
        waiting = Ranges()
        for first, last in book.pending:
            for (position,) in database.execute("SELECT id FROM reading WHERE id BETWEEN ? AND ?", (first, last)):
                waiting.add(position, position)
        aside = database.execute("SELECT position FROM set_aside WHERE destination = ?", (destination,))
        set_aside = Ranges((position, position) for (position,) in aside)
        state = database.execute("SELECT value FROM state WHERE key = 'skipped'").fetchone()
        skipped = decode_ranges(state[0] if state else "[]")
        losses = tuple(_episodes(database, destination))
    return Fates(book.epoch, book.last_position, waiting, set_aside, skipped, losses)


def _take_all(left: Ranges, of: Ranges) -> int:
    """Remove those of `left` that are in `of`; how many."""
    before = left.count
    left.subtract(of)
    return before - left.count


def _take(left: Ranges, readings: int, first: int, last: int) -> int:
    """Remove at most `readings` positions between the two; how many."""
    taken = 0
    for low, high in list(left.within(first, last)):
        taken += left.remove(low, min(high, low + readings - taken - 1))
        if taken >= readings:
            break
    return taken


def _episodes(database: sqlite3.Connection, destination: str) -> list[tuple[int, int, int]]:
    """`(readings, first position, last position)`. What was lost before it had a position left no gap. Where the file
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

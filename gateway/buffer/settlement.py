"""What has become of readings, as one transaction writes it down: see `Store.settle`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aiosqlite

from gateway.buffer.drops import Episode
from gateway.buffer.encoding import encode_held
from gateway.buffer.episodes import statements
from gateway.buffer.places import PlaceRow
from gateway.buffer.schema import TAKEN

SET_ASIDE_KEPT = 10_000
"""Readings; when more are set aside, the oldest go."""

MAKE_SURVIVOR = "CREATE TEMP TABLE survivor AS SELECT * FROM reading LIMIT 0"
"""To be executed once by a connection that writes settlements: where rows are while those around them are deleted."""

_PIECE = 256  # rows that are deleted together


@dataclass(frozen=True, slots=True)
class SetAside:
    """A reading to be moved out of a destination's way."""

    destination: str
    position: int
    reason: str
    set_aside_at_ns: int


class CrowdedOut(NamedTuple):
    """A reading that has to leave the set-aside table, where it has this id."""

    id: int
    destination: str
    position: int
    observed_at_ns: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is made durable together: see `Store.settle`."""

    destinations: Sequence[PlaceRow]
    left: Sequence[str]
    """Rows of `destination` that go."""
    through: int
    held: int
    set_aside: Sequence[SetAside]
    episodes: Sequence[Episode]
    done: Sequence[tuple[int, int]]
    """Ranges of rows to delete."""
    facts: Mapping[str, str]
    """Rows of `state`."""
    dropped: Sequence[int] = ()
    """Single rows to delete, ascending."""
    crowded_out: Sequence[int] = ()
    """Ids of `set_aside` to delete."""
    rows_per_page: int = 1
    """About how many rows share a page of the database."""
    taken_back: Sequence[int] = ()
    """Ids of `set_aside` whose readings become rows of `reading` again, at their old positions."""


async def write_settlement(database: aiosqlite.Connection, settlement: Settlement) -> None:
    """Inside a transaction."""
    if settlement.taken_back:
        ids = json.dumps(settlement.taken_back)
        await database.execute_fetchall(
            "INSERT OR IGNORE INTO reading (id, group_id, observed_at_ns, body, quality, checksum) "
            "SELECT position, group_id, observed_at_ns, body, quality, checksum FROM set_aside "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        await _delete_set_aside(database, settlement.taken_back)
    for one in settlement.set_aside:
        await database.execute_fetchall(
            "INSERT OR IGNORE INTO set_aside (destination, position, reason, set_aside_at_ns, group_id, "
            "observed_at_ns, body, quality, checksum) "
            "SELECT ?, id, ?, ?, group_id, observed_at_ns, body, quality, checksum FROM reading WHERE id = ?",
            (one.destination, one.reason, one.set_aside_at_ns, one.position),
        )
    if settlement.crowded_out:
        await _delete_set_aside(database, settlement.crowded_out)
    if settlement.episodes:
        for statement, values in statements(settlement.episodes):
            await database.executemany(statement, values)
    if settlement.left:
        await database.execute_fetchall(
            "DELETE FROM destination WHERE name IN (SELECT value FROM json_each(?))", (json.dumps(settlement.left),)
        )
    await database.executemany("INSERT OR REPLACE INTO destination VALUES (?,?,?,?,?)", settlement.destinations)
    facts = {**settlement.facts, "held": encode_held(settlement.through, settlement.held)}
    await database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", facts.items())
    if settlement.done:
        await database.executemany("DELETE FROM reading WHERE id BETWEEN ? AND ?", settlement.done)
    for start in range(0, len(settlement.dropped), _PIECE):
        await _delete(database, settlement.dropped[start : start + _PIECE], rows_per_page=settlement.rows_per_page)


async def crowded_out(
    database: aiosqlite.Connection, *, coming: int, going: Sequence[int], at_least: int
) -> list[CrowdedOut]:
    """The oldest set-aside readings that have to leave when so many are `coming`, and those with these ids are `going`
    anyhow."""
    rows = await database.execute_fetchall(
        f"SELECT id, destination, CAST(position AS INTEGER), {TAKEN} FROM set_aside "  # noqa: S608  ours
        "WHERE id NOT IN (SELECT value FROM json_each(?)) ORDER BY id "
        "LIMIT max(?, (SELECT count(*) FROM set_aside) + ? - ?)",
        (json.dumps(going), at_least, coming - len(going), SET_ASIDE_KEPT),
    )
    return [CrowdedOut(*row) for row in rows]


async def _delete_set_aside(database: aiosqlite.Connection, ids: Sequence[int]) -> None:
    await database.execute_fetchall(
        "DELETE FROM set_aside WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
    )


async def _delete(database: aiosqlite.Connection, positions: Sequence[int], *, rows_per_page: int) -> None:
    """Delete single rows so that their space is free.

    SQLite frees a page when it is empty, or joins it to its neighbours when less than a third of it is in use. Of
    pages that keep more, what is left is written anew, close together: it would have to be written anyhow.
    """
    first, last, victims = positions[0], positions[-1], json.dumps(positions)
    among = "id IN (SELECT value FROM json_each(?))"
    most = len(positions) * rows_per_page  # one on each page; where they are rarer, nothing can be gained
    ((rows,),) = await database.execute_fetchall(
        "SELECT count(*) FROM (SELECT 1 FROM reading WHERE id BETWEEN ? AND ? LIMIT ?)", (first, last, most + 1)
    )
    if rows_per_page < 2 or rows > most:
        await database.execute_fetchall(f"DELETE FROM reading WHERE {among}", (victims,))  # noqa: S608
        return
    span = (first, last)
    await database.execute_fetchall(
        f"INSERT INTO survivor SELECT * FROM reading WHERE id BETWEEN ? AND ? AND NOT {among}",  # noqa: S608
        (*span, victims),
    )
    await database.execute_fetchall("DELETE FROM reading WHERE id BETWEEN ? AND ?", span)
    await database.execute_fetchall("INSERT INTO reading SELECT * FROM survivor ORDER BY id")
    await database.execute_fetchall("DELETE FROM survivor")

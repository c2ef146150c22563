"""What came of a salvage: the new database is brought into line with what is there, and what is not is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.buffer.drops import Loss, Share, decode_losses, encode_losses
from gateway.buffer.encoding import decode_held, decode_ranges, encode_held, encode_ranges
from gateway.buffer.facts import NOTE
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.readable import readable_rows
from gateway.buffer.schema import new_epoch

_SET_ASIDE_BY_INDEX = "set_aside INDEXED BY sqlite_autoindex_set_aside_1"
"""That of (destination, position), which lies on other pages than the table."""


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
    lost_set_aside: Mapping[str, Share]
    """Of those that each destination had refused."""
    is_told: bool
    """Whether what could be read tells how many there were."""
    keeps_epoch: bool
    positions: Ranges
    """Of the readings that were copied."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """What each destination has lost of the readings, where that is known."""

    def losses(self, now_ns: int) -> list[Loss]:
        """What was lost, with the time of its neighbours, or now."""
        losses = []
        if self.lost:
            first_ns, last_ns = self.first_lost_ns or self.last_lost_ns or now_ns, self.last_lost_ns or now_ns
            losses.append(Loss(self.lost, first_ns, last_ns, self.first_lost, self.last_lost, self.shares))
        for destination, share in self.lost_set_aside.items():
            span = share.first_position, share.last_position
            losses.append(Loss(share.readings, now_ns, now_ns, *span, {destination: share}))
        return losses

    def __str__(self) -> str:
        lost = [f"up to {self.lost} lost between {self.first_lost} and {self.last_lost}"] if self.lost else []
        set_aside = sum(share.readings for share in self.lost_set_aside.values())
        lost += [f"{set_aside} that were set aside lost"] if set_aside else []
        none = "none lost" if self.is_told else "nothing in it tells how many are lost"
        epoch = "positions go on" if self.keeps_epoch else "readings get a new epoch"
        return (
            f"{self.readings} readings and {self.set_aside} that were set aside salvaged, "
            f"{', '.join(lost) or none}; {epoch}"
        )


def reckon(
    source: sqlite3.Connection, target: sqlite3.Connection, *, epoch: str | None, wanted: Ranges | None
) -> Salvaged:
    """Bring what each destination waits for into line with what is in `target`, and tell what of `source` is not.

    `wanted` is what is of use to somebody; None: that is for the destinations to tell. Without any, it is everything.
    """
    found = Ranges((position, position) for (position,) in target.execute("SELECT id FROM reading ORDER BY id"))
    last, places = _settle_places(target, found)
    if wanted is None:
        wanted = union(places) if places else Ranges([(found.first or 1, last)])
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
        lost_set_aside=_lost_set_aside(source, target),
        is_told=by_the_book is not None or bool(places),
        keeps_epoch=_settle_epoch(target, epoch),
        positions=found,
    )


def leave_note(target: sqlite3.Connection, salvaged: Salvaged, *, now_ns: int) -> None:
    """What was lost is counted by whoever opens `target` next, unless this process lives to do it."""
    (earlier,) = target.execute("SELECT max(value) FROM state WHERE key = ?", (NOTE,)).fetchone()
    losses = [*decode_losses(earlier or "[]"), *salvaged.losses(now_ns)]
    target.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (NOTE, encode_losses(losses)))


def _settle_places(target: sqlite3.Connection, found: Ranges) -> tuple[int, list[Ranges]]:
    """Returns the last position that is known of, and what each destination waits for up to there."""
    rows = target.execute("SELECT name, through, pending FROM destination").fetchall()
    last = max((through for _, through, _ in rows), default=0)
    last = max(last, max((newest for _, newest in found), default=0))
    places = []
    for name, through, text in rows:
        pending = decode_ranges(text)
        pending.add(through + 1, last)
        places.append(pending)
        target.execute(
            "INSERT OR REPLACE INTO destination (name, through, pending, waiting) VALUES (?, ?, ?, ?)",
            (name, last, encode_ranges(pending), found.count_common(pending)),
        )
    return last, places


def _lost_set_aside(source: sqlite3.Connection, target: sqlite3.Connection) -> dict[str, Share]:
    """What was set aside and is not in `target`, as far as the table or its index tells that it was there."""
    kept = {row_id for (row_id,) in target.execute("SELECT id FROM set_aside")}
    told = {}
    for table, key in (("set_aside", "id"), (_SET_ASIDE_BY_INDEX, "rowid")):
        for row_id, destination, position in readable_rows(source, table, (key, "destination", "position")):
            if row_id not in kept and isinstance(destination, str) and isinstance(position, int):
                told[row_id] = destination, position
    lost: dict[str, list[int]] = {}
    for destination, position in told.values():
        lost.setdefault(destination, []).append(position)
    return {destination: Share.at(positions) for destination, positions in sorted(lost.items())}


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
    if row is None:
        return None
    through, held = decode_held(row[0])
    return held + last - through

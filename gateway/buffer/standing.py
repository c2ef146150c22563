"""Where every destination stands when the buffer is opened, in memory and in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.settings import Priority
from gateway.buffer.backlogs import Backlog, Backlogs
from gateway.buffer.drops import DropReason, Episode, Loss
from gateway.buffer.encoding import encode_held, encode_ranges
from gateway.buffer.episodes import statements
from gateway.buffer.eras import Eras, read_eras
from gateway.buffer.facts import NOTE, Facts
from gateway.buffer.groups import GroupRow, Groups
from gateway.buffer.leaving import tell_of_leaving
from gateway.buffer.mark import Mark
from gateway.buffer.milestones import Milestone, decode_milestones
from gateway.buffer.places import Place, encode_place
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.schema import ORPHANED
from gateway.buffer.thinning import Sweep
from gateway.config import Durability, Start

_FORGET_ERAS = """
    DELETE FROM clock_era WHERE first_position < (
        SELECT max(first_position) FROM clock_era WHERE first_position <= coalesce(
            (SELECT min(first) FROM (SELECT min(id) AS first FROM reading UNION SELECT min(position) FROM set_aside)),
            (SELECT max(first_position) FROM clock_era)
        )
    )
"""
"""Of those that no reading belongs to the newest stays: it says what the clock was like when the buffer was closed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Where an opened database stands."""

    mark: Mark
    """The epoch and the last position."""
    backlogs: Backlogs
    groups: Groups
    oldest_ns: int | None
    """When the oldest reading was taken; None without readings."""
    next_drop: int
    """The first free id of the table `dropped`."""
    eras: Eras
    milestones: Sequence[Milestone]
    latest: Sequence[Milestone]
    """The latest commit that is written down; none in a new buffer."""
    newest_ns: int
    """The newest wall time that is known of; 0 when none is."""
    episodes: Sequence[Episode]
    """What a damage has cost, as it is written down."""
    sweeps: dict[Priority, Sweep]
    """How far readings have been thinned."""


def stand(
    database: sqlite3.Connection,
    facts: Facts,
    destinations: Mapping[str, Start],
    *,
    durability: Durability,
    mark: Mark,
    losses: Sequence[Loss],
    now_ns: int,
) -> Opened:
    """Durable on return. `mark`: all but its `first` is known. `losses` are written down as episodes."""
    before = {name: _backlog(place, through=facts.last) for name, place in facts.places.items()}
    wanted, held = _wanted(database, facts, before, destinations)
    backlogs: dict[str, Backlog] = {}
    for name, start in destinations.items():
        if name in before:
            backlogs[name] = before[name]
        elif facts.lost_in_salvage is not None or not before or start is Start.OLDEST:
            backlogs[name] = Backlog(wanted.copy(), held)
        else:
            backlogs[name] = Backlog(Ranges(), 0)
    for name in before.keys() - backlogs.keys() - {ORPHANED}:
        tell_of_leaving(name, waiting=before[name].waiting, alone=_without(before[name].pending, backlogs).count)
    orphaned = _without(wanted, backlogs)
    done = _existing(facts)
    done.subtract(wanted)
    done = Ranges(_clipped(database, done))
    database.execute(_FORGET_ERAS)
    eras = read_eras(database)
    newest_ns = _newest_ns(facts, eras)
    episodes = [
        Episode.of(loss, DropReason.DAMAGED, number=number, now_ns=now_ns)
        for number, loss in enumerate(losses, facts.next_drop)
    ]
    state = {
        "epoch": mark.epoch,
        "running": mark.boot,
        "durability": durability.value,
        "held": encode_held(mark.last, held),
        "newest_ns": str(newest_ns),
        "skipped": encode_ranges(facts.skipped),  # positions that no reading has, for whoever looks for gaps
        NOTE: "",
    }
    _write_down(database, backlogs, orphaned, last=mark.last, state=state, episodes=episodes, groups=facts.groups.rows)
    firsts = (orphaned.first, *(one.pending.first for one in backlogs.values()))
    return Opened(
        mark=mark._replace(first=min((first for first in firsts if first is not None), default=mark.last + 1)),
        backlogs=Backlogs(
            backlogs,
            held=held,
            done=done,
            orphaned=orphaned,
            orphaned_by=(before.keys() - backlogs.keys()) or {ORPHANED},
        ),
        groups=facts.groups,
        oldest_ns=facts.oldest_ns if held else None,
        next_drop=facts.next_drop + len(episodes),
        eras=eras,
        milestones=decode_milestones(facts.state.get("milestones", "[]")),
        latest=decode_milestones(facts.state.get("latest", "[]")),
        newest_ns=newest_ns,
        episodes=episodes,
        sweeps=facts.sweeps,
    )


def _wanted(
    database: sqlite3.Connection, facts: Facts, before: Mapping[str, Backlog], destinations: Mapping[str, Start]
) -> tuple[Ranges, int]:
    """What somebody waited for, and how many readings of it there are.

    That is everything when nobody is known, in a new database, or when somebody may have been forgotten: a destination
    without a row may be a new one, or one whose row could not be salvaged. Copies are better than loss.
    """
    if facts.lost_in_salvage is not None and not destinations.keys() <= before.keys():
        (readings,) = database.execute("SELECT count(*) FROM reading").fetchone()
        return _existing(facts), readings
    return union(one.pending for one in before.values()) if before else _existing(facts), facts.held


def _write_down(
    database: sqlite3.Connection,
    backlogs: Mapping[str, Backlog],
    orphaned: Ranges,
    *,
    last: int,
    state: Mapping[str, str],
    episodes: Sequence[Episode],
    groups: Sequence[GroupRow],
) -> None:
    rows = [encode_place(name, last, one.pending, one.waiting) for name, one in backlogs.items()]
    rows += [encode_place(ORPHANED, last, orphaned, 0)] if orphaned else []
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())
    database.execute("DELETE FROM destination")
    database.executemany("INSERT INTO destination VALUES (?, ?, ?, ?, ?)", rows)
    database.executemany(
        "UPDATE point_group SET checksum = ? WHERE id = ? AND checksum IS NULL",
        [(group.checksum, group.id) for group in groups],
    )
    for statement, values in statements(episodes):
        database.executemany(statement, values)
    database.execute("COMMIT")


def _existing(facts: Facts) -> Ranges:
    """From the first position that has a row to the last."""
    return Ranges([(facts.oldest, facts.newest)] if facts.oldest is not None and facts.newest is not None else [])


def _clipped(database: sqlite3.Connection, spans: Ranges) -> Iterator[tuple[int, int]]:
    """Without the positions at both ends that have no row."""
    for first, last in spans:
        (oldest, newest) = database.execute(
            "SELECT (SELECT id FROM reading WHERE id >= ? ORDER BY id LIMIT 1), "
            "(SELECT id FROM reading WHERE id <= ? ORDER BY id DESC LIMIT 1)",
            (first, last),
        ).fetchone()
        yield max(first, oldest), min(last, newest)


def _newest_ns(facts: Facts, eras: Eras) -> int:
    """That of the newest reading, which may be by the clock of a device, only when nothing else is known."""
    if facts.newest_known_ns or facts.newest is None or facts.newest_ns is None:
        return facts.newest_known_ns
    era = eras.at(facts.newest)
    return facts.newest_ns if era.correction_ns == 0 and era.told(facts.newest_ns) else 0


def _without(positions: Ranges, backlogs: Mapping[str, Backlog]) -> Ranges:
    """Those that nobody waits for."""
    left = positions.copy()
    for backlog in backlogs.values():
        left.subtract(backlog.pending)
    return left


def _backlog(place: Place, *, through: int) -> Backlog:
    """Every destination waits for what was committed after it was written down."""
    pending = place.pending.copy()
    pending.add(place.through + 1, through)
    return Backlog(pending, place.waiting + through - place.through)

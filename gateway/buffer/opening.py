"""Everything that happens before the buffer is open: lock-protected, synchronous, and the only place that gives up.

Order: recognise and replace a damaged database, migrate, then read where every destination stands.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from drivers.settings import Priority
from gateway.buffer.backlogs import Backlog, Backlogs
from gateway.buffer.damage import damage, suspicion, trust
from gateway.buffer.drops import Loss
from gateway.buffer.encoding import encode_held, encode_ranges
from gateway.buffer.eras import Eras, read_eras
from gateway.buffer.facts import Facts, Place, Unsound, read_facts
from gateway.buffer.groups import Groups
from gateway.buffer.leaving import tell_of_leaving
from gateway.buffer.mark import Mark, MarkFile
from gateway.buffer.model import BufferUnavailable
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.replacing import finish_replacing, put_in_place, tell_of_damage
from gateway.buffer.salvage import Salvaged
from gateway.buffer.schema import (
    ORPHANED,
    connection,
    is_damage,
    migrate,
    new_epoch,
    newer_version,
    primary_code,
    versions,
)
from gateway.buffer.thinning import Sweep
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability, Start

_log = logging.getLogger(__name__)

_FORGET_ERAS = """
    DELETE FROM clock_era WHERE first_position < (
        SELECT max(first_position) FROM clock_era WHERE first_position <= coalesce(
            (SELECT min(first) FROM (SELECT min(id) AS first FROM reading UNION SELECT min(position) FROM set_aside)),
            (SELECT max(first_position) FROM clock_era)
        )
    )
"""
"""Of those that no reading belongs to the newest stays: it says what the clock was like when the buffer was closed."""
_LOST_BY_POWER_CUT = 1_000_000
"""Positions that are skipped after a power cut under `process-crash`: more than can be committed between two syncs."""


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
    newest_ns: int
    """The newest wall time that is known of; 0 when none is."""
    losses: Sequence[Loss]
    """What a damage has cost."""
    sweeps: dict[Priority, Sweep]
    """How far readings have been thinned."""


def prepare(settings: BufferSettings, *, destinations: Mapping[str, Start], marks: MarkFile, clock: Clock) -> Opened:
    """Open, repair or make the database. The caller holds the lock. Raises `BufferUnavailable`."""
    path = settings.path
    try:
        mark = marks.read()
        finish_replacing(path)
        try:
            opened = _prepared(settings, destinations, mark, clock)
        except (sqlite3.DatabaseError, Unsound) as error:
            if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
                raise
            opened = _prepared(settings, destinations, mark, clock, problem=str(error))
        marks.sync(opened.mark)
    except sqlite3.Error as error:
        raise BufferUnavailable(f"cannot open the buffer {path}: {error}", hint=_hint(path, error)) from error
    except OSError as error:
        raise BufferUnavailable(
            f"cannot open the buffer {path}: {error.strerror}", hint=f"check {path.parent} and who owns it"
        ) from error
    return opened


def mark_stopped(path: Path) -> None:
    """Note that the buffer was closed in good order. Raises `sqlite3.Error`."""
    with connection(path) as database:
        database.execute("UPDATE state SET value = '' WHERE key = 'running'")


def _prepared(
    settings: BufferSettings,
    destinations: Mapping[str, Start],
    mark: Mark | None,
    clock: Clock,
    *,
    problem: str | None = None,
) -> Opened:
    salvaged = _salvaged(settings.path, problem=problem, mark=mark, clock_ns=clock.wall_ns)
    migrate(settings.path)
    with connection(settings.path) as database:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # that of a killed gateway may be as long as it may be
        facts = read_facts(database)
        now_ns = clock.wall_ns()
        losses = [salvaged.loss(now_ns)] if salvaged is not None and salvaged.lost else []
        vanished = _vanished(facts, mark)
        if vanished is not None and vanished.readings:
            losses.append(Loss(vanished.readings, facts.newest_ns or now_ns, now_ns, vanished.first, vanished.last))
        cut = _power_was_cut(facts, clock.boot_id)
        skips = cut or (bool(salvaged or vanished) and mark is not None and mark.is_stale(clock.boot_id))
        last = (vanished.last if vanished else facts.last) + (_LOST_BY_POWER_CUT if skips else 0)
        if skips:
            facts.skipped.add(last - _LOST_BY_POWER_CUT + 1, last)
        _tell(settings.path, facts, vanished, cut=cut, last=last)
        mark = Mark(facts.epoch or (mark.epoch if mark else new_epoch()), last + 1, last, clock.boot_id)
        return _stand(database, settings, facts, destinations, mark=mark, losses=losses)


def _salvaged(path: Path, *, problem: str | None, mark: Mark | None, clock_ns: Callable[[], int]) -> Salvaged | None:
    """Make sure that there is a database that this gateway can use, or none. Returns what was salvaged, if need be."""
    epoch = mark.epoch if mark else None
    problem = problem or damage(path, suspect=suspicion(path).exists(), mark=mark)
    salvaged = None
    if problem is not None:
        aside, salvaged = put_in_place(path, cause="damaged", epoch=epoch, clock_ns=clock_ns)
        tell_of_damage(path, problem, aside, salvaged)
    elif (version := newer_version(path)) is not None:
        aside, salvaged = put_in_place(path, cause="newer", epoch=epoch, clock_ns=clock_ns)
        _log.error(
            "the buffer %s has version %d, this gateway knows versions up to %d: moved to %s, %s; what only the newer "
            "gateway can read is still in there: to use it, stop this one and move it back",
            *(path, version, max(versions()), aside.name, salvaged),
        )
    trust(path)
    return salvaged


class _Vanished(NamedTuple):
    """Commits that the mark knows of and the database does not."""

    readings: int
    """At most so many of them were still waited for."""
    first: int
    last: int


def _vanished(facts: Facts, mark: Mark | None) -> _Vanished | None:
    if mark is None or facts.epoch not in (None, mark.epoch) or mark.last <= facts.last:
        return None
    before = max(facts.last, mark.first - 1)
    return _Vanished(max(0, mark.last - before), before + 1, mark.last)


def _tell(path: Path, facts: Facts, vanished: _Vanished | None, *, cut: bool, last: int) -> None:
    if vanished is not None and vanished.readings:
        _log.error(
            "the buffer %s ends at position %d and %d had been committed: its write-ahead log or the file has vanished "
            "or been replaced, up to %d readings are lost; positions go on from %d",
            *(path, facts.last, vanished.last, vanished.readings, last + 1),
        )
    elif cut:
        _log.warning(
            "the machine went down while the buffer was open with durability process-crash: the last readings before "
            "that may be missing; positions go on from %d",
            last + 1,
        )


def _stand(
    database: sqlite3.Connection,
    settings: BufferSettings,
    facts: Facts,
    destinations: Mapping[str, Start],
    *,
    mark: Mark,
    losses: Sequence[Loss],
) -> Opened:
    """Where every destination stands, in memory and in the database. `mark`: all but its `first` is known."""
    last = mark.last
    existing = Ranges([(facts.oldest, facts.newest)] if facts.oldest is not None and facts.newest is not None else [])
    before = {name: _backlog(place, through=facts.last) for name, place in facts.places.items()}
    # without any: a new database, or a salvaged one whose destinations could not be read
    wanted = union(one.pending for one in before.values()) if before else existing.copy()
    backlogs: dict[str, Backlog] = {}
    for name, start in destinations.items():
        if name in before:
            backlogs[name] = before[name]
        elif not before or start is Start.OLDEST:
            backlogs[name] = Backlog(wanted.copy(), facts.held)
        else:
            backlogs[name] = Backlog(Ranges(), 0)
    for name in before.keys() - backlogs.keys() - {ORPHANED}:
        tell_of_leaving(name, waiting=before[name].waiting, alone=_without(before[name].pending, backlogs).count)
    orphaned = _without(wanted, backlogs)
    done = existing.copy()
    done.subtract(wanted)
    database.execute(_FORGET_ERAS)
    eras = read_eras(database)
    newest_ns = facts.newest_known_ns
    if facts.newest is not None and facts.newest_ns is not None:
        era = eras.at(facts.newest)
        if era.correction_ns == 0 and era.told(facts.newest_ns):
            newest_ns = max(newest_ns, facts.newest_ns)
    state = {
        "epoch": mark.epoch,
        "running": mark.boot,
        "durability": settings.durability.value,
        "held": encode_held(last, facts.held),
    }
    state["newest_ns"] = str(newest_ns)
    state["skipped"] = encode_ranges(facts.skipped)  # positions that no reading has, for whoever looks for gaps
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())
    database.execute("DELETE FROM destination")
    rows = [(name, last, encode_ranges(one.pending), one.waiting) for name, one in backlogs.items()]
    rows += [(ORPHANED, last, encode_ranges(orphaned), 0)] if orphaned else []
    database.executemany("INSERT INTO destination VALUES (?, ?, ?, ?)", rows)
    database.execute("COMMIT")
    first = min((one.pending.first for one in backlogs.values() if one.pending.first is not None), default=last + 1)
    return Opened(
        mark=mark._replace(first=orphaned.first or first),
        backlogs=Backlogs(
            backlogs,
            held=facts.held,
            done=done,
            orphaned=orphaned,
            orphaned_by=(before.keys() - backlogs.keys()) or {ORPHANED},
        ),
        groups=facts.groups,
        oldest_ns=facts.oldest_ns if facts.held else None,
        next_drop=facts.next_drop,
        eras=eras,
        newest_ns=newest_ns,
        losses=losses,
        sweeps=facts.sweeps,
    )


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


def _power_was_cut(facts: Facts, boot_id: str) -> bool:
    running = facts.state.get("running", "")
    return running not in ("", boot_id) and facts.state.get("durability") == Durability.PROCESS_CRASH.value


def _hint(path: Path, error: sqlite3.Error) -> str:
    return {
        sqlite3.SQLITE_BUSY: "another process holds the database locked: close that sqlite3 shell or backup",
        sqlite3.SQLITE_READONLY: f"let the gateway's user (uid {os.getuid()}) write to {path} and {path.parent}",
        sqlite3.SQLITE_CANTOPEN: f"let the gateway's user (uid {os.getuid()}) write to {path} and {path.parent}",
        sqlite3.SQLITE_FULL: f"free some space on the file system of {path.parent}",
        sqlite3.SQLITE_IOERR: "look for disk errors in the kernel log (dmesg), and for a full disk",
    }.get(primary_code(error), "change buffer.path, or move the file away")

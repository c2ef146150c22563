"""Everything that happens before the buffer is open: lock-protected, synchronous, and the only place that gives up.

Order: recognise and replace a damaged database, migrate, then read where every destination stands.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.buffer.backlogs import Backlog, Backlogs
from gateway.buffer.damage import damage, finish_replacing, replace, suspicion
from gateway.buffer.encoding import decode_ranges, encode_ranges
from gateway.buffer.eras import Eras, read_eras
from gateway.buffer.groups import GroupRow, Groups
from gateway.buffer.leaving import tell_of_leaving
from gateway.buffer.model import BufferUnavailable
from gateway.buffer.ranges import Ranges, union
from gateway.buffer.schema import ORPHANED, connection, migrate, newer_version, primary_code, versions
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

    epoch: str
    last_position: int
    backlogs: Backlogs
    groups: Groups
    oldest_ns: int | None
    """When the oldest reading was taken; None without readings."""
    next_drop: int
    """The first free id of the table `dropped`."""
    eras: Eras
    newest_ns: int
    """The newest wall time that is known of; 0 when none is."""
    damaged: int
    """Positions that could not be salvaged from a damaged database."""


def prepare(settings: BufferSettings, *, destinations: Mapping[str, Start], clock: Clock) -> Opened:
    """Open, repair or make the database. The caller holds the lock. Raises `BufferUnavailable`."""
    path = settings.path
    try:
        try:
            return _prepared(settings, destinations, clock)
        except sqlite3.DatabaseError as error:
            if primary_code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            suspicion(path).touch()  # the first look was too short: check every page
            return _prepared(settings, destinations, clock)
    except sqlite3.Error as error:
        raise BufferUnavailable(f"cannot open the buffer {path}: {error}", hint=_hint(path, error)) from error
    except OSError as error:
        raise BufferUnavailable(
            f"cannot open the buffer {path}: {error.strerror}", hint=f"check {path.parent} and who owns it"
        ) from error


def mark_stopped(path: Path) -> None:
    """Note that the buffer was closed in good order. Raises `sqlite3.Error`."""
    with connection(path) as database:
        database.execute("UPDATE state SET value = '' WHERE key = 'running'")


def _prepared(settings: BufferSettings, destinations: Mapping[str, Start], clock: Clock) -> Opened:
    damaged = _repair(settings.path, clock_ns=clock.wall_ns)
    migrate(settings.path)
    with connection(settings.path) as database:
        database.execute("PRAGMA synchronous = FULL")
        return _stand(database, settings, destinations, damaged, clock.boot_id)


def _repair(path: Path, *, clock_ns: Callable[[], int]) -> int:
    """Make sure that there is a database that this gateway can use, or none. Returns how many readings that cost."""
    finish_replacing(path)
    suspect = suspicion(path)
    lost = 0
    if (problem := damage(path, suspect=suspect.exists())) is not None:
        aside, salvaged = replace(path, cause="damaged", clock_ns=clock_ns)
        lost = salvaged.lost
        _log.error(
            "the buffer %s was damaged (%s): moved to %s, %s; try `sqlite3 %s .recover` if more is needed",
            *(path, problem, aside.name, salvaged, aside),
        )
    elif (version := newer_version(path)) is not None:
        aside, salvaged = replace(path, cause="newer", clock_ns=clock_ns)
        lost = salvaged.lost
        _log.error(
            "the buffer %s has version %d, this gateway knows versions up to %d: moved to %s, %s; what only the newer "
            "gateway can read is still in there: to use it, stop this one and move it back",
            *(path, version, max(versions()), aside.name, salvaged),
        )
    suspect.unlink(missing_ok=True)
    return lost


def _stand(
    database: sqlite3.Connection,
    settings: BufferSettings,
    destinations: Mapping[str, Start],
    damaged: int,
    boot_id: str,
) -> Opened:
    state = dict(database.execute("SELECT key, value FROM state").fetchall())
    oldest, oldest_ns = _end(database, "SELECT id, observed_at_ns FROM reading ORDER BY id LIMIT 1")
    newest, newest_ns = _end(database, "SELECT id, observed_at_ns FROM reading ORDER BY id DESC LIMIT 1")
    known = {
        name: (through, decode_ranges(pending), waiting)
        for name, through, pending, waiting in database.execute("SELECT * FROM destination")
    }
    last = max(newest or 0, max((through for through, _, _ in known.values()), default=0))
    existing = Ranges([(oldest, newest)] if oldest is not None and newest is not None else [])
    for through, pending, _ in known.values():
        pending.add(through + 1, last)
    before = {name: Backlog(pending, waiting + last - through) for name, (through, pending, waiting) in known.items()}
    # without any: a new database, or a salvaged one whose destinations could not be read
    wanted = union(one.pending for one in before.values()) if before else existing.copy()
    held = _held(database, before, wanted)
    backlogs: dict[str, Backlog] = {}
    for name, start in destinations.items():
        if name in before:
            backlogs[name] = before[name]
        elif not before or start is Start.OLDEST:
            backlogs[name] = Backlog(wanted.copy(), held)
        else:
            backlogs[name] = Backlog(Ranges(), 0)
    for name in before.keys() - backlogs.keys() - {ORPHANED}:
        tell_of_leaving(name, before[name].waiting)
    orphaned = wanted.copy()
    for backlog in backlogs.values():
        orphaned.subtract(backlog.pending)
    done = existing.copy()
    done.subtract(wanted)
    skipped = decode_ranges(state.get("skipped", "[]"))
    if _power_was_cut(state, boot_id):
        _log.warning(
            "the machine went down while the buffer was open with durability process-crash: the last readings before "
            "that may be missing; positions go on from %d",
            last + _LOST_BY_POWER_CUT + 1,
        )
        skipped.add(last + 1, last + _LOST_BY_POWER_CUT)
        last += _LOST_BY_POWER_CUT
    database.execute(_FORGET_ERAS)
    eras = read_eras(database)
    known_ns = int(state.get("newest_ns", 0))
    if newest is not None and newest_ns is not None and eras.at(newest).correction_ns == 0:
        known_ns = max(known_ns, newest_ns)
    epoch = state.get("epoch") or secrets.token_hex(4)
    facts = {"epoch": epoch, "running": boot_id, "durability": settings.durability.value, "held": f"{last} {held}"}
    facts["newest_ns"] = str(known_ns)
    facts["skipped"] = encode_ranges(skipped)  # positions that no reading has, for whoever looks for gaps
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", facts.items())
    database.execute("DELETE FROM destination")
    rows = [(name, last, encode_ranges(one.pending), one.waiting) for name, one in backlogs.items()]
    rows += [(ORPHANED, last, encode_ranges(orphaned), 0)] if orphaned else []
    database.executemany("INSERT INTO destination VALUES (?, ?, ?, ?)", rows)
    database.execute("COMMIT")
    (drops,) = database.execute("SELECT max(id) FROM dropped").fetchone()
    groups = Groups(GroupRow(*row) for row in database.execute("SELECT * FROM point_group"))
    return Opened(
        epoch=epoch,
        last_position=last,
        backlogs=Backlogs(backlogs, held=held, done=done, orphaned=orphaned),
        groups=groups,
        oldest_ns=oldest_ns if held else None,
        next_drop=(drops or 0) + 1,
        eras=eras,
        newest_ns=known_ns,
        damaged=damaged,
    )


def _end(database: sqlite3.Connection, query: str) -> tuple[int, int] | tuple[None, None]:
    """Position and time of the reading at one end of the table. (`min` and `max` in one query would read all of it.)"""
    found: tuple[int, int] | None = database.execute(query).fetchone()
    return found or (None, None)


def _held(database: sqlite3.Connection, backlogs: dict[str, Backlog], wanted: Ranges) -> int:
    """Rows that somebody waits for or that are orphaned: by the book when there are no holes, or by the database."""
    if not backlogs:
        return _count(database, 0, 2**62)
    if len(backlogs) == 1 and ORPHANED not in backlogs:
        return next(iter(backlogs.values())).waiting
    if all(one.waiting == one.pending.count for one in backlogs.values()):
        return wanted.count
    return sum(_count(database, first, last) for first, last in wanted)


def _count(database: sqlite3.Connection, first: int, last: int) -> int:
    (rows,) = database.execute("SELECT count(*) FROM reading WHERE id BETWEEN ? AND ?", (first, last)).fetchone()
    return int(rows)


def _power_was_cut(state: dict[str, str], boot_id: str) -> bool:
    running = state.get("running", "")
    return running not in ("", boot_id) and state.get("durability") == Durability.PROCESS_CRASH.value


def _hint(path: Path, error: sqlite3.Error) -> str:
    return {
        sqlite3.SQLITE_BUSY: "another process holds the database locked: close that sqlite3 shell or backup",
        sqlite3.SQLITE_READONLY: f"let the gateway's user (uid {os.getuid()}) write to {path} and {path.parent}",
        sqlite3.SQLITE_CANTOPEN: f"let the gateway's user (uid {os.getuid()}) write to {path} and {path.parent}",
        sqlite3.SQLITE_FULL: f"free some space on the file system of {path.parent}",
        sqlite3.SQLITE_IOERR: "look for disk errors in the kernel log (dmesg), and for a full disk",
    }.get(primary_code(error), "change buffer.path, or move the file away")

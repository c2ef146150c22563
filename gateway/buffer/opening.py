"""Everything that happens before the buffer is open: lock-protected, synchronous, and the only place that gives up.

Order: recognise and replace a damaged database, migrate, then read where every destination stands.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.buffer.damage import damage, suspicion, trust
from gateway.buffer.drops import Loss
from gateway.buffer.facts import Facts, read_facts
from gateway.buffer.mark import Mark, MarkFile
from gateway.buffer.model import BufferUnavailable
from gateway.buffer.replacing import finish_replacing, put_in_place, tell_of_damage
from gateway.buffer.schema import (
    connection,
    is_damage,
    migrate,
    new_epoch,
    newer_version,
    primary_code,
    versions,
)
from gateway.buffer.standing import Opened, stand
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability, Start

_log = logging.getLogger(__name__)

_LOST_BY_POWER_CUT = 1_000_000
"""Positions that are skipped after a power cut under `process-crash`: more than can be committed between two syncs."""


def prepare(settings: BufferSettings, *, destinations: Mapping[str, Start], marks: MarkFile, clock: Clock) -> Opened:
    """Open, repair or make the database. The caller holds the lock. Raises `BufferUnavailable`."""
    path = settings.path
    try:
        mark = marks.read()
        finish_replacing(path)
        try:
            opened = _prepared(settings, destinations, mark, clock)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
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
    _salvage(settings.path, problem=problem, mark=mark, clock_ns=clock.wall_ns)
    migrate(settings.path)
    with connection(settings.path) as database:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # that of a killed gateway may be as long as it may be
        facts = read_facts(database)
        now_ns = clock.wall_ns()
        losses = list(facts.lost_in_salvage or ())
        vanished = _vanished(facts, mark)
        if vanished is not None and vanished.readings:
            losses.append(Loss(vanished.readings, facts.newest_ns or now_ns, now_ns, vanished.first, vanished.last))
        is_older = facts.lost_in_salvage is not None or vanished is not None
        cut = _power_was_cut(facts, clock.boot_id)
        skips = cut or (is_older and mark is not None and mark.is_stale(clock.boot_id))
        last = (vanished.last if vanished else facts.last) + (_LOST_BY_POWER_CUT if skips else 0)
        if skips:
            facts.skipped.add(last - _LOST_BY_POWER_CUT + 1, last)
        _tell(settings.path, facts, vanished, cut=cut, last=last)
        mark = Mark(facts.epoch or (mark.epoch if mark else new_epoch()), last + 1, last, clock.boot_id)
        return stand(
            database, facts, destinations, durability=settings.durability, mark=mark, losses=losses, now_ns=now_ns
        )


def _salvage(path: Path, *, problem: str | None, mark: Mark | None, clock_ns: Callable[[], int]) -> None:
    """Make sure that there is a database that this gateway can use, or none."""
    epoch = mark.epoch if mark else None
    problem = problem or damage(path, suspect=suspicion(path).exists(), mark=mark)
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

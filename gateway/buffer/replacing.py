"""A new database in the place of one that cannot be used as it is.

Nothing is ever deleted: the old file stays beside the new one for `sqlite3 FILE .recover` and for whoever asks why.

The steps, each durable before the next: the new database is complete under a name of its own; the old one is moved
aside; its log follows, which must not meet the new one; the new one takes its place. Up to the second step the next
start begins again with all that the old one had, from then on it goes on to the end.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.buffer.reckoning import Salvaged
from gateway.buffer.salvage import Memory, salvage
from gateway.buffer.schema import sync_directory

_log = logging.getLogger(__name__)

_ASIDE = re.compile(r"\.[a-z]+-\d{8}T\d{6}Z(\.\d+)?")

_COMPANIONS = ("-journal", "-wal", "-shm")


def put_in_place(
    path: Path, *, cause: str, epoch: str | None, clock_ns: Callable[[], int], memory: Memory | None = None
) -> tuple[Path, Salvaged]:
    """Put a new database with everything readable in the place of this one, which is moved aside, named for `cause`.
    `epoch` and `memory` as in `salvage`.

    Returns where it is now, and what was salvaged. A crash in the middle loses nothing: see `finish_replacing`. Raises
    `sqlite3.Error` or `OSError` when the new database cannot be written.
    """
    salvaging = _salvaging(path)
    _remove(salvaging)
    try:
        salvaged = salvage(path, salvaging, epoch=epoch, now_ns=clock_ns(), memory=memory)
    except (sqlite3.Error, OSError):
        _remove(salvaging)  # the disk may be full
        raise
    aside = _new_name(path, cause=cause, clock_ns=clock_ns)
    path.rename(aside)
    sync_directory(path.parent)
    _finish(path, aside)
    return aside, salvaged


def tell_of_damage(path: Path, problem: str, aside: Path, salvaged: Salvaged) -> None:
    """What was wrong, and what became of it."""
    _log.error(
        "the buffer %s was damaged (%s): moved to %s, %s; try `sqlite3 %s .recover` if more is needed",
        *(path, problem, aside.name, salvaged, aside),
    )


def finish_replacing(path: Path) -> None:
    """Complete a replacement that was interrupted after the damaged database had been moved aside."""
    if not path.exists() and _salvaging(path).exists():
        _finish(path, _newest_aside(path))


def _finish(path: Path, aside: Path) -> None:
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    sync_directory(path.parent)
    _salvaging(path).rename(path)
    sync_directory(path.parent)


def _remove(database: Path) -> None:
    for suffix in (*_COMPANIONS, ""):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _salvaging(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaging")


def _newest_aside(path: Path) -> Path:
    """The one that was moved last: a rename changes the time of the entry, whatever the clock of the gateway says."""
    asides = [one for one in path.parent.iterdir() if _ASIDE.fullmatch(one.name.removeprefix(path.name))]
    return max(asides, key=lambda one: one.stat().st_ctime_ns, default=path.with_name(f"{path.name}.damaged"))


def _new_name(path: Path, *, cause: str, clock_ns: Callable[[], int]) -> Path:
    moment = datetime.fromtimestamp(clock_ns() // 1_000_000_000, UTC)
    name = f"{path.name}.{cause}-{moment:%Y%m%dT%H%M%SZ}"
    aside, attempt = path.with_name(name), 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{name}.{attempt}")
    return aside

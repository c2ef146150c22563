"""A new database in the place of one that cannot be used as it is.

Nothing is ever deleted: the old file stays beside the new one for `sqlite3 FILE .recover` and for whoever asks why.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.buffer.reckoning import Salvaged
from gateway.buffer.salvage import Memory, salvage
from gateway.buffer.schema import sync_directory

_log = logging.getLogger(__name__)

_COMPANIONS = ("-journal", "-wal", "-shm", "")  # the database last: until it has gone, the next start begins again


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
    aside = _move_aside(path, cause=cause, clock_ns=clock_ns)
    sync_directory(path.parent)  # the new database must not meet the log of the old one
    salvaging.rename(path)
    sync_directory(path.parent)
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
        _salvaging(path).rename(path)


def _remove(database: Path) -> None:
    for suffix in _COMPANIONS:
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _salvaging(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaging")


def _move_aside(path: Path, *, cause: str, clock_ns: Callable[[], int]) -> Path:
    moment = datetime.fromtimestamp(clock_ns() // 1_000_000_000, UTC)
    name = f"{path.name}.{cause}-{moment:%Y%m%dT%H%M%SZ}"
    aside, attempt = path.with_name(name), 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{name}.{attempt}")
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside

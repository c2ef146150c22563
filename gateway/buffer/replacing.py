"""A new database in the place of one that cannot be used as it is.

Nothing is ever deleted: the old file stays beside the new one for `sqlite3 FILE .recover` and for whoever asks why.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.buffer.salvage import Salvaged, salvage
from gateway.buffer.schema import sync_directory

_COMPANIONS = ("", "-wal", "-shm")


def put_in_place(path: Path, *, cause: str, epoch: str | None, clock_ns: Callable[[], int]) -> tuple[Path, Salvaged]:
    """Put a new database with everything readable in the place of this one, which is moved aside, named for `cause`.
    `epoch` as in `salvage`.

    Returns where it is now, and what was salvaged. A crash in the middle loses nothing: see `finish_replacing`. Raises
    `sqlite3.Error` or `OSError` when the new database cannot be written.
    """
    salvaging = _salvaging(path)
    for suffix in _COMPANIONS:
        salvaging.with_name(salvaging.name + suffix).unlink(missing_ok=True)
    salvaged = salvage(path, salvaging, epoch=epoch)
    sync_directory(path.parent)
    aside = _move_aside(path, cause=cause, clock_ns=clock_ns)
    sync_directory(path.parent)
    salvaging.rename(path)
    sync_directory(path.parent)
    return aside, salvaged


def finish_replacing(path: Path) -> None:
    """Complete a replacement that was interrupted after the damaged database had been moved aside."""
    if not path.exists() and _salvaging(path).exists():
        _salvaging(path).rename(path)


def _salvaging(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaging")


def _move_aside(path: Path, *, cause: str, clock_ns: Callable[[], int]) -> Path:
    moment = datetime.fromtimestamp(clock_ns() // 1_000_000_000, UTC)
    name = f"{path.name}.{cause}-{moment:%Y%m%dT%H%M%SZ}"
    aside, attempt = path.with_name(name), 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{name}.{attempt}")
    for suffix in ("-wal", "-shm", ""):  # the database last: until it has gone, the next start begins again
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside

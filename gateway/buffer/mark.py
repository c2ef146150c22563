"""How far positions have come, written beside the database.

SQLite takes a write-ahead log that is missing or cut for one that was never written, so the database alone cannot tell
that commits have vanished. The mark can: it is written after each commit and compared when the buffer is opened. It is
not in the database, so it outlives it; it is not in the lock file, which is for `kill $(cat buffer.db.lock)`.

It is synced so often that a power cut takes less than `SYNCED_EVERY` positions from it, and when the buffer is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.buffer.model import BufferUnavailable

_log = logging.getLogger(__name__)

SYNCED_EVERY = 500_000
STOPPED = "stopped"
"""In place of the boot id: the buffer was closed in good order."""

_BYTES = 128  # never less than before, so that a shorter record covers a longer one; far less than a disk's sector


class Mark(NamedTuple):
    """What was committed in an epoch."""

    epoch: str
    first: int
    """The smallest position that a destination was waiting for."""
    last: int
    """The highest that was committed."""
    boot: str
    """The run of the kernel in which that was, or `STOPPED`."""

    def is_stale(self, boot_id: str) -> bool:
        """Whether more may have been committed than it says: the machine went down, and perhaps took what was not
        synced."""
        return self.boot not in (STOPPED, boot_id)


class MarkFile:
    """The mark of an open buffer."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._synced = 0
        self._failing = False

    def read(self) -> Mark | None:
        """None when there is none, or it is torn. Raises `OSError`."""
        body, _, checksum = os.pread(self._descriptor, _BYTES, 0).decode(errors="replace").strip().rpartition(" ")
        if not body or checksum != _checksum(body):
            return None
        return Mark(*json.loads(body))

    async def write(self, mark: Mark) -> None:
        """Survives the process at once, and a power cut as far as the module says.

        A failure is said once: without the mark a loss may go unnoticed, but nothing is lost by it.
        """
        try:
            self._put(mark)
            if mark.last - self._synced >= SYNCED_EVERY:
                await asyncio.to_thread(os.fdatasync, self._descriptor)
                self._synced = mark.last
        except OSError as error:
            if not self._failing:
                _log.warning("cannot write %s: %s; commits that vanish may go unnoticed", self._path, error.strerror)
            self._failing = True
        else:
            self._failing = False

    def sync(self, mark: Mark) -> None:
        """As `write`, but survives a power cut. Raises `OSError`."""
        self._put(mark)
        os.fdatasync(self._descriptor)
        self._synced = mark.last

    def _put(self, mark: Mark) -> None:
        body = json.dumps(mark)
        os.pwrite(self._descriptor, f"{body} {_checksum(body)}".ljust(_BYTES - 1).encode() + b"\n", 0)


@contextmanager
def mark_of(database: Path) -> Iterator[MarkFile]:
    """The file `<database>.mark`, made when it is not there. Raises `BufferUnavailable`."""
    path = database.with_name(f"{database.name}.mark")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise BufferUnavailable(
            f"cannot make {path}: {error.strerror}",
            hint=f"let the gateway's user (uid {os.getuid()}) write to it",
        ) from error
    try:
        yield MarkFile(path, descriptor)
    finally:
        os.close(descriptor)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"

"""A database that does not accept commits: said once, retried ever more rarely, and said again when it is over."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from gateway.backoff import Backoff
from gateway.buffer.damage import suspect
from gateway.buffer.model import StoreFailed
from gateway.health import BufferHealth

_log = logging.getLogger(__name__)


class Trouble:
    """Keeps `health.writable` and `health.detail` true and logs the edges."""

    def __init__(self, path: Path, health: BufferHealth) -> None:
        self._path = path
        self._health = health
        self._backoff = Backoff(first_s=0.1, longest_s=10.0)
        self._since_s: float | None = None

    @property
    def attempts(self) -> int:
        """Failed attempts in a row."""
        return self._backoff.failures

    def failed(self, failure: StoreFailed) -> float:
        """Take note. Returns the seconds to wait before the next attempt."""
        self._health.writable = False
        self._health.detail = str(failure)
        if failure.damaged:
            suspect(self._path)
        if self._since_s is None:
            self._since_s = time.monotonic()
            _log.error("%s; readings are kept in memory and the commit is tried again", failure)
        return self._backoff.next_s()

    def over(self) -> None:
        """An attempt succeeded. Does nothing when there was no trouble."""
        if self._since_s is None:
            return
        _log.info(
            "the buffer %s accepts commits again, after %.1f s and %d failed attempts",
            self._path,
            time.monotonic() - self._since_s,
            self._backoff.failures,
        )
        self._since_s = None
        self._backoff.reset()
        self._health.writable = True
        self._health.detail = ""

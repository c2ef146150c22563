"""A disk that has no room: the files are used in place, without growing.

A log that cannot grow can be begun again once the database has all that is in it. That takes room only for pages that
the database does not have yet, so they are copied as soon as the disk is low, while there is some.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from gateway.buffer.bounds import PAGE_BYTES, Measured
from gateway.buffer.model import StoreFailed
from gateway.buffer.store import Store
from gateway.config import BufferSettings
from gateway.health import BufferHealth

_log = logging.getLogger(__name__)


class FullDisk:
    """Runs inside the writer's task."""

    def __init__(self, settings: BufferSettings, *, store: Store, health: BufferHealth) -> None:
        self._settings = settings
        self._store = store
        self._health = health
        self._has_made_room = False
        self._is_low = False

    async def has_made_room(self, failure: StoreFailed) -> bool:
        """Whether the write-ahead log could be begun again, so that what has failed is worth another attempt at once.
        False when that attempt has failed as well."""
        if not failure.disk_full:
            return False
        self._has_made_room = not self._has_made_room and await self._begin_again()
        if not self._has_made_room:
            self._health.bytes = self._store.size_bytes
            self._health.seconds_until_full = 0.0
        return self._has_made_room

    def over(self) -> None:
        """An attempt succeeded."""
        self._has_made_room = False

    async def look(self, measured: Measured, *, is_low: bool) -> None:
        """Log the edge, and as far as possible make sure that the log can be begun again."""
        if is_low and not self._is_low:
            _log.warning(
                "the disk of %s has %d bytes free, and the buffer does not grow until there is more: min_free_disk is "
                "%d, and its log needs room; free some space, or lower buffer.min_free_disk",
                *(self._settings.path, measured.disk_free_bytes, self._settings.min_free_disk),
            )
        if self._is_low and not is_low:
            _log.info(
                "the disk of %s has %d bytes free: the buffer may grow", self._settings.path, measured.disk_free_bytes
            )
        self._is_low = is_low
        if is_low and measured.pages * PAGE_BYTES > measured.file_bytes:
            with suppress(StoreFailed):  # if it matters, commits fail too
                await self._store.copy_wal()

    async def _begin_again(self) -> bool:
        try:
            return await self._store.begin_wal_again()
        except StoreFailed:
            return False

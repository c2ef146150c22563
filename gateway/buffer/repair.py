"""A database that goes bad while it is open: moved aside, salvaged, completed from memory, and opened again.

What the file no longer tells, the running gateway knows: the epoch and the last position, groups and eras, what every
destination waits for, and the readings that were committed last. Readings gather in the intake meanwhile; `peek` gives
what is in memory.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateway.backoff import Backoff
from gateway.buffer.backlogs import Backlogs
from gateway.buffer.connections import Connections
from gateway.buffer.damage import suspect, trust
from gateway.buffer.drops import DropReason, Drops, Share
from gateway.buffer.encoding import checksum, encode_reading
from gateway.buffer.groups import Groups
from gateway.buffer.mark import Mark
from gateway.buffer.model import StoreFailed
from gateway.buffer.readable import Row
from gateway.buffer.reckoning import Salvaged
from gateway.buffer.replacing import finish_replacing, put_in_place, tell_of_damage
from gateway.buffer.salvage import Memory
from gateway.buffer.settling import Settler
from gateway.buffer.tail import Tail
from gateway.buffer.timekeeping import Timekeeper
from gateway.config import BufferSettings

_log = logging.getLogger(__name__)

PATIENCE = 3
"""A disk error may pass. After so many in a row it is taken for a bad sector."""

_FORGIVEN_AFTER_S = 600.0


class Repair:
    """Runs inside the writer's task."""

    def __init__(
        self,
        settings: BufferSettings,
        *,
        connections: Connections,
        backlogs: Backlogs,
        groups: Groups,
        tail: Tail,
        settler: Settler,
        drops: Drops,
        timekeeper: Timekeeper,
        clock_ns: Callable[[], int],
    ) -> None:
        self._path = settings.path
        self._durability = settings.durability
        self._connections = connections
        self._backlogs = backlogs
        self._groups = groups
        self._tail = tail
        self._settler = settler
        self._drops = drops
        self._timekeeper = timekeeper
        self._clock_ns = clock_ns
        self._backoff = Backoff(first_s=0.2, longest_s=600.0)
        self._not_before_s = float("-inf")
        self._asked: StoreFailed | None = None
        self._failures = 0  # in a row

    def ask(self, failure: StoreFailed) -> None:
        """Somebody else has met this damage."""
        suspect(self._path)
        self._asked = failure

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked, and it is time."""
        return self._asked is not None and self._is_time

    def raise_what_was_asked(self) -> None:
        """Raise that failure again, when it is time to do something about it."""
        if self._asked is not None and self._is_time:
            raise self._asked

    def is_due(self, failure: StoreFailed, *, attempts: int) -> bool:
        """Whether to repair because of this, the latest of so many failures in a row."""
        bad = failure.damaged or failure is self._asked or (failure.io_error and attempts >= PATIENCE)
        return bad and self._is_time

    async def run(self, failure: StoreFailed, mark: Mark) -> bool:
        """Repair the database, which ends with `mark`. Returns whether that was possible; if not, the old one is open
        again, as far as it can be opened, and commits go on being tried."""
        self._delay()
        await self._connections.close()
        self._asked = None  # whoever was reading has met the same damage
        problem: sqlite3.Error | OSError | StoreFailed
        try:
            aside, salvaged = await asyncio.to_thread(self._put_in_place, mark, self._remember(mark))
        except (sqlite3.Error, OSError) as error:
            problem, repaired = error, False
        else:
            self._take_stock(failure, aside, salvaged)
            repaired = True
        self._asked = None  # whoever has asked until now has met the old one
        try:
            await self._connections.open()
        except StoreFailed as error:
            problem, repaired = error, False
        if not repaired and self._failures == 0:
            _log.error(
                "cannot repair the buffer %s: %s; readings are kept in memory and it is tried again",
                *(self._path, problem),
            )
        self._failures = 0 if repaired else self._failures + 1
        return repaired

    @property
    def _is_time(self) -> bool:
        return asyncio.get_running_loop().time() >= self._not_before_s

    def _delay(self) -> None:
        """The next repair comes later, the more so the more there are."""
        now_s = asyncio.get_running_loop().time()
        if now_s > self._not_before_s + _FORGIVEN_AFTER_S:
            self._backoff.reset()
        self._not_before_s = now_s + self._backoff.next_s()

    def _remember(self, mark: Mark) -> Memory:
        wanted = self._backlogs.wanted
        for position in self._settler.needed:
            wanted.add(position, position)
        ids = self._groups.ids()
        rows: list[Row] = []
        for one in self._tail.within(self._tail.first, mark.last):
            if one.position in wanted:
                body, quality = encode_reading(one.reading)
                row = (one.position, ids[one.reading.group], one.reading.observed_at_ns, body, quality)
                rows.append((*row, checksum(*row)))
        return Memory(
            wanted=wanted,
            places=self._settler.places(mark.last),
            groups=self._groups.rows,
            eras=list(self._timekeeper.eras),
            rows=rows,
            is_enough=self._failures >= PATIENCE,
            state={"epoch": mark.epoch, "running": mark.boot, "durability": self._durability.value},
        )

    def _put_in_place(self, mark: Mark, memory: Memory) -> tuple[Path, Salvaged]:
        finish_replacing(self._path)
        replaced = put_in_place(self._path, cause="damaged", epoch=mark.epoch, clock_ns=self._clock_ns, memory=memory)
        trust(self._path)
        return replaced

    def _take_stock(self, failure: StoreFailed, aside: Path, salvaged: Salvaged) -> None:
        lost, lost_for = self._backlogs.found(salvaged.positions)
        shares = {name: Share(readings, salvaged.first_lost, salvaged.last_lost) for name, readings in lost_for.items()}
        salvaged = replace(salvaged, lost=lost, shares=shares)
        tell_of_damage(self._path, str(failure.__cause__ or failure.message), aside, salvaged)
        for loss in salvaged.losses(self._clock_ns()):
            self._drops.count(DropReason.DAMAGED, loss)
        self._drops.ended(DropReason.DAMAGED)
        self._settler.forget_note()

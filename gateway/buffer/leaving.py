"""What only a destination that has left was waiting for: counted as lost, and then deleted like what everybody has.

It may be a backlog of weeks, so it goes piece by piece. A piece is counted before it is taken off what is orphaned, and
both become durable in one transaction: after a crash nothing is counted twice and nothing goes uncounted.
"""

from __future__ import annotations

import logging

from gateway.buffer.backlogs import Backlogs
from gateway.buffer.drops import DropReason, Drops
from gateway.buffer.model import StoreFailed
from gateway.buffer.store import Store

_log = logging.getLogger(__name__)

_MOST_COUNTED = 20_000  # positions at once, so that commits are held up for milliseconds only


class Leaving:
    """Runs inside the writer's task."""

    def __init__(self, *, store: Store, backlogs: Backlogs, drops: Drops) -> None:
        self._store = store
        self._backlogs = backlogs
        self._drops = drops
        self._failing = False

    @property
    def busy(self) -> bool:
        """Whether it is worth looking at once."""
        return bool(self._backlogs.orphaned) and not self._failing

    async def look(self) -> None:
        """Do a part of what is to be done. Does no I/O when that is nothing.

        Raises `StoreFailed` for a damage only. Another failure is logged once and tried again at the next look: it
        holds up nothing else.
        """
        try:
            await self._look()
        except StoreFailed as failure:
            if failure.damaged:
                raise  # it is repaired, and then looked at again
            if not self._failing:
                _log.warning("%s; what waited for a destination that was removed stays until then", failure)
            self._failing = True
        else:
            self._failing = False

    async def _look(self) -> None:
        backlogs = self._backlogs
        if backlogs.orphaned and not backlogs.dropping:
            spans, generation = backlogs.orphaned.head(_MOST_COUNTED), backlogs.generation
            loss = await self._store.extent(spans, lost_by=tuple(backlogs.orphaned_by))
            if generation != backlogs.generation:
                return  # some have been dropped or taken over meanwhile: look again
            if loss is not None:
                self._drops.count(DropReason.DESTINATION_REMOVED, loss)
            backlogs.lose_orphans(spans, 0 if loss is None else loss.readings)
        if not backlogs.orphaned:
            self._drops.ended(DropReason.DESTINATION_REMOVED)


def tell_of_leaving(destination: str, *, waiting: int, alone: int) -> None:
    """A destination is no longer in the configuration, with so many readings waiting for it; at most `alone` of them
    wait for no other."""
    if waiting and not alone:
        _log.info(
            "the destination %s is no longer configured: its backlog of %d readings waits for others as well, so none "
            "is lost",
            destination,
            waiting,
        )
    elif waiting > alone:
        _log.warning(
            "the destination %s is no longer configured: of its backlog of %d readings up to %d are freed, others wait "
            "for the rest",
            destination,
            waiting,
            alone,
        )
    elif waiting:
        _log.warning(
            "the destination %s is no longer configured: its backlog of %d readings is freed", destination, waiting
        )

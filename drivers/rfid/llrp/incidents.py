"""What happens at a reader beside tags: said in the log, told as a reading, or the end of the session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from drivers.model import Reading, Reason
from drivers.rfid import failure
from drivers.rfid.llrp.events import (
    ANOTHER_CLIENT_TRIED,
    AntennaChanged,
    BufferFilling,
    BufferOverflowed,
    ConnectionAttempt,
    ConnectionClosed,
    Event,
    InventoryEnded,
    InventoryStarted,
    ReaderException,
)
from drivers.rfid.llrp.requests import ROSPEC
from drivers.rfid.portal import Portal
from drivers.rfid.quiet import Quiet

_log = logging.getLogger(__name__)


class Incidents:
    """Those of one connection."""

    def __init__(
        self,
        portals: Sequence[Portal],
        portal_of: Callable[[int | None], Portal | None],
        *,
        link: str,
        wall_ns: Callable[[], int],
        quiet: Quiet,
        runs_always: bool,
    ) -> None:
        """`portal_of` is the portal of an antenna. `runs_always`: nothing but us ends the ROSpec."""
        self._portals = portals
        self._portal_of = portal_of
        self._link = link
        self._wall_ns = wall_ns
        self._quiet = quiet
        self._runs_always = runs_always
        self._loop = asyncio.get_running_loop()
        self._has_started = False

    def readings(self, event: Event) -> Iterator[Reading]:
        """What is to be told of it. Raises `DeviceUnavailable` when no more tags will come."""
        match event:
            case ConnectionClosed():
                raise failure.closed_by_reader(self._link)
            case InventoryStarted(rospec):
                self._has_started |= rospec == ROSPEC
            case InventoryEnded(rospec, was_preempted) if rospec == ROSPEC and self._runs_always:
                # The end of an earlier ROSpec with our number may be told late; ours has begun before it can end.
                if self._has_started:
                    raise failure.inventory_ended(self._link, was_preempted=was_preempted)
            case AntennaChanged(antenna, is_connected):
                if (portal := self._portal_of(antenna)) is not None:
                    yield from portal.antenna_changed(antenna, is_connected=is_connected, now_ns=self._wall_ns())
            case BufferOverflowed():
                yield from self._lost_reports()
            case _:
                self._say(event)

    def complaint(self, text: str) -> None:
        """The reader has sent an error that answers no request."""
        if self._may_say(text):
            _log.info("%s does not understand us: %s", self._link, text)

    def _say(self, event: Event) -> None:
        match event:
            case BufferFilling(percent):
                if self._may_say(BufferFilling):
                    _log.warning("%s: the memory of the reader is full of reports to %d percent", self._link, percent)
            case ReaderException(text, antenna):
                if self._may_say(event):
                    where = "" if antenna is None else f" at antenna {antenna}"
                    _log.warning("%s reports trouble%s: %s", self._link, where, text)
            case ConnectionAttempt(status) if status == ANOTHER_CLIENT_TRIED:
                if self._may_say(ANOTHER_CLIENT_TRIED):
                    _log.info("%s: another client has tried to connect to it", self._link)

    def _lost_reports(self) -> Iterator[Reading]:
        if not self._may_say(BufferOverflowed):
            return
        _log.error("%s has lost reports of tags: its memory was full; check the network between it and us", self._link)
        now_ns = self._wall_ns()
        for portal in self._portals:
            yield portal.failed(Reason.DEVICE_ERROR, now_ns=now_ns)

    def _may_say(self, what: object) -> bool:
        return self._quiet.may_say(what, now_s=self._loop.time())

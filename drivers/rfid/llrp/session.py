"""Readings from an LLRP reader, as it reports tags and what happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain
from math import inf

from drivers.contract import DeviceUnavailable
from drivers.model import Reading, Reason
from drivers.rfid import failure
from drivers.rfid.clock import ReaderClock
from drivers.rfid.llrp import events
from drivers.rfid.llrp.connection import Connection
from drivers.rfid.llrp.framing import Message, MessageType
from drivers.rfid.llrp.incidents import Incidents
from drivers.rfid.llrp.parameters import Malformed
from drivers.rfid.llrp.reports import TagReport, parse_reports
from drivers.rfid.llrp.requests import ROSPEC
from drivers.rfid.llrp.status import parse_status
from drivers.rfid.llrp.unchanged import LastReports
from drivers.rfid.portal import Portal
from drivers.rfid.quiet import Quiet
from drivers.rfid.sighting import Sighting

_log = logging.getLogger(__name__)

INTERVALS_OF_PATIENCE = 2.5
"""A keepalive may be lost or late; two and a half intervals without any message are no accident."""
_BATCH = 50
"""Tag reports after which others get their turn; a message can hold thousands."""
_MOST_EARLY = 10_000
"""Readings that may come before anybody asks for them."""
_TOGGLE = 0x0100
"""The bit of a protocol control word that says: not numbered by GS1; its lower half is then an AFI (Gen2)."""


class LlrpSession:
    """`drivers.contract.StreamSession` over a connection whose ROSpec runs."""

    def __init__(
        self,
        connection: Connection,
        portals: Sequence[Portal],
        *,
        link: str,
        clock: ReaderClock,
        wall_ns: Callable[[], int],
        keepalive_s: float,
        quiet: Quiet,
        runs_always: bool,
    ) -> None:
        """`portals` have antennas of their own, or the only one has all. `runs_always`: the ROSpec has no period."""
        self._connection = connection
        self._portals = portals
        self._by_antenna = {antenna: portal for portal in portals for antenna in portal.antennas}
        self._link = link
        self._clock = clock
        self._quiet = quiet
        self._wall_ns = wall_ns
        self._patience_s = INTERVALS_OF_PATIENCE * keepalive_s
        self._incidents = Incidents(
            portals, self._portal, link=link, wall_ns=wall_ns, quiet=quiet, runs_always=runs_always
        )
        self._loop = asyncio.get_running_loop()
        self._last = LastReports()
        self._early: list[Reading] = []
        self._understands = True
        self._expects_only_ours = False
        self.failure: DeviceUnavailable | None = None
        """What ended the readings: a reader that is gone, of which no leave can be taken."""

    def wait_for_ever(self) -> None:
        """The reader sends no keepalives: silence means nothing."""
        self._patience_s = inf

    def before_start(self, message: Message) -> None:
        """Take a message that came before our ROSpec was added, in this connection.

        Tags in it were seen by ours of the last connection, or are the answer to somebody else's question.
        """
        self._expects_only_ours = True
        self.early(message)
        self._expects_only_ours = False

    def early(self, message: Message) -> None:
        """Take a message that came before `readings` was called, which will tell what it held."""
        self._early += [reading for reading in self._read(message) if reading is not None]
        if len(self._early) > _MOST_EARLY:
            raise failure.overrun(self._link, "starting it to read tags", len(self._early))

    async def readings(self) -> AsyncIterator[Reading]:
        """As `drivers.contract.StreamSession.readings`."""
        early, self._early = self._early, []
        for reading in chain(*(portal.untold() for portal in self._portals), early):
            yield reading
        try:
            while True:
                next_end_s = min(portal.next_end_s for portal in self._portals)
                silent_at_s = self._connection.heard_at_s + self._patience_s
                message = await self._connection.receive(min(silent_at_s, next_end_s))
                for told in chain(self._read(message), self._ended_stays(next_end_s)):
                    if told is None:
                        await asyncio.sleep(0)
                    else:
                        yield told
        except DeviceUnavailable as error:
            self.failure = error
            raise

    def _ended_stays(self, next_end_s: float) -> Iterator[Reading]:
        now_s = self._loop.time()
        if now_s >= next_end_s:
            for portal in self._portals:
                yield from portal.end_stays(now_s=now_s)

    def _read(self, message: Message | None) -> Iterator[Reading | None]:
        """What a message tells; None where others should get their turn. Raises `DeviceUnavailable` if it is the last.

        No message is none either, for a while.
        """
        if message is None:
            silence_s = self._loop.time() - self._connection.heard_at_s
            if silence_s >= self._patience_s:
                raise failure.silent(self._link, self._patience_s, pending_bytes=self._connection.pending_bytes)
            return
        try:
            if message.type == MessageType.RO_ACCESS_REPORT:
                yield from self._tags(message.body)
                self._understands = True
            elif message.type == MessageType.READER_EVENT_NOTIFICATION:
                for event in events.parse_notification(message.body).events:
                    yield from self._incidents.readings(event)
            elif message.type == MessageType.ERROR_MESSAGE:
                self._incidents.complaint(parse_status(message.body).text)
        except Malformed as error:
            yield from self._not_understood(message, error)

    def _tags(self, body: bytes) -> Iterator[Reading | None]:
        now_ns, now_s = self._wall_ns(), self._loop.time()
        strangers = 0
        is_unplaced = False
        for count, report in enumerate(parse_reports(body), 1):
            if self._expects_only_ours and report.rospec != ROSPEC:
                strangers += 1
                continue
            whole = self._last.complete(report)
            portal = self._portal(whole.antenna)
            if portal is None:  # an antenna that is nobody's was not asked for
                is_unplaced |= whole.antenna is None
            else:
                is_timed = self._clock.is_believed and (report.first_seen_us, report.last_seen_us) != (None, None)
                yield from portal.see(self._sighting(whole, now_ns), now_s=now_s, is_timed=is_timed)
            if not count % _BATCH:
                yield None
        if strangers and self._quiet.may_say("strangers", now_s=now_s):
            _log.warning("%s: %d tags are left out that another client has asked for", self._link, strangers)

        if is_unplaced and self._quiet.may_say("unplaced", now_s=now_s):
            _log.error("%s: tags are lost, the reader does not say which antenna has seen them", self._link)
            for portal in self._portals:
                yield portal.failed(Reason.BAD_RESPONSE, now_ns=now_ns)

    def _portal(self, antenna: int | None) -> Portal | None:
        if len(self._portals) == 1 and (antenna is None or not self._portals[0].antennas):
            return self._portals[0]
        return None if antenna is None else self._by_antenna.get(antenna)

    def _sighting(self, report: TagReport, now_ns: int) -> Sighting:
        first_us, last_us = report.first_seen_us, report.last_seen_us
        first_ns = self._clock.time_ns(first_us if first_us is not None else last_us, now_ns=now_ns)
        last_ns = self._clock.time_ns(last_us if last_us is not None else first_us, now_ns=now_ns)
        pc = report.pc
        return Sighting(
            report.epc.hex().upper(),
            report.epc_bits,
            pc & 0xFF if pc is not None and pc & _TOGGLE else None,
            report.antenna,
            report.rssi_dbm,
            1 if report.seen_count is None else report.seen_count,
            min(first_ns, last_ns),
            last_ns,
        )

    def _not_understood(self, message: Message, error: Malformed) -> Sequence[Reading]:
        """Once, until a report is understood again."""
        if message.type != MessageType.RO_ACCESS_REPORT or not self._understands:
            _log.debug("%s: message %d contradicts itself: %s", self._link, message.type, error)
            return ()
        self._understands = False
        _log.error("%s: tags are lost, a report of the reader contradicts itself: %s", self._link, error)
        return [portal.failed(Reason.BAD_RESPONSE, now_ns=self._wall_ns()) for portal in self._portals]

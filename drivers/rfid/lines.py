"""Readings from a reader that writes a line of text for each tag."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice

from drivers.model import Reading, Reason
from drivers.pattern import LineSplitter, TooSlow, compile_pattern
from drivers.rfid.epc import RAW, pure_identity
from drivers.rfid.portal import Portal
from drivers.rfid.quiet import Quiet
from drivers.rfid.settings import PATTERN_GROUPS
from drivers.rfid.sighting import Sighting
from drivers.transport import ByteStream

_log = logging.getLogger(__name__)

_BATCH = 50
"""Lines after which others get their turn."""
_IDLE_S = 0.05
"""Within a line the next character comes sooner than this, even at 300 baud."""
_LAST_ANTENNA = 0xFFFF
_MOST_SEEN = 0xFFFFFFFF
"""No reader numbers or counts further, and no store takes any number of digits."""
_SEPARATORS = re.compile(r"[\s:.-]")
_WORDS = re.compile(r"(?:[0-9A-Fa-f]{4}){1,31}")
"""The memory of a tag consists of words of four digits, and a Gen2 EPC of at most 31 of them."""


class LineSession:
    """`drivers.contract.StreamSession` over a byte stream."""

    def __init__(
        self,
        stream: ByteStream,
        portal: Portal,
        *,
        pattern: str,
        link: str,
        wall_ns: Callable[[], int],
        quiet: Quiet,
    ) -> None:
        self._stream = stream
        self._portal = portal
        self._pattern = compile_pattern(pattern, groups=PATTERN_GROUPS, needs={"epc"})
        self._link = link
        self._wall_ns = wall_ns
        self._quiet = quiet
        self._loop = asyncio.get_running_loop()
        self._idle_from_s = self._loop.time() + _IDLE_S
        self._may_be_cut = False
        """Whether the beginning of the next line may have been missed."""

    async def readings(self) -> AsyncIterator[Reading]:
        """As `drivers.contract.StreamSession.readings`."""
        for reading in self._portal.untold():
            yield reading
        splitter = LineSplitter()
        is_first = True
        while True:
            next_end_s = self._portal.next_end_s
            data = await self._read(next_end_s)
            if data and is_first:
                is_first = False
                self._may_be_cut = self._loop.time() < self._idle_from_s
            lines = iter(splitter.feed(data))
            while batch := [*islice(lines, _BATCH)]:
                for line in batch:
                    for reading in self._line(line):
                        yield reading
                await asyncio.sleep(0)  # reading what has come already waits for nothing
            if (now_s := self._loop.time()) >= next_end_s:
                for reading in self._portal.end_stays(now_s=now_s):
                    yield reading

    async def _read(self, until_s: float) -> bytes:
        """What came; nothing when `until_s` of the loop's clock has passed."""
        try:
            async with asyncio.timeout_at(until_s if until_s != float("inf") else None):
                return await self._stream.read()
        except TimeoutError:
            return b""

    def _line(self, line: str | None) -> Sequence[Reading]:
        may_be_cut, self._may_be_cut = self._may_be_cut, False
        if line is None:
            return self._not_understood("a line that does not end")
        try:
            found = self._pattern.match(line)
        except TooSlow as error:
            return self._not_understood(str(error))
        seen = None if found is None else _sighting(found, self._wall_ns())
        if may_be_cut and (seen is None or pure_identity(seen.epc).startswith(RAW)):
            return ()  # whose bits make a valid GS1 EPC has not lost any
        if seen is None:
            return self._not_understood(repr(line))
        return self._portal.see(seen, now_s=self._loop.time())

    def _not_understood(self, what: str) -> Sequence[Reading]:
        if not self._quiet.may_say("not understood", now_s=self._loop.time()):
            return ()
        _log.warning("%s: what came is no tag by the pattern: %s", self._link, what)
        return (self._portal.failed(Reason.BAD_RESPONSE, now_ns=self._wall_ns()),)


def _sighting(found: Mapping[str, str], now_ns: int) -> Sighting | None:
    """What a line told; None when the texts are not what their groups should hold."""
    epc = _SEPARATORS.sub("", found["epc"]).upper() if "epc" in found else ""
    if not _WORDS.fullmatch(epc):
        return None
    try:
        antenna = int(found["antenna"]) if "antenna" in found else None
        rssi = float(found["rssi"]) if "rssi" in found else None
        count = int(found["seen_count"]) if "seen_count" in found else 1
    except ValueError:
        return None
    is_possible = (
        (rssi is None or -200 <= rssi <= 100)
        and 0 < count <= _MOST_SEEN
        and (antenna is None or 0 <= antenna <= _LAST_ANTENNA)
    )
    if not is_possible:  # NaN among it
        return None
    return Sighting(epc, 4 * len(epc), None, antenna, rssi, count, now_ns, now_ns)

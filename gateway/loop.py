"""The event loop of the gateway: asyncio's own, but a host name that is slow to look up holds up nothing else.

asyncio looks names up in the few threads (six on a machine with two cores) that do everything else that would block. A
lookup whose name server does not answer takes ten seconds or more and cannot be cancelled. So a handful of devices
named by host name would, with the name server gone, keep pages and broker connections waiting, and the process from
ending. Here every name has a daemon thread of its own, and all who ask for it meanwhile share the answer.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import Any

Answer = list[Any]
Query = tuple[bytes | str | None, bytes | str | int | None, int, int, int, int]


class Loop(asyncio.SelectorEventLoop):
    """For `asyncio.Runner(loop_factory=Loop)`."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[Query, asyncio.Future[Answer]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Answer:
        """As `socket.getaddrinfo`. Cancelled, it returns at once; the thread ends when the system has an answer."""
        query = (host, port, family, type, proto, flags)
        lookup = self._lookups.get(query)
        if lookup is None:
            lookup = self._lookups[query] = self.create_future()
            Thread(target=self._look_up, args=(query, lookup), name=f"look up {host!r}", daemon=True).start()
        return await asyncio.shield(lookup)

    def _look_up(self, query: Query, lookup: asyncio.Future[Answer]) -> None:
        found: Answer | Exception
        try:
            found = socket.getaddrinfo(*query)
        except (OSError, OverflowError, UnicodeError) as error:
            found = error
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self.call_soon_threadsafe(self._answer, query, lookup, found)

    def _answer(self, query: Query, lookup: asyncio.Future[Answer], found: Answer | Exception) -> None:
        del self._lookups[query]
        if isinstance(found, Exception):
            lookup.set_exception(found)
            lookup.exception()  # retrieved, whether or not anybody still waits
        else:
            lookup.set_result(found)

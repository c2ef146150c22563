"""When the retained status of the gateway has to be said again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

SOON_S = 1.0
"""Time enough for a broker to notice that a connection has been closed, and to publish its will."""
LATE_S = 5.0
"""How much longer a broker may take to notice a silence: it looks at the clock once a second, or every few."""


class Presence:
    """What the destinations of one gateway have to know of each other's connections.

    All of them have the one status topic `hub/<site>/<gateway>/status`. Where two lead to one broker, each with a
    client id of its own, the end of one connection leaves "offline" there, as its goodbye or as its will, though the
    other goes on. So those that go on say once more that the gateway is online, twice after each end: soon, and when
    the broker must have noticed also an end of which nothing has reached it, after one and a half keep-alives
    (MQTT 5.0, 3.1.2.10).

    Which destinations share a broker cannot be told by their URLs, for a broker may have several names and ports. It
    is told by what they cannot share there: those with the same client id are on different brokers, or else the broker
    would end one for the other. What is said in vain, to a broker that is not shared, was true already.

    A subscription to the status would need no clock, but a right to read that the gateway does not need otherwise.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, str]] = []
        self._ended = asyncio.Event()

    def ended(self, client_id: str, *, keepalive_s: float) -> None:
        """A connection with this client id has ended, in whatever way."""
        now_s = asyncio.get_running_loop().time()
        self._due = [(at_s, who) for at_s, who in self._due if at_s > now_s]
        self._due += [(now_s + SOON_S, client_id), (now_s + 1.5 * keepalive_s + LATE_S, client_id)]
        self._ended.set()
        self._ended = asyncio.Event()

    async def doubted(self, client_id: str) -> None:
        """Wait until the connection with this client id has to say that the gateway is online, once more."""
        since_s = asyncio.get_running_loop().time()
        while True:
            next_s = min((at_s for at_s, who in self._due if at_s > since_s and who != client_id), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_s):
                    await self._ended.wait()
                    continue
            return

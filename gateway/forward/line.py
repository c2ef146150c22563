"""Connections to one destination, one after the other."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from gateway.backoff import Backoff
from gateway.buffer import Buffer
from gateway.config import DestinationSettings
from gateway.forward.pace import TokenBucket
from gateway.forward.presence import Presence
from gateway.forward.refusals import Refusals
from gateway.forward.session import Beside, Session
from gateway.forward.status import Status
from gateway.health import DestinationHealth
from gateway.mqtt import Broker, Connection, DestinationUnavailable
from gateway.payloads.json import JsonPayload

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
STABLE_S = 60.0
"""A connection that lasted this long was a success, even if there was nothing to send."""
GAUGE_S = 1.0


async def forward(
    settings: DestinationSettings,
    *,
    broker: Broker,
    buffer: Buffer,
    payload: JsonPayload,
    health: DestinationHealth,
    stopping: asyncio.Event,
    drain_s: float,
    presence: Presence,
    beside: Beside | None = None,
    draw: Callable[[float, float], float] = random.uniform,
) -> None:
    """Serve one destination until `stopping` is set, which says that no more readings will be appended.

    If it is connected then, go on until it has acknowledged everything or `drain_s` seconds have passed, say offline,
    disconnect and return, which takes at most `LEAVING_S` more. A destination that is down is not waited for.
    Cancelled, it cuts the connection, and the broker publishes the will. Nothing is lost either way: what is not
    acknowledged stays in the buffer.

    `presence` is that of all destinations of the gateway. `beside` runs next to the forwarding on every connection.
    `draw` gives a random number between its two.
    """
    line = _Line(
        settings,
        broker=broker,
        buffer=buffer,
        payload=payload,
        health=health,
        presence=presence,
        beside=beside,
        draw=draw,
    )
    async with asyncio.TaskGroup() as group:
        gauge = group.create_task(_gauge(settings.name, buffer=buffer, health=health), name=f"gauge of {settings.name}")
        serving = group.create_task(line.serve(stopping, drain_s=drain_s), name=f"line to {settings.name}")
        await stopping.wait()
        if line.session is None:
            serving.cancel()
        await asyncio.wait([serving])
        gauge.cancel()


async def _gauge(name: str, *, buffer: Buffer, health: DestinationHealth) -> None:
    """Keep the backlog of a destination that is down up to date."""
    while True:
        health.backlog = buffer.backlog(name)
        await asyncio.sleep(GAUGE_S)


class _Line:
    """The way to one destination. `session` is there while it is connected."""

    def __init__(
        self,
        settings: DestinationSettings,
        *,
        broker: Broker,
        buffer: Buffer,
        payload: JsonPayload,
        health: DestinationHealth,
        presence: Presence,
        beside: Beside | None,
        draw: Callable[[float, float], float],
    ) -> None:
        self.session: Session | None = None
        self._settings = settings
        self._name = settings.name
        self._broker = broker
        self._buffer = buffer
        self._payload = payload
        self._health = health
        self._presence = presence
        self._beside = beside
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._behind_since_s = float("-inf") if buffer.backlog(settings.name) else self._loop.time()
        self._bucket = TokenBucket(settings.replay.values_per_second)
        self._refusals = Refusals(settings.name, buffer=buffer, health=health)
        self._backoff = Backoff(first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)
        self._failures = 0
        self._told = ""

    async def serve(self, stopping: asyncio.Event, *, drain_s: float) -> None:
        """Connect, forward, connect again; returns when a connection has ended and `stopping` is set."""
        while not stopping.is_set():
            try:
                async with self._connected() as connection:
                    await self._forward(connection, stopping, drain_s=drain_s)
            except DestinationUnavailable as failure:
                self._went_down(failure, is_last=stopping.is_set())
            if not stopping.is_set():
                await asyncio.sleep(self._backoff.next_s())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """A connection whose end the other destinations are told of."""
        connected = False
        try:
            async with self._broker.connect() as connection:
                connected = True
                yield connection
        finally:
            if connected:
                self._presence.ended(self._broker.client_id, keepalive_s=self._settings.keepalive)

    async def _forward(self, connection: Connection, stopping: asyncio.Event, *, drain_s: float) -> None:
        history_delay_s = self._history_delay_s()
        session = Session(
            connection,
            settings=self._settings,
            buffer=self._buffer,
            payload=self._payload,
            health=self._health,
            refusals=self._refusals,
            status=self._status(connection),
            bucket=self._bucket,
            history_delay_s=history_delay_s,
            beside=self._beside,
        )
        began_s = self._loop.time()
        self._went_up(connection, history_delay_s=history_delay_s)
        self.session = session
        try:
            await session.run(stopping, drain_s=drain_s)
        except DestinationUnavailable as failure:
            if (session.got_on or self._loop.time() - began_s > STABLE_S) and not failure.needs_person:
                self._backoff.reset()
            raise
        finally:
            self.session = None
            self._health.up = False
            self._buffer.hand_back(self._name)
            if session.caught_up:
                self._behind_since_s = self._loop.time()

    def _status(self, connection: Connection) -> Status:
        return Status(
            connection,
            payload=self._payload,
            refusals=self._refusals,
            connected_ms=time.time_ns() // 1_000_000,
            history=self._buffer.backlog(self._name),
            doubted=partial(self._presence.doubted, self._broker.client_id),
        )

    def _history_delay_s(self) -> float:
        """A random time, so that the gateways that lost a broker together do not replay together.

        What was missed in a second loads a broker with a second's worth; spread over as long as it took to gather, it
        does no more than double the load. So nobody waits longer than it has been behind.
        """
        if not self._buffer.backlog(self._name):
            return 0.0
        behind_s = self._loop.time() - self._behind_since_s
        return self._draw(0.0, min(self._settings.replay.start_within, behind_s))

    def _went_up(self, connection: Connection, *, history_delay_s: float) -> None:
        self._health.up = self._health.ever_up = True
        self._health.detail = ""
        log.info(
            "%s: connected to %s with %s%s; %d readings behind%s",
            self._name,
            self._broker.address,
            connection.version.value,
            f" after {self._failures} failures" if self._failures else "",
            self._buffer.backlog(self._name),
            f", history starts in {history_delay_s:.1f} s" if history_delay_s else "",
        )
        self._failures = 0
        self._told = ""

    def _went_down(self, failure: DestinationUnavailable, *, is_last: bool) -> None:
        """Log the edge, and again only when the reason has changed."""
        self._failures += 1
        self._health.detail = str(failure)
        if self._health.detail != self._told:
            self._told = self._health.detail
            log.log(
                logging.ERROR if failure.needs_person else logging.WARNING,
                "%s: %s; readings wait in the buffer, now %d, %s",
                self._name,
                failure,
                self._buffer.backlog(self._name),
                "until the next start" if is_last else "and it is tried again",
            )

"""A forwarder between a real buffer and a real (or scripted) broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.clock import Clock
from gateway.config import BufferSettings, DestinationSettings
from gateway.forward import Presence, forward
from gateway.health import BufferHealth, DestinationHealth
from gateway.mqtt import Broker
from gateway.payloads.json import JsonPayload
from tests.plugins.scripted_broker import Client

NAME = "hub-broker"
STATUS = "hub/lgg/sort-01/status"
NOW_NS = 1_700_000_000_000_000_000


class ScriptedBroker:
    """Accepts connections and records each message; `answer(payload)` is the PUBACK code, or None for no answer.

    It hangs up when a connection has brought `most` readings.
    """

    def __init__(
        self,
        answer: Callable[[Any], int | None] = lambda _message: 0,
        *,
        connack: Callable[[], int] = lambda: 0,
        most: int | None = None,
    ) -> None:
        self.received: list[Any] = []
        self.connections = 0
        self.answer = answer
        self.connack = connack
        self.most = most

    async def __call__(self, client: Client) -> None:
        self.connections += 1
        await client.version()
        client.connack(self.connack())
        here = 0
        while here != self.most:
            message_id, topic, payload = await client.publish()
            message = orjson.loads(payload)
            if topic != STATUS:
                self.received.append(message)
                here += 1
            code = 0 if topic == STATUS else self.answer(message)
            if code is not None:
                client.puback(message_id, code)


@dataclass
class Line:
    """The gateway's side of a test. `append` makes readings of one value, which counts up over all devices."""

    buffer: Buffer
    name: str = NAME
    health: DestinationHealth = field(default_factory=lambda: DestinationHealth(NAME))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    appended: int = 0
    _groups: dict[str, PointGroup] = field(default_factory=dict)

    async def append(self, count: int = 1, *, device: str = "infeed", value: Any = None) -> None:
        """Append readings and wait until they are committed."""
        group = self._groups.setdefault(device, PointGroup(device, 1.0, (Point("n"),)))
        for _ in range(count):
            self.appended += 1
            self.buffer.append(Reading(group, NOW_NS, (self.appended if value is None else value,)))
        await self.buffer.flush()

    def ids(self, first: int, last: int) -> list[str]:
        """The ids of these positions, both included."""
        return [f"{self.buffer.epoch}-{position}" for position in range(first, last + 1)]

    @asynccontextmanager
    async def forwarding(
        self,
        url: str,
        *,
        drain_s: float = 10.0,
        silence_s: float = 30.0,
        timeout_s: float = 10.0,
        draw: Callable[[float, float], float] = lambda low, _high: low,
        **settings: Any,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Forward to `url`; at the end set `stopping` and wait for the forwarder. History starts at once."""
        destination = DestinationSettings(name=self.name, url=url, **settings)
        payload = JsonPayload(
            site="lgg", gateway="sort-01", epoch=self.buffer.epoch, topic=destination.topic, batch=destination.batch,
            version="1.2.3", started_ms=17,
        )  # fmt: skip
        will = payload.offline()
        self.stopping.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                forward(
                    destination,
                    broker=Broker(destination, client_id="gw", will=will, timeout_s=timeout_s, silence_s=silence_s),
                    buffer=self.buffer,
                    payload=payload,
                    health=self.health,
                    stopping=self.stopping,
                    drain_s=drain_s,
                    presence=Presence(),
                    draw=draw,
                )
            )
            yield task
            self.stopping.set()

    async def until(self, true: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        """Wait for a fact that is only written down, not announced."""
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def delivered(self) -> None:
        """Wait until the destination has acknowledged everything."""
        await self.until(lambda: self.buffer.backlog(self.name) == 0)


@pytest.fixture
def line(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Line]]:
    """Opens a new line on the test's own database, which is the same each time.

    There may be `others`, further destinations of the same buffer; each needs a `Line` of its own.
    """

    @asynccontextmanager
    async def opened(*others: str) -> AsyncIterator[Line]:
        settings = BufferSettings(path=tmp_path / "buffer.db", min_free_disk=0)
        async with Buffer.open(
            settings,
            destinations=[NAME, *others],
            health=BufferHealth(),
            clock=Clock(wall_ns=lambda: NOW_NS, boot_ns=lambda: 0),
        ) as buffer:
            yield Line(buffer)

    return opened


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.forward.line.FIRST_RETRY_S", 0.05)
    monkeypatch.setattr("gateway.forward.line.LONGEST_RETRY_S", 0.2)

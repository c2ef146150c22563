"""The destinations that are being served, as the config has them now."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

from gateway.buffer import Buffer
from gateway.commands import Commands, Topics
from gateway.config import DestinationSettings, GatewaySettings, Settings, changed_keys
from gateway.forward import LEAVING_S, Presence, forward
from gateway.health import DestinationHealth, Health
from gateway.mqtt import Broker
from gateway.payloads.json import JsonPayload
from gateway.tasks import Changes, TaskSet

DRAIN_S = 10.0
"""How long a stop waits for the destinations to take what is left, to acknowledge it and to be left; what remains goes
out after the next start."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """One destination and what is in its certificate files. Equal ones mean that nothing has to be restarted."""

    destination: DestinationSettings
    files: tuple[tuple[str, bytes | None], ...] = field(repr=False)
    """Key and digest of each; None for one that cannot be read at the moment."""

    @staticmethod
    def of(destination: DestinationSettings) -> LineSettings:
        """Reads the files."""
        tls = destination.tls
        named = {"ca": tls.ca, "certificate": tls.certificate, "key": tls.key} if tls is not None else {}
        return LineSettings(destination, tuple((key, _digest(path)) for key, path in named.items() if path is not None))

    def changes(self, after: LineSettings) -> str:
        """What differs, for the log; secrets by their key only."""
        changed = changed_keys(self.destination, after.destination)
        before = dict(self.files)
        for key, digest in after.files:
            if f"tls.{key}" not in changed and before.get(key, digest) != digest:
                changed.append(f"what is in tls.{key}")
        return ", ".join(changed)


class Forwarding:
    """The destinations that are being served; which ones may change while they are."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        *,
        gateway: GatewaySettings,
        buffer: Buffer,
        health: Health,
        commands: Commands | None,
    ) -> None:
        self._gateway = gateway
        self._buffer = buffer
        self._health = health
        self._commands = commands
        self._stopping = asyncio.Event()
        self._presence = Presence()
        self._started_ms = time.time_ns() // 1_000_000
        self._tasks = TaskSet(group, self._forward, explain=LineSettings.changes)

    async def update(self, destinations: Sequence[DestinationSettings]) -> Changes:
        """Serve these from now on. Those whose settings stay equal never notice.

        One that changed is cut off at once and goes on at its place in the buffer. A new one joins the buffer before
        one that is gone leaves it.
        """
        wanted = {
            destination.name: await asyncio.to_thread(LineSettings.of, destination) for destination in destinations
        }
        gone = self._health.destinations.keys() - wanted.keys()
        for destination in destinations:
            await self._buffer.attach(destination.name, start=destination.start)
        known = self._health.destinations
        self._health.destinations = {name: known[name] if name in known else DestinationHealth(name) for name in wanted}
        changes = await self._tasks.update(wanted)
        for name in gone:
            self._buffer.detach(name)
        return changes

    async def drain(self, skip: asyncio.Event) -> None:
        """No more readings will be appended: let every destination that is connected take what is left, for at most
        `DRAIN_S`, or until `skip`; then serve nobody any more."""
        self._stopping.set()
        async with asyncio.TaskGroup() as group:
            skipping = group.create_task(self._stop_when(skip), name="second signal")
            await self._tasks.ended()
            skipping.cancel()

    async def _stop_when(self, skip: asyncio.Event) -> None:
        await skip.wait()
        self._tasks.cancel()

    async def _forward(self, name: str, settings: LineSettings) -> None:
        destination = settings.destination
        health = self._health.destinations[name]
        health.ever_up, health.detail = False, ""  # with these settings it has not been connected yet
        site, gateway = self._gateway.site, self._gateway.id
        payload = JsonPayload(
            site=site,
            gateway=gateway,
            epoch=self._buffer.epoch,
            topic=destination.topic,
            version=version("hub-gateway"),
            started_ms=self._started_ms,
            batch=destination.batch,
        )
        client_id = destination.client_id or self._gateway.client_id
        beside = None
        if self._commands is not None and destination.commands:
            topics = Topics(destination.topic, site=site, gateway=gateway)
            beside = partial(self._commands.serve, topics=topics, destination=name)
        await forward(
            destination,
            broker=Broker(destination, client_id=client_id, will=payload.offline()),
            buffer=self._buffer,
            payload=payload,
            health=health,
            stopping=self._stopping,
            drain_s=DRAIN_S - LEAVING_S,
            presence=self._presence,
            beside=beside,
        )


@asynccontextmanager
async def forwarding(
    settings: Settings, *, buffer: Buffer, health: Health, commands: Commands | None, skip_drain: asyncio.Event
) -> AsyncIterator[Forwarding]:
    """Serve the destinations of `settings` while the block lasts, and drain after it, unless it has failed."""
    async with asyncio.TaskGroup() as group:
        destinations = Forwarding(group, gateway=settings.gateway, buffer=buffer, health=health, commands=commands)
        await destinations.update(settings.destinations)
        yield destinations
        await destinations.drain(skip_drain)


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None

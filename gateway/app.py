"""The composition root: the only module that knows everybody.

The nesting of the contexts is the order of shutdown, read from the inside out: acquiring stops first, forwarding drains
what is left, the pages go, the buffer closes last.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway.acquisition import Acquisition, Reach, acquiring
from gateway.backoff import Backoff
from gateway.buffer import Buffer
from gateway.commands import Commands, Topics
from gateway.config import ConfigError, DestinationSettings, Settings, load
from gateway.forward import forward
from gateway.health import DestinationHealth, Health
from gateway.loop import Loop
from gateway.mqtt import Broker
from gateway.payloads.json import JsonPayload
from gateway.sdnotify import Notifier
from gateway.web import HttpUnavailable, Identity, serve

log = logging.getLogger(__name__)

DRAIN_S = 10.0
"""How long a stop waits for the destinations to take what is left; what remains goes out after the next start."""
_LAG_EVERY_S = 0.5
_NEED_RESTART = ("gateway", "buffer", "destinations", "http", "commands")


@dataclass(frozen=True, slots=True)
class Signals:
    """What the outside asks for: to stop (draining), to stop at once, to read the config again."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_now: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    def on_stop(self) -> None:
        """Ask to stop, or, when that was asked already, to stop without draining."""
        if self.stop.is_set():
            log.warning(
                "asked to stop again: not waiting for the destinations; what they lack goes out after the next start"
            )
            self.stop_now.set()
        else:
            log.info("stopping: no new readings, up to %g s for the destinations to take what is left", DRAIN_S)
            self.stop.set()


def run_until_stopped(settings: Settings, *, config: Path) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises `BufferUnavailable` when the buffer cannot be opened.

    SIGHUP reads `config` again and restarts the links whose settings changed.
    """
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_run_with_signals(settings, config))


async def _run_with_signals(settings: Settings, config: Path) -> None:
    signals = Signals()
    loop = asyncio.get_running_loop()
    for number, handler in (
        (signal.SIGTERM, signals.on_stop),
        (signal.SIGINT, signals.on_stop),
        (signal.SIGHUP, signals.reload.set),
    ):
        loop.add_signal_handler(number, handler)
    await run(settings, signals=signals, health=Health(), reread=lambda: load(config))


async def run(
    settings: Settings,
    *,
    signals: Signals,
    health: Health,
    reread: Callable[[], Settings],
    notifier: Notifier | None = None,
) -> None:
    """Run the gateway until `signals.stop`, keeping `health` up to date.

    Raises `BufferUnavailable`. `reread` is called (in a thread) on `signals.reload` and may raise `ConfigError`.
    """
    notifier = notifier or Notifier.from_environment()
    names = [destination.name for destination in settings.destinations]
    health.destinations.update((name, DestinationHealth(name)) for name in names)
    reach = Reach()
    commands = Commands(settings.commands, writer=reach, health=health) if settings.commands.enabled else None
    async with (
        Buffer.open(settings.buffer, destinations=names, health=health.buffer) as buffer,
        _background(_keep_watch(health, notifier), name="watch"),
        _background(_serve_pages(settings, health), name="http"),
    ):
        acquired = asyncio.Event()
        async with asyncio.TaskGroup() as forwarding:
            tasks = [
                forwarding.create_task(
                    _forward(destination, settings, buffer=buffer, health=health, acquired=acquired, commands=commands),
                    name=f"forward {destination.name}",
                )
                for destination in settings.destinations
            ]
            async with acquiring(settings, buffer=buffer, health=health, reach=reach) as acquisition:
                notifier.ready(_summary(health))
                reload = _reload_when_asked(
                    signals, settings, acquisition, health=health, notifier=notifier, reread=reread
                )
                async with _background(reload, name="reload"):
                    await signals.stop.wait()
                notifier.stopping()
            acquired.set()
            async with _background(_cancel_when_set(signals.stop_now, tasks), name="second signal"):
                await asyncio.wait(tasks)
    log.info("stopped; %d readings wait in %s", health.buffer.readings, settings.buffer.path)


async def _forward(
    destination: DestinationSettings,
    settings: Settings,
    *,
    buffer: Buffer,
    health: Health,
    acquired: asyncio.Event,
    commands: Commands | None,
) -> None:
    site, gateway = settings.gateway.site, settings.gateway.id
    payload = JsonPayload(
        site=site,
        gateway=gateway,
        epoch=buffer.epoch,
        topic=destination.topic,
        version=version("hub-gateway"),
        started_ms=time.time_ns() // 1_000_000,
        batch=destination.batch,
    )
    client_id = destination.client_id or f"hub-gateway-{site}-{gateway}"
    beside = None
    if commands is not None and destination.commands:
        topics = Topics(destination.topic, site=site, gateway=gateway)
        beside = partial(commands.serve, topics=topics, destination=destination.name)
    await forward(
        destination,
        broker=Broker(destination, client_id=client_id, will=payload.status(online=False)),
        buffer=buffer,
        payload=payload,
        health=health.destinations[destination.name],
        stopping=acquired,
        drain_s=DRAIN_S,
        beside=beside,
    )


async def _serve_pages(settings: Settings, health: Health) -> None:
    """Serve the pages, trying again while the address cannot be had: data matters more than its dashboard."""
    identity = Identity(
        site=settings.gateway.site,
        id=settings.gateway.id,
        version=version("hub-gateway"),
        started_monotonic_ns=time.monotonic_ns(),
    )
    backoff = Backoff(first_s=1.0, longest_s=60.0)
    while True:
        try:
            async with serve(settings.http.listen, health, identity=identity) as address:
                log.info("status page and metrics on http://%s", address)
                await asyncio.Event().wait()
        except HttpUnavailable as error:
            if not backoff.failures:
                log.error("no status page and no metrics, trying again: %s", error)  # noqa: TRY400
        await asyncio.sleep(backoff.next_s())


async def _keep_watch(health: Health, notifier: Notifier) -> None:
    """Measure how late the event loop is, tell the watchdog that it turns at all, and systemd how things are."""
    told = ""
    interval_s = min(_LAG_EVERY_S, notifier.watchdog_interval_s or _LAG_EVERY_S)
    loop = asyncio.get_running_loop()
    while True:
        expected_s = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        health.loop_lag_s = max(0.0, loop.time() - expected_s)
        notifier.watchdog()
        if (summary := _summary(health)) != told:
            notifier.status(summary)
            told = summary


def _summary(health: Health) -> str:
    """One line for `systemctl status`."""
    devices, destinations = health.devices.values(), health.destinations.values()
    reading = f"{sum(device.up for device in devices)} of {len(devices)} devices up"
    offline = ", ".join(destination.name for destination in destinations if not destination.up)
    return f"{reading}; not connected: {offline}" if offline else f"{reading}; all destinations connected"


async def _reload_when_asked(
    signals: Signals,
    started_with: Settings,
    acquisition: Acquisition,
    *,
    health: Health,
    notifier: Notifier,
    reread: Callable[[], Settings],
) -> None:
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        notifier.reloading()
        try:
            settings = await asyncio.to_thread(reread)
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)  # noqa: TRY400
            log.error("the config was not reloaded, everything runs on as before; mend the file and reload")  # noqa: TRY400
        else:
            log.info("config reloaded: %s", await acquisition.update(settings.devices))
            others = [name for name in _NEED_RESTART if getattr(settings, name) != getattr(started_with, name)]
            if others:
                log.warning("changed as well, but in effect only after a restart: %s", ", ".join(others))
        notifier.ready(_summary(health))


async def _cancel_when_set(event: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    await event.wait()
    for task in tasks:
        task.cancel()


@asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the body and cancel it on the way out. If it fails, so does the body."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine, name=name)
        try:
            yield
        finally:
            task.cancel()

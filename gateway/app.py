"""The composition root: the only module that knows everybody.

The nesting of the contexts is the order of shutdown, read from the inside out: acquiring stops first, forwarding drains
what is left, the pages go, the buffer closes last.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway.acquisition import Acquisition, Reach, acquiring
from gateway.backoff import Backoff
from gateway.buffer import Buffer, DropReason
from gateway.commands import Commands
from gateway.config import ConfigError, HttpSettings, Settings, load
from gateway.forwarding import DRAIN_S, Forwarding, forwarding
from gateway.health import Health
from gateway.loop import Loop
from gateway.sdnotify import Notifier
from gateway.tasks import TaskSet
from gateway.watch import Watch
from gateway.web import HttpUnavailable, Identity, serve

log = logging.getLogger(__name__)

SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
"""What the gateway listens to."""
_NEED_RESTART = ("gateway", "buffer", "commands")
_PAGES = "http"


@dataclass(frozen=True, slots=True)
class Signals:
    """What the outside asks for: to stop (draining), to stop at once, to read the config again."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_now: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    def on_reload(self) -> None:
        """Ask to read the config again; too late once the gateway stops."""
        if self.stop.is_set():
            log.info("not reloading the config: the gateway is stopping")
        else:
            self.reload.set()

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


def run_until_stopped(settings: Settings, *, config: Path) -> int:
    """Run the gateway until SIGTERM or SIGINT. Raises `BufferUnavailable` when the buffer cannot be opened.

    Returns how many readings were lost because they could not be committed before the end. SIGHUP reads `config` again
    and restarts the links and destinations whose settings changed. To be called with `SIGNALS` blocked, and returns so:
    none of them is missed, and none ends the process before the exit code can say what happened.
    """
    gc.collect()
    gc.freeze()  # modules and settings stay: nobody looks through them again, which takes tens of milliseconds
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(_run_with_signals(settings, config))


async def _run_with_signals(settings: Settings, config: Path) -> int:
    signals = Signals()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.on_stop)
    loop.add_signal_handler(signal.SIGHUP, signals.on_reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        return await run(settings, signals=signals, health=Health(), reread=lambda: load(config))
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


async def run(
    settings: Settings,
    *,
    signals: Signals,
    health: Health,
    reread: Callable[[], Settings],
    notifier: Notifier | None = None,
) -> int:
    """Run the gateway until `signals.stop`, keeping `health` up to date.

    Returns how many readings were lost because they could not be committed before the end. Raises `BufferUnavailable`.
    `reread` is called (in a thread) on `signals.reload`; whatever it raises, `ConfigError` above all, changes nothing.
    """
    watch = Watch(health, notifier or Notifier.from_environment())
    starts = {destination.name: destination.start for destination in settings.destinations}
    async with _background(watch.run(), name="watch"):
        async with Buffer.open(
            settings.buffer, destinations=tuple(starts), starts=starts, health=health.buffer
        ) as buffer:
            if signals.stop.is_set():  # asked while the buffer was opened
                watch.stopping()
            else:
                await _run_with(buffer, settings, signals=signals, health=health, watch=watch, reread=reread)
        left = {name: buffer.backlog(name) for name in health.destinations}
        log.info(
            "stopped; %d readings wait in %s%s",
            health.buffer.readings,
            settings.buffer.path,
            "".join(f"; {name} lacks {count}" for name, count in left.items() if count),
        )
    return health.buffer.dropped[DropReason.SHUTDOWN]


async def _run_with(
    buffer: Buffer,
    settings: Settings,
    *,
    signals: Signals,
    health: Health,
    watch: Watch,
    reread: Callable[[], Settings],
) -> None:
    reach = Reach()
    commands = Commands(settings.commands, writer=reach, health=health) if settings.commands.enabled else None
    applying = asyncio.Lock()
    async with (
        _pages(settings, health) as pages,
        forwarding(
            settings, buffer=buffer, health=health, commands=commands, skip_drain=signals.stop_now
        ) as destinations,
        acquiring(settings, buffer=buffer, health=health, reach=reach) as acquisition,
    ):
        watch.ready()
        reload = _reload_when_asked(
            signals,
            settings,
            pages=pages,
            destinations=destinations,
            acquisition=acquisition,
            watch=watch,
            reread=reread,
            applying=applying,
        )
        async with _background(reload, name="reload"):
            await signals.stop.wait()
            async with applying:
                watch.stopping()


@asynccontextmanager
async def _pages(settings: Settings, health: Health) -> AsyncIterator[TaskSet[HttpSettings]]:
    """Serve the pages while the block lasts, at an address that may change while it does."""
    identity = Identity(
        site=settings.gateway.site,
        id=settings.gateway.id,
        version=version("hub-gateway"),
        started_monotonic_ns=time.monotonic_ns(),
    )
    async with asyncio.TaskGroup() as group:
        pages = TaskSet[HttpSettings](group, lambda _, http: _serve_pages(http, health, identity))
        await pages.update({_PAGES: settings.http})
        try:
            yield pages
        finally:
            await pages.update({})


async def _serve_pages(http: HttpSettings, health: Health, identity: Identity) -> None:
    """Serve the pages, trying again while the address cannot be had: data matters more than its dashboard."""
    backoff = Backoff(first_s=1.0, longest_s=60.0)
    while True:
        try:
            async with serve(http.listen, health, identity=identity) as address:
                log.info("status page and metrics on http://%s", address)
                await asyncio.Event().wait()
        except HttpUnavailable as error:
            if not backoff.failures:
                log.error("no status page and no metrics, trying again: %s", error)  # noqa: TRY400
        await asyncio.sleep(backoff.next_s())


async def _reload_when_asked(
    signals: Signals,
    started_with: Settings,
    *,
    pages: TaskSet[HttpSettings],
    destinations: Forwarding,
    acquisition: Acquisition,
    watch: Watch,
    reread: Callable[[], Settings],
    applying: asyncio.Lock,
) -> None:
    """`applying` is held while a new config is put into effect: who holds it can rely on all of it or nothing."""
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        watch.reloading()
        settings = await _reread_config(reread)
        if settings is None:
            watch.ready()
            continue
        async with applying:
            # destinations first: a new one has the first reading of a new device
            served = await destinations.update(settings.destinations)
            log.info("config reloaded; links: %s", await acquisition.update(settings.devices))
            log.info("config reloaded; destinations: %s", served)
            await pages.update({_PAGES: settings.http})
            others = [name for name in _NEED_RESTART if getattr(settings, name) != getattr(started_with, name)]
            if others:
                log.warning("changed as well, but in effect only after a restart: %s", ", ".join(others))
            watch.ready()


async def _reread_config(reread: Callable[[], Settings]) -> Settings | None:
    """None when the config cannot be used, which the log tells then."""
    try:
        return await asyncio.to_thread(reread)
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem)  # noqa: TRY400
    except Exception:  # what cannot be read again must not end what runs
        log.exception("reading the config failed on a bug; report it with this traceback")
    log.error("the config was not reloaded, everything runs on as before; mend the file and reload")
    return None


@asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the body and cancel it on the way out. If it fails, so does the body. What only the body
    raises comes out as it is."""
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(coroutine, name=name)
            try:
                yield
            except Exception as error:
                failure = error
                raise
            finally:
                task.cancel()
    except ExceptionGroup as failures:
        if failure is not None and failures.exceptions == (failure,):
            raise failure from failure.__cause__
        raise

"""`hub-gateway demo`: a simulated hub, a broker and the gateway, live in one terminal.

Simulators and broker are processes of their own, as they would be in a hub; the gateway runs in this one. A subscriber
of its own counts what arrives at the broker, so that the last line is a proof and not a belief.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import urlsplit

from gateway.app import Signals, run
from gateway.audit import Ledger, listening
from gateway.buffer import BufferUnavailable, inspect
from gateway.config import ConfigError, Settings, load
from gateway.demo_table import live_table
from gateway.health import Health
from gateway.logs import LogFormat, start_logging

_READY_S = 20.0
_ENDED_S = 5.0
_ARRIVED_S = 5.0
_PAGE = "127.0.0.1", 9464


class DemoUnavailable(Exception):
    """The demo cannot be shown; the message says what is missing."""


def run_demo(
    *,
    for_s: float | None,
    broker: str | None,
    listen: str | None,
    folder: Path | None,
    log_format: LogFormat | None,
    log_level: str,
) -> None:
    """Run until SIGINT, SIGTERM or `for_s` seconds have passed, then print the proof. Raises `DemoUnavailable`."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-gateway-demo-")))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context((folder / "gateway.log").open("a"))
        except OSError as error:
            raise DemoUnavailable(f"cannot write to {folder}: {error.strerror}; choose another --dir") from error
        start_logging(log_format or LogFormat.TEXT, level=log_level, stream=log)
        try:
            asyncio.run(_demo(folder, for_s=for_s, broker=broker, listen=listen or _page()))
        except asyncio.CancelledError:
            return  # stopped before there was anything to show


async def _demo(folder: Path, *, for_s: float | None, broker: str | None, listen: str) -> None:
    signals, health = Signals(), Health()
    this = asyncio.current_task()
    assert this is not None
    _when_stopped(this.cancel)  # until there is something to drain
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_broker(broker, folder))
        endpoints = await stack.enter_async_context(_simulators(folder))
        settings = _settings(folder, url, listen, endpoints)
        topic = f"hub/{settings.gateway.site}/{settings.gateway.id}/#"
        try:
            ledger = Ledger()
            await stack.enter_async_context(listening(settings.destinations[0], [topic], ledger=ledger, name="hubdemo"))
        except OSError as error:
            raise DemoUnavailable(f"cannot reach the broker {url}: {error}") from error
        _when_stopped(signals.on_stop)
        if for_s is not None:
            asyncio.get_running_loop().call_later(for_s, signals.stop.set)
        path = settings.buffer.path
        try:
            before = inspect.status(path).last_position if path.exists() else 0
            async with asyncio.TaskGroup() as group:
                table = group.create_task(live_table(health, broker=url, page=listen, log=folder / "gateway.log"))
                await run(settings, signals=signals, health=health, reread=lambda: settings)
                table.cancel()
        except* BufferUnavailable as errors:
            raise DemoUnavailable(str(errors.exceptions[0])) from errors
        await _print_proof(path, health=health, ledger=ledger, before=before, url=url)


async def _print_proof(path: Path, *, health: Health, ledger: Ledger, before: int, url: str) -> None:
    status = inspect.status(path)
    first, last = before + 1, status.last_position
    waiting = sum(status.backlog.values())
    await asyncio.to_thread(ledger.wait_for, status.epoch, first, last, but=waiting, timeout_s=_ARRIVED_S)
    missing = ledger.missing(status.epoch, first, last)
    lost = max(0, missing - waiting)
    twice = sum(one.duplicates for one in ledger.verdict().epochs)
    doubt = " (or sent while the subscriber itself was disconnected)" if lost and ledger.interruptions else ""
    print(f"\nreadings taken    {last - before}")
    print(f"acknowledged      {sum(one.acknowledged for one in health.destinations.values())} by {url}")
    print(f"received          {last - before - missing} by a subscriber, {twice} of them twice")
    print(f"still waiting     {waiting}")
    print(f"lost              {lost}{doubt}")


def _when_stopped(handler: Callable[[], object]) -> None:
    """What Ctrl-C, SIGTERM and a terminal that is closed do from now on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, handler)


def _settings(folder: Path, broker: str, listen: str, endpoints: dict[str, str]) -> Settings:
    environment = {
        **os.environ,
        **{f"DEMO_{name.upper().replace('-', '_')}": url for name, url in endpoints.items()},
        "DEMO_FOLDER": str(folder.resolve()),
        "DEMO_BROKER": broker,
        "DEMO_LISTEN": listen,
    }
    try:
        with as_file(files("gateway") / "demo_config") as folder_of_config:
            return load(folder_of_config / "demo.yaml", environment=environment)
    except ConfigError as error:
        raise DemoUnavailable(str(error)) from error


@asynccontextmanager
async def _simulators(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The URLs of the simulated machines, by name."""
    log = folder / "simulators.log"
    async with _child(sys.executable, "-m", "simulators", "run", "small-hub", log=log) as process:
        yield await _endpoints(process, what="the simulated hub", log=log)


@asynccontextmanager
async def _broker(url: str | None, folder: Path) -> AsyncIterator[str]:
    """The URL of a broker: the one given, else an installed mosquitto, else the one of the extra `demo`."""
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    log = folder / "broker.log"
    if url is not None:
        if urlsplit(url).scheme != "mqtt":
            raise DemoUnavailable(f"--broker {url}: the demo speaks plain MQTT, for example mqtt://127.0.0.1:1883")
        yield url
    elif mosquitto is None:
        async with _child(sys.executable, "-m", "simulators", "broker", log=log) as process:
            yield (await _endpoints(process, what="the broker", log=log))["broker"]
    else:
        port = _free_port()
        config = folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        async with _child(mosquitto, "-c", str(config), log=log) as process:
            await _listens(process, port, log=log)
            yield f"mqtt://127.0.0.1:{port}"


@asynccontextmanager
async def _child(*command: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that writes its complaints to `log` and is ended with the block.

    It has a session of its own, so that Ctrl-C stops the gateway first and it last.
    """
    with log.open("wb") as complaints:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=complaints, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_ENDED_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _endpoints(process: asyncio.subprocess.Process, *, what: str, log: Path) -> dict[str, str]:
    """The endpoints in the line that the process prints once they are there."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_S):
            line = await process.stdout.readline()
    except TimeoutError as error:
        raise DemoUnavailable(f"{what} is not ready after {_READY_S:g} s ({_last_line(log)})") from error
    if not line:
        hint = "if a module is missing: pip install 'hub-gateway[demo]'"
        raise DemoUnavailable(f"{what} did not start ({_last_line(log)}); {hint}")
    endpoints: dict[str, str] = json.loads(line)["endpoints"]
    return endpoints


async def _listens(process: asyncio.subprocess.Process, port: int, *, log: Path) -> None:
    """Wait until the broker takes connections."""
    deadline_s = asyncio.get_running_loop().time() + _READY_S
    while process.returncode is None and asyncio.get_running_loop().time() < deadline_s:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise DemoUnavailable(f"mosquitto did not start ({_last_line(log)}); name a broker with --broker")


def _last_line(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2]


def _page() -> str:
    """The address of the status page when nobody asks for another: the usual one, or a free one when that is taken."""
    host, port = _PAGE
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(_PAGE)
        except OSError:
            port = _free_port()
    return f"{host}:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

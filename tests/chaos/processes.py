"""The gateway, the brokers, the devices, the disk and the clock: real ones, which can be hurt and healed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.subscriber import Subscriber, subscriber
from tests.chaos.wire import Wire

FULL = 74
"""The exit code of a gateway that cannot open its buffer."""
_TOLD_MORE = {"none", "exception", "antenna-lost", "wrong-clock"}
_RESTART_S = 0.5
_STOP_S = 60.0


class Diary:
    """What happened when, in seconds since the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started_s = time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._started_s

    def note(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{self.now_s:8.3f} {text}\n")


class Clock:
    """The wall clock that a process sees: the real one and an offset. Everybody else's is left alone."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "clock"
        self._library = folder / "wall_clock.so"
        source = Path(__file__).with_name("wall_clock.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self._library, source], check=True)
        self._offset.write_bytes(bytes(8))

    def jump(self, offset_s: int) -> None:
        """The offset from the real time, from now on."""
        with self._offset.open("r+b", buffering=0) as file:
            file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))

    def environment(self) -> dict[str, str]:
        """What a process needs in order to see it."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._offset)}


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full = False
        self._filling = folder / "filling"

    def fill(self) -> None:
        """Leave no byte."""
        self.is_full = True
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        self._filling.unlink(missing_ok=True)
        self.is_full = False


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """A tmpfs that is mounted on `folder` while the block lasts. Fails the test when that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.fail(f"a disk that fills up needs root, to mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Broker:
    """A mosquitto that comes back on the same port, behind a wire that lets nobody in before the subscriber is."""

    def __init__(self, folder: Path, name: str, *, rules: list[str]) -> None:
        self.name = name
        self.port = free_port()
        self.lock = asyncio.Lock()
        self.ended = 0
        """How often it was ended."""
        self.down_s: list[float] = []
        """How long it was away, each time."""
        self.wire: Wire
        self.subscriber: Subscriber
        self.received = folder / f"{name}.received"
        self._config = folder / f"{name}.conf"
        self._process: subprocess.Popen[bytes] | None = None
        store = folder / name
        store.mkdir()
        (store / "rules").write_text("\n".join([*rules, "topic readwrite #", ""]))
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nacl_file {store}/rules\nuser root\n"
            f"persistence true\npersistence_location {store}/\nautosave_interval 5\n"
            f"max_queued_messages 1000000\nmax_inflight_messages 100\n"
        )

    async def start(self) -> None:
        """Start, and let the gateway in when the subscriber is there."""
        self._spawn()
        await until(lambda: listens(self.port), what=f"{self.name} listens")
        if self.ended:
            await self.admit()

    async def admit(self) -> None:
        """Let the gateway in when the subscriber is there."""
        await until(self.subscriber.subscribed.is_set, what=f"the subscriber is back at {self.name}")
        self.wire.is_open = True

    def end(self, how: signal.Signals) -> None:
        """End it, and wait for its end."""
        assert self._process is not None
        self.ended += 1
        self.wire.is_open = False
        self._process.send_signal(how)
        self._process.wait(30)

    async def away(self, how: signal.Signals, *, lasts_s: float) -> None:
        """End it and start it again some time later."""
        since_s = time.monotonic()
        self.end(how)
        await asyncio.sleep(lasts_s)
        await self.start()
        self.down_s.append(time.monotonic() - since_s)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _spawn(self) -> None:
        with self._config.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", self._config], stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def brokers(*which: Broker) -> AsyncIterator[None]:
    """Run these, each with its subscriber, while the block lasts. Their wires are closed until then."""
    with contextlib.ExitStack() as stack:
        for broker in which:
            stack.callback(broker.kill)
            await broker.start()
            broker.subscriber = stack.enter_context(subscriber(broker.port, broker.received))
            await broker.admit()
        yield


class Gateway:
    """The gateway's process, started again whenever it ends, as systemd does."""

    def __init__(self, config: Path, *, clock: Clock, disk: Disk, diary: Diary) -> None:
        self.lock = asyncio.Lock()
        self.log = config.with_name("gateway.log")
        self.starts = 0
        self.kept_out = 0
        """How often it could not open its buffer because the disk was full."""
        self.surprises: list[str] = []
        """Ends that nobody asked for."""
        self._config = config
        self._clock = clock
        self._disk = disk
        self._diary = diary
        self._process: asyncio.subprocess.Process | None = None
        self._asked: set[int] = set()
        self._ready = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Until `stop_for_good`, or cancelled."""
        while not self._over:
            address = self._config.with_name(f"notify-{self.starts}")
            with self._listening(address):
                await self._live(address)

    async def ready(self) -> None:
        """Wait until it says that it runs."""
        async with asyncio.timeout(60):
            await self._ready.wait()

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, {-signal.SIGKILL})

    async def stop(self, *, again_after_s: float | None = None) -> None:
        """SIGTERM, perhaps twice. It has to be ready."""
        await self._end(signal.SIGTERM, {0}, again_after_s=again_after_s)

    async def stop_for_good(self) -> None:
        self._over = True
        await self.stop()

    def reload(self) -> None:
        """SIGHUP. It has to be ready."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def freeze(self, *, lasts_s: float) -> None:
        """Let it stand still for a while, as a machine that is suspended does."""
        await until(lambda: self._process is not None, what="the gateway is there")
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(lasts_s)
        self._process.send_signal(signal.SIGCONT)

    def said(self, text: str) -> int:
        """How many lines of its log hold this."""
        return self.log.read_text().count(text) if self.log.exists() else 0

    async def _live(self, address: Path) -> None:
        environment = {**os.environ, **self._clock.environment(), "NOTIFY_SOCKET": str(address)}
        self._asked = set()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "run", "-c", str(self._config),
            env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.starts += 1
        self._diary.note(f"gateway {process.pid} started")
        try:
            await self._copy_log(process)
            code = await process.wait()
        finally:
            self._ready.clear()
            self._process = None
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._diary.note(f"gateway {process.pid} ended with {code}")
        if code not in self._asked:
            if code == FULL and self._disk.is_full:
                self.kept_out += 1
            else:
                self.surprises.append(f"at {self._diary.now_s:.1f} s gateway {process.pid} ended with {code}")
            await asyncio.sleep(_RESTART_S)

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self.log.open("ab", buffering=0) as log:
            async for line in process.stderr:
                log.write(b"%8.3f [%d] %s" % (self._diary.now_s, process.pid, line))

    async def _end(self, how: signal.Signals, codes: set[int], *, again_after_s: float | None = None) -> None:
        await until(lambda: self._process is not None, what="the gateway is there")
        process = self._process
        assert process is not None
        self._asked = codes
        process.send_signal(how)
        try:
            async with asyncio.timeout(_STOP_S):
                if again_after_s is not None:
                    await asyncio.sleep(again_after_s)
                    if process.returncode is None:
                        process.send_signal(how)
                await until(lambda: self._process is not process, what="it has ended", timeout_s=2 * _STOP_S)
        except TimeoutError:
            self.surprises.append(f"at {self._diary.now_s:.1f} s gateway {process.pid} does not end after {how.name}")
            process.kill()

    @contextmanager
    def _listening(self, address: Path) -> Iterator[None]:
        """For what a gateway tells systemd. Each process has an address of its own: nothing comes late."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.setblocking(False)
            notified.bind(str(address))
            loop.add_reader(notified, self._notified, notified)
            try:
                yield
            finally:
                loop.remove_reader(notified)
                address.unlink()

    def _notified(self, notified: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            if b"READY=1" in notified.recv(4096):
                self._ready.set()


@contextmanager
def libmodbus_fleet(folder: Path, *, devices: int, registers: int) -> Iterator[list[int]]:
    """The ports of devices that share no code with the gateway, nor with the simulators."""
    binary, source = folder / "libmodbus_fleet", Path(__file__).with_name("libmodbus_fleet.c")
    subprocess.run(["gcc", "-O1", "-o", binary, source, "-lmodbus"], check=True)
    with subprocess.Popen([binary, str(devices), str(registers)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [int(process.stdout.readline()) for _ in range(devices)]
        finally:
            process.kill()


class Simulators:
    """The simulated machines: their URLs, and the port at which they are told to misbehave."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.urls: dict[str, str] = ready["endpoints"]
        self._control = ready["control"]

    def can(self) -> dict[str, list[str]]:
        """The faults that each endpoint knows, but for those that need to be told more."""
        endpoints = self._ask("/", None)["endpoints"]
        return {name: sorted({*one["possible_faults"]} - _TOLD_MORE) for name, one in endpoints.items()}

    def misbehave(self, endpoint: str, fault: str, *, for_s: float) -> None:
        more = {"slow": {"for_s": for_s, "delay_ms": 300}, "restart": {}}.get(fault, {"for_s": for_s})
        self._ask("/faults", {"endpoint": endpoint, "fault": fault, **more})

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._control + path, data, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def simulators(layout: Path, *, seed: int) -> Iterator[Simulators]:
    """Machines of `layout` in a process of their own."""
    command = [sys.executable, "-m", "simulators", "run", str(layout), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield Simulators(json.loads(process.stdout.readline()))
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Look again and again until it is true. Raises AssertionError when it does not come true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.05)

"""A real broker: mosquitto on a free loopback port, started and stopped by the test, and an independent subscriber."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen, run
from typing import Any, NamedTuple

import orjson
import pytest

pytest_plugins = ["tests.plugins.scripted_broker"]

_FOUND = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class Message(NamedTuple):
    """What a subscriber received. `retained` means that it was there before the subscription."""

    topic: str
    retained: bool
    payload: bytes


class Subscriber:
    """`mosquitto_sub`, which shares no code with the gateway."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._early: deque[Message] = deque()

    async def next(self, *, timeout_s: float = 10.0) -> Message:
        """The next message."""
        if self._early:
            return self._early.popleft()
        async with asyncio.timeout(timeout_s):
            while (message := await self._read()).topic == "probe":
                pass
        return message

    async def until(self, done: Callable[[Any], bool], *, timeout_s: float = 20.0) -> list[Any]:
        """Every JSON payload from now to the first for which `done` is true, that one included."""
        payloads = []
        async with asyncio.timeout(timeout_s):
            while True:
                payloads.append(orjson.loads((await self.next(timeout_s=timeout_s)).payload))
                if done(payloads[-1]):
                    return payloads

    async def subscribed(self) -> None:
        """Wait until the message that is published to the topic `probe` arrives; keep what comes before it."""
        while (message := await self._read()).topic != "probe":
            self._early.append(message)

    async def _read(self) -> Message:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the subscriber lost its connection"
        retained, topic, payload = line.rstrip(b"\n").split(b" ", 2)
        return Message(topic.decode(), retained == b"1", payload)


class Mosquitto:
    """One broker process with its own folder and port, which stay the same over restarts.

    `options` are lines of mosquitto.conf; those after `listener` apply to the one listener.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.options: list[str] = ["allow_anonymous true"]
        self._process: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the broker has logged so far."""
        path = self.folder / "mosquitto.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Start and wait until it listens."""
        config = self.folder / "mosquitto.conf"
        own = [f"user {getpass.getuser()}", "log_dest file mosquitto.log", "log_type all", "connection_messages true"]
        lines = [*own, f"listener {self.port} 127.0.0.1", *self.options]
        config.write_text("\n".join(lines) + "\n")
        assert _FOUND is not None
        self._process = Popen([_FOUND, "-c", str(config)], cwd=self.folder, stdout=DEVNULL, stderr=DEVNULL)
        deadline_s = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, f"mosquitto did not start: {self.log}"
            assert time.monotonic() < deadline_s, "mosquitto does not listen"
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for its end. Does nothing when it is not running."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Keep every socket open and answer nothing: a half-open connection for all clients."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def remember(self) -> None:
        """Keep sessions and messages on disk: all there is at each call while running, and at each orderly end."""
        store = self.folder / "mosquitto.db"
        if self._process is None:
            self.options += ["persistence true", f"persistence_location {self.folder}/", "max_queued_messages 0"]
            return
        store.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + 10
        while not store.exists():
            assert time.monotonic() < deadline_s, "mosquitto does not save its state"
            time.sleep(0.01)

    def password(self, username: str, password: str) -> None:
        """Accept this user, and nobody without a password."""
        path = self.folder / "passwords"
        path.touch()
        run(["mosquitto_passwd", "-b", str(path), username, password], check=True)
        path.chmod(0o644)
        self.options = [line for line in self.options if not line.startswith(("allow_anonymous", "password_file"))]
        self.options += ["allow_anonymous false", f"password_file {path}"]

    def access(self, *rules: str) -> None:
        """Access rules as in mosquitto's `acl_file`; what they do not name is refused. It may be running."""
        path = self.folder / "access"
        path.write_text("\n".join(rules) + "\n")
        path.chmod(0o644)
        if self._process is None:
            self.options.append(f"acl_file {path}")
            return
        reloads = self.log.count("Reloading config")
        self._process.send_signal(signal.SIGHUP)
        deadline_s = time.monotonic() + 10
        while self.log.count("Reloading config") == reloads:
            assert time.monotonic() < deadline_s, "mosquitto does not read its rules again"
            time.sleep(0.01)

    @asynccontextmanager
    async def subscriber(self, *topics: str, session: str | None = None) -> AsyncIterator[Subscriber]:
        """A subscriber to `topics` with QoS 1, subscribed when this yields.

        For one with a `session` name the broker keeps what it misses; see `remember`.
        """
        kept = () if session is None else ("-c", "-i", session)
        process = await asyncio.create_subprocess_exec(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-F", "%r %t %p", *kept,
            *(argument for topic in ("probe", *topics) for argument in ("-t", topic)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        subscriber = Subscriber(process)
        try:
            await self._subscribed(subscriber)
            yield subscriber
        finally:
            if process.returncode is None:
                process.kill()
            process._transport.close()  # type: ignore[attr-defined] # else what nobody has read keeps `wait` waiting
            await process.wait()

    async def _subscribed(self, subscriber: Subscriber) -> None:
        heard = asyncio.Event()

        async def knock() -> None:
            while not heard.is_set():
                await self.publish("probe", "?")
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            group.create_task(knock())
            await subscriber.subscribed()
            heard.set()

    async def publish(self, topic: str, payload: str) -> None:
        """Publish as an independent client."""
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-t", topic, "-m", payload
        )
        assert await process.wait() == 0


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not started yet."""
    if _FOUND is None:
        pytest.fail("mosquitto is not installed: apt-get install mosquitto mosquitto-clients")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    yield broker
    broker.stop(signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

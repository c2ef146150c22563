"""Mosquittos that can be ended, and come back as they were."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.subscriber import Subscriber, subscriber
from tests.chaos.waiting import until
from tests.chaos.wire import Wire


class Broker:
    """A mosquitto that comes back on the same port, behind a wire that lets nobody in before the subscriber is.

    `refuses`: the topic of which it takes nothing, until it is told otherwise."""

    def __init__(self, folder: Path, name: str, *, refuses: str | None = None) -> None:
        self.name = name
        self.refuses = refuses
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
        self._rules = store / "rules"
        self._write_rules(refusing=True)
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nacl_file {self._rules}\nuser root\n"
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

    def relent(self) -> None:
        """Take what it refuses, until `refuse`."""
        self._write_rules(refusing=False)
        self._reload()

    def refuse(self) -> None:
        self._write_rules(refusing=True)
        self._reload()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _write_rules(self, *, refusing: bool) -> None:
        denied = f"topic deny {self.refuses}\n" if refusing and self.refuses is not None else ""
        self._rules.write_text(f"{denied}topic readwrite #\n")

    def _reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

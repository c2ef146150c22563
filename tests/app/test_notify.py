"""What systemd hears from the real process."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway, until
from tests.app.test_stop import locked
from tests.plugins.mosquitto import Mosquitto
from tests.plugins.scripted_broker import Client, Scripted


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(20)
        listener.bind(str(tmp_path / "notify"))
        yield listener


def test_systemd_hears_of_start_life_reload_and_stop_in_this_order(
    gateway: Gateway, fleet: Fleet, systemd: socket.socket
) -> None:
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    gateway.launch(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="200000")
    ready, status = _next(systemd, "READY=1")  # although the broker is down
    assert ready == "READY=1"
    assert re.fullmatch(r"STATUS=[0-2] of 2 devices up; not connected: broker", status)
    assert _next(systemd, "STATUS=2 of 2") == ["STATUS=2 of 2 devices up; not connected: broker"]
    for _ in range(10):
        assert _next(systemd, "WATCHDOG=1") == ["WATCHDOG=1"]

    gateway.settings["devices"] = [fleet.device(2)]
    gateway.write()
    gateway.send(signal.SIGHUP)
    _assert_reload(systemd, "STATUS=1 of 1 devices up; not connected: broker")

    gateway.config.write_text("devices: 7")
    gateway.send(signal.SIGHUP)
    _assert_reload(systemd, "STATUS=1 of 1 devices up; not connected: broker")

    gateway.send(signal.SIGTERM)
    assert _next(systemd, "STOPPING=1") == ["STOPPING=1", "STATUS=stopping"]
    assert gateway.ended() == 0


def test_a_reload_that_meets_a_bug_is_told_and_over_and_the_gateway_runs_on(
    gateway: Gateway, fleet: Fleet, systemd: socket.socket, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    (packages / "broken-1.dist-info").mkdir(parents=True)
    (packages / "broken-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (packages / "broken-1.dist-info" / "entry_points.txt").write_text("[hub_gateway.drivers]\nbroken = broken:FAMILY\n")
    (packages / "broken.py").write_text("FAMILY = 1 / 0\n")
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.launch(NOTIFY_SOCKET=systemd.getsockname(), PYTHONPATH=str(packages))
    _next(systemd, "READY=1")
    _next(systemd, "STATUS=1 of 1")
    gateway.settings["devices"] = [fleet.device(1) | {"driver": "broken"}]
    gateway.write()
    gateway.send(signal.SIGHUP)
    _assert_reload(systemd, "STATUS=1 of 1 devices up; not connected: broker")
    assert "ZeroDivisionError" in gateway.log
    assert "the config was not reloaded, everything runs on as before" in gateway.log
    assert gateway.stop() == 0


async def test_the_watchdog_is_fed_while_the_destinations_are_waited_for(
    gateway: Gateway, scripted: Scripted, fleet: Fleet, systemd: socket.socket
) -> None:
    published = asyncio.Event()

    async def never_acknowledges(client: Client) -> None:
        await client.version()
        client.connack()
        while True:
            _, topic, _ = await client.publish()
            if not topic.endswith("status"):
                published.set()

    async with scripted.plays(never_acknowledges):
        gateway.settings["destinations"][0]["url"] = scripted.url
        gateway.settings["devices"] = [fleet.device(1)]
        gateway.launch(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="100000")
        async with asyncio.timeout(20):
            await published.wait()
        await asyncio.to_thread(_next, systemd, "READY=1")
        gateway.send(signal.SIGTERM)
        await asyncio.to_thread(_next, systemd, "STOPPING=1")
        for _ in range(10):
            await asyncio.to_thread(_next, systemd, "WATCHDOG=1")
        gateway.send(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.ended, timeout_s=5) == 0
    assert {message.split("=")[0] for message in _rest(systemd)} <= {"WATCHDOG", "STATUS"}


def test_the_watchdog_is_fed_while_the_buffer_is_closed(gateway: Gateway, fleet: Fleet, systemd: socket.socket) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.launch(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="100000")
    _next(systemd, "READY=1")
    with locked(gateway.buffer):  # for which each of the last attempts waits a second
        gateway.wait_for_log("readings are kept in memory")
        gateway.send(signal.SIGTERM)
        assert _next(systemd, "STOPPING=1") == ["STOPPING=1", "STATUS=stopping"]
        for _ in range(5):
            _next(systemd, "WATCHDOG=1")
        assert gateway.ended() == 74
    last = [message for message in _rest(systemd) if message.startswith("STATUS=")]
    assert not last or re.fullmatch(r"STATUS=stopping; \d+ readings wait", last[-1])


def test_systemd_hears_that_opening_the_buffer_takes_its_time(
    gateway: Gateway, fleet: Fleet, systemd: socket.socket
) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.start()
    assert gateway.stop() == 0
    with locked(gateway.buffer):
        gateway.launch(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="100000")
        assert _next(systemd, "STATUS=") == ["STATUS=opening the buffer", "EXTEND_TIMEOUT_USEC=30000000"]
        assert gateway.ended() == 74
    assert "hub-gateway: cannot open the buffer" in gateway.log
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
def test_each_edge_is_told_once_when_reload_and_stop_come_together(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, systemd: socket.socket, first: signal.Signals
) -> None:
    mosquitto.start()
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    gateway.launch(NOTIFY_SOCKET=systemd.getsockname())
    until(lambda: "broker: connected" in gateway.log, "it is connected")
    gateway.settings["destinations"][0]["keepalive"] = "17s"
    gateway.write()
    gateway.send(first)
    gateway.send(signal.SIGTERM if first is signal.SIGHUP else signal.SIGHUP)
    assert gateway.ended() == 0
    edges = "".join(message[0] + message[2] for message in _rest(systemd) if message.startswith(("REA", "REL", "STOP")))
    allowed = {"RASO", "RARLSO", "RARLRASO"}  # ready, (reloading, (ready)), stopping
    assert edges in allowed


def _rest(systemd: socket.socket) -> list[str]:
    """What has come and was not read yet. The process has ended."""
    systemd.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(systemd.recv(4096).decode())
    except BlockingIOError:
        return messages


def _assert_reload(systemd: socket.socket, status: str) -> None:
    reloading, moment = _next(systemd, "RELOADING=1")
    assert reloading == "RELOADING=1"
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", moment)
    assert _next(systemd, "READY=1") == ["READY=1", status]


def _next(systemd: socket.socket, begins: str) -> list[str]:
    """The lines of the next message that begins so. Only news of life and status may come before it."""
    deadline_s = time.monotonic() + 20.0
    while time.monotonic() < deadline_s:
        message = systemd.recv(4096).decode()
        if message.startswith(begins):
            return message.split("\n")
        assert message.startswith(("WATCHDOG=1", "STATUS=")), message
    raise TimeoutError(f"no message began with {begins}")

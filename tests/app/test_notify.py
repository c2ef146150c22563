"""What systemd hears from the real process."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway


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

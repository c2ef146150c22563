"""Notifications as a real datagram socket receives them."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.sdnotify import Notifier


class Systemd:
    """The receiving end."""

    def __init__(self, variable: str, receiver: socket.socket) -> None:
        self.environment = {"NOTIFY_SOCKET": variable}
        self._receiver = receiver

    def heard(self) -> list[str]:
        """The fields of the datagrams that wait, each datagram as one text."""
        datagrams = []
        while True:
            try:
                datagrams.append(self._receiver.recv(65536).decode())
            except BlockingIOError:
                return datagrams


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    path = str(tmp_path / "notify")
    variable, address = (
        (path, path) if request.param == "path" else (name := f"@hub-gateway-{uuid4()}", f"\0{name[1:]}")
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.setblocking(False)
        yield Systemd(variable, receiver)


def test_ready_says_so_with_a_status_in_one_datagram(systemd: Systemd) -> None:
    Notifier.from_environment(systemd.environment).ready("4 devices, 1 destination")
    assert systemd.heard() == ["READY=1\nSTATUS=4 devices, 1 destination"]


def test_stopping_says_so(systemd: Systemd) -> None:
    Notifier.from_environment(systemd.environment).stopping()
    assert systemd.heard() == ["STOPPING=1\nSTATUS=stopping"]


def test_the_watchdog_is_fed(systemd: Systemd) -> None:
    Notifier.from_environment(systemd.environment).watchdog()
    assert systemd.heard() == ["WATCHDOG=1"]


def test_reloading_carries_the_monotonic_time(systemd: Systemd) -> None:
    before = time.monotonic_ns() // 1000
    Notifier.from_environment(systemd.environment).reloading()
    [datagram] = systemd.heard()
    reloading, _, microseconds = datagram.partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000


def test_a_status_is_one_line_whatever_its_text(systemd: Systemd) -> None:
    Notifier.from_environment(systemd.environment).status("broker away\nMAINPID=1\r\nsince 3 s \ud800")
    assert systemd.heard() == ["STATUS=broker away MAINPID=1 since 3 s ?"]


@pytest.mark.parametrize("variable", ["", "@", "vsock:2:9999", "relative/path"])
def test_without_a_socket_of_systemd_nothing_is_sent(variable: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": variable} if variable else {})
    notifier.ready("4 devices")
    notifier.watchdog()
    assert caplog.records == []


@pytest.mark.parametrize("address", ["/nonexistent/notify", "/" + "x" * 200, "/with\0nul"])
def test_a_socket_that_is_gone_is_a_warning_and_no_more(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier.from_environment({"NOTIFY_SOCKET": address}).ready("4 devices")
    assert "cannot notify systemd" in caplog.text


def test_a_socket_that_comes_and_goes_is_told_at_its_edges(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "notify"
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(path)})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            notifier.watchdog()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            notifier.watchdog()
            notifier.watchdog()
        notifier.watchdog()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    lost = "cannot notify systemd on $NOTIFY_SOCKET of WATCHDOG=1"
    assert told == [lost, "systemd is notified again; 3 notifications did not reach it", lost]


def test_a_status_too_long_for_a_datagram_is_a_warning_and_no_more(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier.from_environment(systemd.environment).status("x" * 10_000_000)
    assert "cannot notify systemd" in caplog.text


def test_the_watchdog_interval_is_half_of_what_systemd_allows() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 15.0
    assert (
        Notifier.from_environment({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s
        == 15.0
    )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_process_that_is_not_watched_has_no_interval(environment: dict[str, str]) -> None:
    assert Notifier.from_environment(environment).watchdog_interval_s is None

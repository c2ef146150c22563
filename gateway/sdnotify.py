"""Telling systemd how the service is: the datagrams of sd_notify(3), the watchdog interval of sd_watchdog_enabled(3).

Outside systemd every call does nothing. Nothing here ever raises: a lost notification must not stop the gateway.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

SEND_S = 0.5
EXTEND_S = 30.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Notifier:
    """Sends each notification as one datagram and keeps no socket; without an address it sends nothing."""

    address: str | None = None
    """Where systemd listens, as the kernel names it: a path, or an abstract name that begins with NUL."""
    watchdog_interval_s: float | None = None
    """Call `watchdog` this often (half the time systemd allows); None when systemd does not watch this process."""
    _lost: int = field(default=0, init=False)
    """Notifications that could not be sent since the last one that was."""

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Notifier:
        """What `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID` say."""
        return Notifier(_address(environment.get("NOTIFY_SOCKET", "")), _watchdog_interval_s(environment))

    def starting(self, status: str) -> None:
        """Start-up takes its time. Say so at least every `EXTEND_S` seconds, or systemd gives up."""
        self._send(_status(status), f"EXTEND_TIMEOUT_USEC={int(EXTEND_S * 1e6)}")

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(text))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. Carries the time that `Type=notify-reload` asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Shutdown begins."""
        self._send("STOPPING=1", "STATUS=stopping")

    def watchdog(self) -> None:
        """The event loop turns. Not withheld for a missing network or a full disk: a restart would mend neither."""
        self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> None:
        if self.address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_S)
                sender.sendto("\n".join(fields).encode(errors="replace"), self.address)
        except OSError as error:
            if not self._lost:
                _log.warning("cannot notify systemd on $NOTIFY_SOCKET of %s: %s", fields[0], error)
            self._lost += 1
        else:
            if self._lost:
                _log.warning("systemd is notified again; %d notifications did not reach it", self._lost)
            self._lost = 0


def _address(variable: str) -> str | None:
    """A path, or an abstract name, which begins with `@` in the variable and with NUL for the kernel."""
    if variable.startswith("@") and len(variable) > 1:
        return f"\0{variable[1:]}"
    return variable if variable.startswith("/") else None


def _status(text: str) -> str:
    """The text as one line: a newline in it would start a field of its own."""
    return f"STATUS={' '.join(text.split())}"


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    allowed_us = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", str(os.getpid()))
    if watched != str(os.getpid()) or not allowed_us.isdecimal() or int(allowed_us) == 0:
        return None
    return int(allowed_us) / 2e6

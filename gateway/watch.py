"""Tells systemd how things are, from before the buffer is opened until it is closed, and that the event loop turns."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from gateway.health import Health
from gateway.sdnotify import Notifier

_LAG_EVERY_S = 0.5


class _Stage(Enum):
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()


class Watch:
    """`run` is its task, for as long as the process has something to do."""

    def __init__(self, health: Health, notifier: Notifier) -> None:
        self._health = health
        self._notifier = notifier
        self._stage = _Stage.STARTING
        self._told = ""

    async def run(self) -> None:
        """Measure how late the event loop is, feed the watchdog, and keep the status line up to date."""
        interval_s = min(_LAG_EVERY_S, self._notifier.watchdog_interval_s or _LAG_EVERY_S)
        loop = asyncio.get_running_loop()
        while True:
            expected_s = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            self._health.loop_lag_s = max(0.0, loop.time() - expected_s)
            self._notifier.watchdog()
            if self._stage is _Stage.STARTING:
                self._notifier.starting("opening the buffer")
            elif (summary := self._summary()) != self._told:
                self._notifier.status(summary)
                self._told = summary

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._notifier.reloading()

    def ready(self) -> None:
        """The start, or a reload, is complete."""
        self._stage = _Stage.RUNNING
        self._told = self._summary()
        self._notifier.ready(self._told)

    def stopping(self) -> None:
        """The gateway has begun to stop."""
        self._stage = _Stage.STOPPING
        self._notifier.stopping()

    def _summary(self) -> str:
        """One line for `systemctl status`."""
        if self._stage is _Stage.STOPPING:
            return f"stopping; {self._health.buffer.readings} readings wait"
        devices, destinations = self._health.devices.values(), self._health.destinations.values()
        reading = f"{sum(device.up for device in devices)} of {len(devices)} devices up"
        offline = ", ".join(destination.name for destination in destinations if not destination.up)
        return f"{reading}; not connected: {offline}" if offline else f"{reading}; all destinations connected"

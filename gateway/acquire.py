"""Acquisition: one supervisor per link connects, reads what is due, and appends to the buffer.

The supervisor holds all policy, the driver none. The type of an error is the decision:

- `DeviceUnavailable`: leave the session, every point of the link goes bad once, back off, connect again.
- `BadResponse`: this reading is bad. A device that does not answer at all, or `FAILURES_IN_A_ROW` times wrongly, trips
  its breaker: its points go bad once and it is probed ever more rarely, so on a shared line it costs the others one
  timeout per probe. When every device of a link is in that state, the link itself is suspect and is connected anew.
- anything else is a bug: it faults that one device, with a traceback in the log, and nothing else.

Acquisition never waits for the network beyond its own link: `Buffer.append` returns at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol

from drivers.contract import BadResponse, DeviceUnavailable, Driver, DriverError, Session
from drivers.model import PointGroup, Reading, Reason, all_bad
from drivers.settings import DeviceSettings, Priority
from gateway.backoff import Backoff
from gateway.health import DeviceHealth
from gateway.report import Reporter
from gateway.schedule import Due, Schedule

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class Sink(Protocol):
    """Where readings go; the buffer is one."""

    def append(self, reading: Reading, *, priority: Priority) -> None: ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall clock for when something was observed, monotonic for how long anything takes."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic


class Link:
    """The devices that share one driver, and what became of them. `run` is the supervisor."""

    def __init__(
        self,
        driver: Driver,
        devices: Sequence[DeviceSettings],
        *,
        sink: Sink,
        health: Mapping[str, DeviceHealth],
        staggers: Mapping[str, float],
        clocks: Clocks | None = None,
    ) -> None:
        """`staggers` gives each device of the link its fraction of a period (see `gateway.schedule.stagger`)."""
        self._driver = driver
        self._clocks = clocks or Clocks()
        self._devices = {
            device.name: _Device(
                device, [g for g in driver.groups if g.device == device.name], sink=sink, health=health[device.name]
            )
            for device in devices
        }
        self._schedule = Schedule(
            [(group, staggers[group.device]) for group in driver.groups], now_s=self._clocks.monotonic_s()
        )
        self._backoff = Backoff(first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)

    async def run(self) -> NoReturn:
        """Keep the link up and read from it until cancelled."""
        sessions = 0
        while True:
            try:
                with _BugsRaisedAs(DeviceUnavailable, self._driver.link):
                    async with self._driver.connect() as session:
                        if sessions:
                            self._count_reconnect()
                        sessions += 1
                        self._schedule.skip_to(self._clocks.monotonic_s())
                        await self._poll(session)
            except DeviceUnavailable as error:
                now_ns = self._clocks.wall_ns()
                for device in self._devices.values():
                    device.lost(error, now_ns=now_ns, now_s=self._clocks.monotonic_s())
            await asyncio.sleep(self._backoff.next_s())

    async def _poll(self, session: Session) -> NoReturn:
        monotonic_s = self._clocks.monotonic_s
        while True:
            wait_s = self._schedule.next_s - monotonic_s()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            due = self._schedule.take(monotonic_s())
            device = self._devices[due.group.device]
            if device.may_read(due, now_s=monotonic_s()):
                await self._read(session, device, due)

    async def _read(self, session: Session, device: _Device, due: Due) -> None:
        monotonic_s = self._clocks.monotonic_s
        started_s = monotonic_s()
        try:
            with _BugsRaisedAs(BadResponse, due.group):
                reading = await session.read(due.group)
                if len(reading.values) != len(due.group.points):
                    raise ValueError(f"{len(reading.values)} values for {len(due.group.points)} points")
        except BadResponse as error:
            device.failed(error, due.group, now_ns=self._clocks.wall_ns(), now_s=monotonic_s())
            if all(other.failures >= FAILURES_IN_A_ROW for other in self._devices.values()):
                raise DeviceUnavailable(
                    f"nothing on {self._driver.link} answers as it should ({error.message}); connecting it anew",
                    reason=error.reason,
                    hint=error.hint,
                ) from error
        else:
            now_s = monotonic_s()
            device.answered(reading, took_s=now_s - started_s, due=due, now_s=now_s)
            self._backoff.reset()

    def _count_reconnect(self) -> None:
        for device in self._devices.values():
            device.health.reconnects += 1


class _Device:
    """One device's breaker, report filters and facts; logs its edges, not its level."""

    def __init__(
        self, settings: DeviceSettings, groups: Sequence[PointGroup], *, sink: Sink, health: DeviceHealth
    ) -> None:
        self.health = health
        self.failures = 0
        self._settings = settings
        self._groups = groups
        self._sink = sink
        self._reporters = {
            group: Reporter(group, report=settings.report, heartbeat_s=settings.heartbeat) for group in groups
        }
        self._backoff = Backoff(first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)
        self._known_bad: set[PointGroup] = set()
        self._probe_at_s: float | None = None
        self._down_since_s: float | None = None

    def may_read(self, due: Due, *, now_s: float) -> bool:
        """Whether to use this tick: always while the breaker is closed, else only when a probe is due."""
        if self._probe_at_s is None:
            self.health.missed += due.missed
            self.health.lateness_seconds.observe(due.lateness_s)
            return True
        return now_s >= self._probe_at_s

    def answered(self, reading: Reading, *, took_s: float, due: Due, now_s: float) -> None:
        health = self.health
        health.read_seconds.observe(took_s)
        health.readings += 1
        health.values += len(reading.values) - len(reading.quality)
        if self.failures or not health.up:
            self._came_up(now_s)
        self._known_bad.discard(due.group)
        self._report(reading, now_s=now_s)

    def failed(self, error: BadResponse, group: PointGroup, *, now_ns: int, now_s: float) -> None:
        """One reading of `group` failed; trips the breaker when that is final enough."""
        self.health.errors[error.reason.value] += 1
        self.failures += 1
        self._report_bad(group, error.reason, now_ns=now_ns, now_s=now_s)
        gives_up = error.reason in (Reason.TIMEOUT, Reason.DRIVER_FAULT) or self.failures >= FAILURES_IN_A_ROW
        if gives_up:
            self._probe_at_s = now_s + self._backoff.next_s()
            self._went_down(error, now_ns=now_ns, now_s=now_s)
        elif self.failures == 1 and self._down_since_s is None:
            log.warning("%s: %s", self._settings.name, error, extra={"device": self._settings.name})

    def lost(self, error: DeviceUnavailable, *, now_ns: int, now_s: float) -> None:
        """The link went, and the device with it. The next session may try it at once."""
        self.health.errors[error.reason.value] += 1
        self.failures = 0
        self._probe_at_s = None
        self._went_down(error, now_ns=now_ns, now_s=now_s)

    def _went_down(self, error: DriverError, *, now_ns: int, now_s: float) -> None:
        self.health.up = False
        self.health.reason = error.reason
        self.health.detail = str(error)
        if self._down_since_s is not None:
            return
        self._down_since_s = now_s
        log.warning(
            "%s is down: %s",
            self._settings.name,
            error,
            exc_info=error.__cause__ if error.reason is Reason.DRIVER_FAULT else None,
            extra={"device": self._settings.name, "reason": str(error.reason)},
        )
        for group in self._groups:
            self._report_bad(group, error.reason, now_ns=now_ns, now_s=now_s)

    def _came_up(self, now_s: float) -> None:
        if self._down_since_s is not None:
            log.warning(
                "%s is up again after %.1f s",
                self._settings.name,
                now_s - self._down_since_s,
                extra={"device": self._settings.name},
            )
        elif not self.health.up:
            log.info("%s is up", self._settings.name, extra={"device": self._settings.name})
        self.failures = 0
        self._probe_at_s = None
        self._down_since_s = None
        self._backoff.reset()
        self.health.up = True
        self.health.reason = self.health.detail = ""

    def _report_bad(self, group: PointGroup, reason: str, *, now_ns: int, now_s: float) -> None:
        """Say once that nothing of `group` can be read; until it can, there is nothing to add."""
        if group not in self._known_bad:
            self._known_bad.add(group)
            self._report(all_bad(group, now_ns, reason), now_s=now_s)

    def _report(self, reading: Reading, *, now_s: float) -> None:
        self.health.last[reading.group] = reading
        reported = self._reporters[reading.group].reportable(reading, now_s=now_s)
        if reported is not None:
            self._sink.append(reported, priority=self._settings.priority)


class _BugsRaisedAs:
    """A block in which a bug faults the device that met it and nothing else: the one place that takes any exception.

    A class because entering a generator would cost every read a tenth of what reading costs.
    """

    __slots__ = ("_attempt", "_kind")

    def __init__(self, kind: type[BadResponse | DeviceUnavailable], attempt: object) -> None:
        self._kind = kind
        self._attempt = attempt

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, DriverError):
            raise self._kind(
                f"{self._attempt} failed on a bug: {error!r}",
                reason=Reason.DRIVER_FAULT,
                hint="report it with the traceback in the log",
            ) from error

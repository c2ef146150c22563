"""The supervisor of one link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from drivers.contract import BadResponse, DeviceUnavailable, Driver, DriverError, NotAsked, Session, StreamSession
from drivers.model import Point, PointGroup, Reason, Value
from drivers.settings import DeviceSettings
from gateway.acquire.breaker import FIRST_RETRY_S, LONGEST_RETRY_S
from gateway.acquire.checks import checked
from gateway.acquire.device import Device, Sink
from gateway.acquire.faults import BugsRaisedAs
from gateway.acquire.writes import Writes
from gateway.backoff import Backoff
from gateway.health import DeviceHealth
from gateway.schedule import Schedule


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
            device.name: Device(
                device, [g for g in driver.groups if g.device == device.name], sink=sink, health=health[device.name]
            )
            for device in devices
        }
        self._schedule = Schedule(
            [(group, staggers[group.device]) for group in driver.groups if group.period_s],
            now_s=self._clocks.monotonic_s(),
        )
        self._backoff = Backoff(first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)
        self._writes = Writes(driver.link)

    async def run(self) -> NoReturn:
        """Keep the link up and read from it until cancelled."""
        sessions = 0
        while True:
            try:
                with BugsRaisedAs(DeviceUnavailable, self._driver.link):
                    async with self._driver.connect() as session:
                        if sessions:
                            self._count_reconnect()
                        sessions += 1
                        with self._writes.open(session):
                            if isinstance(session, StreamSession):
                                await self._stream(session)
                            else:
                                await self._poll(session)
            except DriverError as error:
                now_ns = self._clocks.wall_ns()
                for device in self._devices.values():
                    device.lost(error, now_ns=now_ns, now_s=self._clocks.monotonic_s())
            await asyncio.sleep(self._backoff.next_s())

    async def write(self, device: str, point: str, value: Value) -> Value:
        """Write to a point by name; returns what the device holds afterwards. `run` carries it out between two reads.

        Raises ValueError, in words for the person who sent it, for a point that does not exist or is not writable and
        for a value that it cannot take; `DeviceUnavailable` while the link is down or when it goes down meanwhile; and
        what else of `DriverError` the session raises. Cancelled before its turn, nothing is written.
        """
        group, found = self._writable(device, point)
        return await self._writes.request(group, found, value)

    def _writable(self, device: str, name: str) -> tuple[PointGroup, Point]:
        for group in self._driver.groups:
            if group.device == device and name in group.names:
                point = group.points[group.names.index(name)]
                if not point.writable:
                    raise ValueError(f'{device}: point "{name}" is not writable; its entry needs `writable: true`')
                return group, point
        raise ValueError(f'{device}: there is no point "{name}"')

    async def _poll(self, session: Session) -> NoReturn:
        monotonic_s = self._clocks.monotonic_s
        self._schedule.skip_to(monotonic_s())
        while True:
            while self._writes.waiting:
                await self._writes.carry_out()
            wait_s = self._schedule.next_s - monotonic_s()
            if wait_s > 0:
                await self._writes.wait(wait_s)
                continue
            due = self._schedule.take(monotonic_s())
            device = self._devices[due.group.device]
            group = device.to_read(due, now_s=monotonic_s())
            if group is not None:
                await self._read(session, device, group)

    async def _read(self, session: Session, device: Device, group: PointGroup) -> None:
        monotonic_s = self._clocks.monotonic_s
        started_s = monotonic_s()
        try:
            with BugsRaisedAs(BadResponse, group):
                reading = checked(await session.read(group))
        except NotAsked:
            device.not_asked()
        except BadResponse as error:
            device.failed(error, group, now_ns=self._clocks.wall_ns(), now_s=monotonic_s())
            if all(other.is_exhausted for other in self._devices.values()):
                raise DeviceUnavailable(
                    f"nothing on {self._driver.link} answers as it should ({error.message}); connecting it anew",
                    reason=error.reason,
                    hint=error.hint,
                ) from error
        else:
            now_s = monotonic_s()
            device.answered(reading, group, took_s=now_s - started_s, now_s=now_s)
            self._backoff.reset()

    async def _stream(self, session: StreamSession) -> NoReturn:
        connected_s = self._clocks.monotonic_s()
        for device in self._devices.values():
            device.came_up(connected_s)
        tasks = [
            asyncio.create_task(self._listen(session), name=f"{self._driver.link} readings"),
            asyncio.create_task(self._repeat_states(), name=f"{self._driver.link} heartbeat"),
            asyncio.create_task(self._carry_out_writes(), name=f"{self._driver.link} writes"),
        ]
        # No task group: on Python 3.11 one whose child fails leaves its parent marked as cancelled.
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._clocks.monotonic_s() - connected_s > LONGEST_RETRY_S:
                self._backoff.reset()
        for task in ended:
            task.result()
        raise AssertionError("none of the three ends without an error")

    async def _listen(self, session: StreamSession) -> NoReturn:
        readings = session.readings()
        try:
            async for said in readings:
                reading = checked(said)
                device = self._devices[reading.group.device]
                if device.spoke(reading, now_s=self._clocks.monotonic_s()):
                    self._backoff.reset()
        finally:
            if isinstance(readings, AsyncGenerator):
                await readings.aclose()
        raise DeviceUnavailable(f"{self._driver.link} ended its readings", reason=Reason.COMM_FAILURE)

    async def _repeat_states(self) -> NoReturn:
        while True:
            now_ns, now_s = self._clocks.wall_ns(), self._clocks.monotonic_s()
            next_s = min(device.repeat_states(now_ns=now_ns, now_s=now_s) for device in self._devices.values())
            await asyncio.sleep(next_s - now_s)

    async def _carry_out_writes(self) -> NoReturn:
        while True:
            while self._writes.waiting:
                await self._writes.carry_out()
            await self._writes.wait(LONGEST_RETRY_S)

    def _count_reconnect(self) -> None:
        for device in self._devices.values():
            device.health.reconnects += 1

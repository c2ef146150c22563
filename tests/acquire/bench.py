"""A link against a driver that does as the test says, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from drivers.contract import BadResponse, DeviceUnavailable, NotAsked, PlannedRequest
from drivers.model import Point, PointGroup, Reading, Reason
from drivers.settings import DeviceSettings, Priority, Report
from gateway.acquire import Clocks, Link
from gateway.health import DeviceHealth

Answer = Callable[[float], float]


def answers(_now_s: float) -> float:
    return 1.0


def silent(_now_s: float) -> float:
    raise BadResponse("no answer from unit 2", reason=Reason.TIMEOUT, hint="is it powered?")


def owing(_now_s: float) -> float:
    raise NotAsked("not asked", reason=Reason.TIMEOUT)


def garbled(_now_s: float) -> float:
    raise BadResponse("half a frame", reason=Reason.BAD_RESPONSE)


def buggy(_now_s: float) -> float:
    raise ZeroDivisionError("off by one")


def gone(_now_s: float) -> float:
    raise DeviceUnavailable("the peer closed the connection", reason=Reason.COMM_FAILURE, hint="is it powered?")


@dataclass
class Bench:
    """One link with devices whose behaviour is swapped while it runs; it is its own driver, session and sink.

    Behaviour and periods are those of a device with one group (`belt`), or of one group of a device (`belt/fast`).
    """

    behaviour: dict[str, Answer]
    periods_s: dict[str, float] = field(default_factory=dict)
    report: Report = Report.EVERY_READ
    timeout_s: float = 0.5
    connecting: Callable[[], None] = lambda: None
    link: str = "tcp://127.0.0.1:502"
    sessions: int = 0
    open_sessions: int = 0
    reads: list[tuple[float, str]] = field(default_factory=list)
    appended: list[Reading] = field(default_factory=list)
    health: dict[str, DeviceHealth] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = {
            PointGroup(name.partition("/")[0], self.periods_s.get(name, 1.0), (Point("speed"),)): name
            for name in self.behaviour
        }
        self.groups: Sequence[PointGroup] = [*self._names]
        self.health = {group.device: DeviceHealth(group.device, "bench") for group in self.groups}

    def plan(self) -> list[PlannedRequest]:
        return []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bench]:
        self.connecting()
        self.sessions += 1
        self.open_sessions += 1
        try:
            yield self
        finally:
            self.open_sessions -= 1

    async def read(self, group: PointGroup) -> Reading:
        now_s = asyncio.get_running_loop().time()
        self.reads.append((now_s, self._names[group]))
        try:
            value = self.behaviour[self._names[group]](now_s)
        except BadResponse as error:
            if error.reason is Reason.TIMEOUT and not isinstance(error, NotAsked):
                await asyncio.sleep(self.timeout_s)
            raise
        return Reading(group, int(now_s * 1e9), (value,))

    def append(self, reading: Reading, *, priority: Priority) -> None:
        self.appended.append(reading)

    async def run_for(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        devices = [DeviceSettings(name=name, driver="bench", url=self.link, report=self.report) for name in self.health]
        link = Link(
            self,
            devices,
            sink=self,
            health=self.health,
            staggers=dict.fromkeys(self.health, 0.0),
            clocks=Clocks(wall_ns=lambda: int(loop.time() * 1e9), monotonic_s=loop.time),
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await link.run()

    def bad_readings(self, name: str) -> list[Reading]:
        return [reading for reading in self.appended if self._names[reading.group] == name and reading.quality]

    def times_s(self, name: str) -> list[float]:
        """When it was read, in seconds from the start."""
        return [now_s - 1000.0 for now_s, read in self.reads if read == name]

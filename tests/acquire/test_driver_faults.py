"""What a driver does against its contract faults its own link, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from drivers import registry
from drivers.contract import BadResponse, DeviceUnavailable, PlannedRequest
from drivers.model import Point, PointGroup, Reading, Reason, Value
from drivers.settings import DeviceSettings, Priority
from gateway.acquire import Clocks, Link
from gateway.health import DeviceHealth
from gateway.live_check import check_live
from tests.plugins.virtual_time import VirtualTime

SETTINGS = DeviceSettings(name="d", driver="faulty", url="line://1")
Fault = Callable[[], Awaitable[None]]


async def no_fault() -> None:
    pass


async def cancelled_by_nobody() -> None:
    never = asyncio.get_running_loop().create_future()
    never.cancel()
    await never


async def half_a_frame() -> None:
    raise BadResponse("half a frame", reason=Reason.BAD_RESPONSE)


async def unknown_reason() -> None:
    raise DeviceUnavailable("gone", reason="no-route")  # type: ignore[arg-type]


@dataclass
class Faulty:
    """One link with one device; its own driver, session and sink. Its faults happen in the first ten seconds."""

    connecting: Fault = no_fault
    reading: Fault = no_fault
    writing: Fault = no_fault
    link: str = "line://1"
    groups: Sequence[PointGroup] = (PointGroup("d", 1.0, (Point("speed", writable=True),)),)
    health: DeviceHealth = field(default_factory=lambda: DeviceHealth("d", "faulty"))

    def plan(self) -> Sequence[PlannedRequest]:
        return ()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Self]:
        await self.suffer(self.connecting)
        yield self

    async def read(self, group: PointGroup) -> Reading:
        await self.suffer(self.reading)
        return Reading(group, 1, (1,))

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:
        await self.suffer(self.writing)
        return value

    async def suffer(self, fault: Fault) -> None:
        if asyncio.get_running_loop().time() < 1010.0:
            await fault()

    def append(self, reading: Reading, *, priority: Priority) -> None:
        pass

    def supervisor(self) -> Link:
        loop = asyncio.get_running_loop()
        clocks = Clocks(wall_ns=lambda: int(loop.time() * 1e9), monotonic_s=loop.time)
        return Link(self, [SETTINGS], sink=self, health={"d": self.health}, staggers={"d": 0.0}, clocks=clocks)

    async def run_for(self, seconds: float) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.supervisor().run()


@dataclass
class FaultyStream(Faulty):
    """One that speaks unasked."""

    groups: Sequence[PointGroup] = (PointGroup("d", 0.0, (Point("weight"),)),)

    async def readings(self) -> AsyncIterator[Reading]:
        for number in itertools.count():
            await self.suffer(self.reading)
            yield Reading(self.groups[0], number, (number,))
            await asyncio.sleep(1.0)


@pytest.mark.parametrize("kind", [Faulty, FaultyStream])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [(half_a_frame, "bad-response"), (cancelled_by_nobody, "driver-fault"), (unknown_reason, "driver-fault")],
)
@pytest.mark.parametrize("during", ["connecting", "reading"])
def test_a_fault_takes_the_device_down_and_is_over_when_the_driver_is(
    virtual_time: VirtualTime, kind: type[Faulty], fault: Fault, reason: str, during: str
) -> None:
    faulty = kind(**{during: fault})
    virtual_time.run(faulty.run_for(300.0))
    assert faulty.health.errors[reason] >= 2
    assert faulty.health.up
    assert faulty.health.readings > 200


def test_a_write_that_was_cancelled_by_nobody_fails_and_the_link_reads_on(virtual_time: VirtualTime) -> None:
    faulty = Faulty(writing=cancelled_by_nobody)

    async def write() -> None:
        link = faulty.supervisor()
        running = asyncio.create_task(link.run())
        await asyncio.sleep(2.5)
        with pytest.raises(BadResponse, match="writing d speed failed on a bug"):
            await link.write("d", "speed", 2)
        await asyncio.sleep(2.0)
        running.cancel()
        await asyncio.wait([running])

    virtual_time.run(write())
    assert faulty.health.readings == 5


@pytest.mark.parametrize("kind", [Faulty, FaultyStream])
@pytest.mark.parametrize("fault", [half_a_frame, cancelled_by_nobody, unknown_reason])
@pytest.mark.parametrize("during", ["connecting", "reading"])
def test_a_live_check_tells_of_it(
    virtual_time: VirtualTime,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Faulty],
    fault: Fault,
    during: str,
) -> None:
    faulty = kind(**{during: fault})
    family = SimpleNamespace(link=lambda device: device.url, driver=lambda devices, *, state_folder: faulty)
    monkeypatch.setattr(registry, "family", lambda name: family)
    found = virtual_time.run(check_live([SETTINGS], state_folder=Path(), progress=lambda done, of: None))
    (trial,) = found["d"]
    assert not trial.was_read
    assert trial.error is not None

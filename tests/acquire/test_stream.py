"""The supervisor of a link whose devices speak unasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from drivers.contract import DeviceUnavailable, PlannedRequest
from drivers.model import Point, PointGroup, Reading, Reason, Value, all_bad
from drivers.settings import DeviceSettings, Priority
from gateway.acquire import Link
from gateway.health import DeviceHealth

WEIGHT = PointGroup("weigh-1", 0.0, (Point("weight", "kg", 0.005, writable=True), Point("stable")))
TAGS = PointGroup("weigh-1", 0.0, (Point("epc"),), events=True)


@dataclass
class Bench:
    """One link with one device; its own driver, session and sink. `said` holds what the device says next."""

    said: asyncio.Queue[Reading | DeviceUnavailable] = field(default_factory=asyncio.Queue)
    appended: asyncio.Queue[Reading] = field(default_factory=asyncio.Queue)
    written: list[Value] = field(default_factory=list)
    health: DeviceHealth = field(default_factory=lambda: DeviceHealth("weigh-1", "scale"))
    heartbeat: str = "60s"
    link: str = "serial:///dev/ttyUSB0"
    groups: Sequence[PointGroup] = (WEIGHT, TAGS)

    def plan(self) -> Sequence[PlannedRequest]:
        return ()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bench]:
        yield self

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            said = await self.said.get()
            if isinstance(said, DeviceUnavailable):
                raise said
            yield said

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:
        self.written.append(value)
        return value

    def append(self, reading: Reading, *, priority: Priority) -> None:
        self.appended.put_nowait(reading)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Link]:
        settings = DeviceSettings.model_validate(
            {"name": "weigh-1", "driver": "scale", "url": self.link, "heartbeat": self.heartbeat}
        )
        link = Link(self, [settings], sink=self, health={"weigh-1": self.health}, staggers={"weigh-1": 0.0})
        task = asyncio.create_task(link.run())
        try:
            yield link
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_what_a_device_leaves_out_has_not_changed() -> None:
    bench = Bench()
    async with bench.running():
        bench.said.put_nowait(Reading(WEIGHT, 1, (Decimal("12.340"), False)))
        bench.said.put_nowait(Reading(WEIGHT, 2, (None, True)))
        assert (await bench.appended.get()).values == (Decimal("12.340"), False)
        assert (await bench.appended.get()).values == (None, True)
        assert bench.health.last[WEIGHT].values == (Decimal("12.340"), True)


async def test_a_weight_that_moved_by_no_more_than_its_deadband_is_left_out() -> None:
    bench = Bench()
    async with bench.running():
        for weight in ("12.340", "12.345", "12.350"):
            bench.said.put_nowait(Reading(WEIGHT, 1, (Decimal(weight), True)))
        assert (await bench.appended.get()).values[0] == Decimal("12.340")
        assert (await bench.appended.get()).values[0] == Decimal("12.350")


async def test_equal_events_are_all_passed_on() -> None:
    bench = Bench()
    async with bench.running():
        for _ in range(3):
            bench.said.put_nowait(Reading(TAGS, 1, ("3114257BF4499602D2000000",)))
        assert [(await bench.appended.get()).group for _ in range(3)] == [TAGS] * 3


async def test_a_silent_device_repeats_its_state_at_every_heartbeat() -> None:
    bench = Bench(heartbeat="10ms")
    async with bench.running():
        bench.said.put_nowait(Reading(WEIGHT, 1, (Decimal("12.340"), True)))
        first, again = await bench.appended.get(), await bench.appended.get()
        assert again.values == first.values
        assert again.observed_at_ns > first.observed_at_ns


async def test_a_lost_stream_makes_every_point_bad_once() -> None:
    bench = Bench()
    async with bench.running():
        bench.said.put_nowait(DeviceUnavailable("the line is gone", reason=Reason.COMM_FAILURE))
        assert [dict((await bench.appended.get()).quality) for _ in range(2)] == [
            dict(all_bad(group, 0, "comm-failure").quality) for group in (WEIGHT, TAGS)
        ]
        assert not bench.health.up
        assert bench.health.errors["comm-failure"] == 1


async def test_what_is_written_reaches_the_session_and_its_answer_comes_back() -> None:
    bench = Bench()
    async with bench.running() as link:
        bench.said.put_nowait(Reading(WEIGHT, 1, (Decimal("0.000"), True)))
        await bench.appended.get()
        assert await link.write("weigh-1", "weight", 0) == 0
        assert bench.written == [0]
        with pytest.raises(ValueError, match="not writable"):
            await link.write("weigh-1", "stable", 1)
        with pytest.raises(ValueError, match="no point"):
            await link.write("weigh-1", "speed", 1)

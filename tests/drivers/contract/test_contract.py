"""What every driver owes the host, asked of every family alike; the wire between them can be cut.

A family of another package is tested by the same suite: write a `Rig` for it and add it to `rigs.RIGS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.contract import BadResponse, DeviceUnavailable, Driver, Session, StreamSession
from drivers.model import Level, Reading, Reason, Value
from tests.drivers.contract.rig import Counterpart, Rig
from tests.drivers.contract.rigs import RIGS
from tests.plugins.cancellation import Moment, cancelled_at
from tests.plugins.tcp_proxy import TcpProxy, tcp_proxy

PATIENCE_S = 10.0
"""What nothing here comes near unless it hangs."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A device, a wire that can be cut, and a driver at the other end."""

    device: Counterpart
    wire: TcpProxy
    driver: Driver

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """A session, with what it says one reading at a time."""
        async with asyncio.timeout(PATIENCE_S):
            async with self.driver.connect() as session:
                listener = Listener(session, self.driver)
                try:
                    yield listener
                finally:
                    await listener.close()


class Listener:
    """The readings of a session, whether it is asked or speaks unasked."""

    def __init__(self, session: Session | StreamSession, driver: Driver) -> None:
        self._session = session
        self._group = driver.groups[0]
        self._readings = session.readings() if isinstance(session, StreamSession) else None

    async def next(self) -> Reading:
        if self._readings is not None:
            return await anext(self._readings)
        assert isinstance(self._session, Session)
        reading = await self._session.read(self._group)
        await asyncio.sleep(0)  # a device that answers at once must not starve what the test waits for
        return reading

    async def until(self, expected: Mapping[str, Value]) -> Reading:
        """The first reading that carries all of this."""
        while True:
            reading = await self.next()
            carried = dict(zip(reading.group.names, reading.values, strict=True))
            if expected.items() <= carried.items():
                return reading

    async def until_bad(self) -> Reading:
        """The first reading in which something is bad."""
        while True:
            reading = await self.next()
            if any(quality.level is Level.BAD for quality in reading.quality.values()):
                return reading

    async def failure(self) -> DeviceUnavailable | BadResponse:
        """What ends the readings."""
        while True:
            try:
                await self.next()
            except (DeviceUnavailable, BadResponse) as error:
                return error

    async def close(self) -> None:
        if isinstance(self._readings, AsyncGenerator):
            await self._readings.aclose()


@pytest.fixture(params=RIGS, ids=lambda rig: rig.name)
def rig(request: pytest.FixtureRequest) -> Rig:
    found: Rig = request.param
    return found


@pytest.fixture
async def bench(rig: Rig, tmp_path: Path) -> AsyncIterator[Bench]:
    async with rig.serve() as device, tcp_proxy(device.port) as wire:
        settings = rig.family.settings.model_validate(rig.device(wire.port))
        yield Bench(device, wire, rig.family.driver([settings], state_folder=tmp_path))


async def test_what_the_device_holds_is_read(bench: Bench) -> None:
    async with bench.listening() as listener:
        for _ in range(2):
            reading = await listener.until(await bench.device.show())
            assert reading.group in bench.driver.groups
            assert len(reading.values) == len(reading.group.points)
            for index, quality in reading.quality.items():
                assert (reading.values[index] is None) == (quality.level is Level.BAD)


async def test_the_plan_names_every_point_without_touching_the_wire(bench: Bench) -> None:
    planned = {(request.device, point.name) for request in bench.driver.plan() for point in request.points}
    assert planned == {(group.device, name) for group in bench.driver.groups for name in group.names}
    assert bench.wire.accepted == 0


async def test_a_value_that_cannot_be_used_is_bad_and_the_session_lives_on(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
        await bench.device.spoil()
        reading = await listener.until_bad()
        assert all(reading.values[i] is None for i, quality in reading.quality.items() if quality.level is Level.BAD)
        await bench.device.mend()
        await listener.until(await bench.device.show())
    assert bench.wire.accepted == 1


async def test_leaving_the_context_leaves_the_device(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
    async with asyncio.timeout(PATIENCE_S):
        await bench.wire.idle()


async def test_a_device_that_hangs_up_is_unavailable(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
        bench.wire.close()
        assert isinstance(await listener.failure(), DeviceUnavailable)


async def test_a_device_that_resets_the_connection_is_unavailable(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
        bench.wire.reset()
        assert isinstance(await listener.failure(), DeviceUnavailable)


async def test_a_wire_that_leads_nowhere_is_noticed(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
        bench.wire.swallow()
        failure = await listener.failure()
        assert isinstance(failure, DeviceUnavailable) or failure.reason is Reason.TIMEOUT


async def test_a_device_that_is_not_there_is_unavailable_with_something_to_do(bench: Bench) -> None:
    bench.wire.refuse()
    with pytest.raises(DeviceUnavailable) as caught:
        async with bench.listening():
            pass
    assert caught.value.hint


async def test_a_device_that_accepts_and_says_nothing_is_noticed(bench: Bench) -> None:
    bench.wire.swallow()
    with pytest.raises((DeviceUnavailable, BadResponse)):
        async with bench.listening() as listener:
            raise await listener.failure()


async def test_after_a_restart_of_the_device_the_same_driver_reads_again(bench: Bench) -> None:
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())
        bench.wire.refuse()
        bench.wire.reset()
        assert isinstance(await listener.failure(), DeviceUnavailable)
    with pytest.raises(DeviceUnavailable):
        async with bench.listening():
            pass
    await bench.wire.listen()
    async with bench.listening() as listener:
        await listener.until(await bench.device.show())


@pytest.mark.parametrize("moment", Moment)
async def test_cancelled_at_any_await_it_leaves_nothing_behind(bench: Bench, moment: Moment) -> None:
    expected = await bench.device.show()

    async def read_once() -> None:
        async with bench.listening() as listener:
            await listener.next()

    tasks = asyncio.all_tasks()
    awaits = 0
    was_cancelled = True
    while was_cancelled:
        awaits += 1
        assert awaits < 1000, "it never comes to an end"
        was_cancelled = await cancelled_at(awaits, read_once(), moment)
        async with asyncio.timeout(PATIENCE_S):
            await bench.wire.idle()
        if (
            left := asyncio.all_tasks() - tasks
        ):  # the device, which lives in this process too, takes leave of its client
            _, left = await asyncio.wait(left, timeout=PATIENCE_S)
        assert not left, f"cancelled at await {awaits}: {left}"
    assert awaits > 2
    async with bench.listening() as listener:
        await listener.until(expected if bench.wire.accepted == 1 else await bench.device.show())

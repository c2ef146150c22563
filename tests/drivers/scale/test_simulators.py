"""The driver against the simulated indicators, which another hand wrote, and what can be wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from drivers.contract import BadResponse, StreamSession
from drivers.model import Level, Reading
from drivers.scale.driver import ScaleDriver
from simulators.faults import Fault, FaultKind
from simulators.scale import ScaleSerialEndpoint, ScaleTcpEndpoint
from tests.drivers.scale.conftest import WRITABLE, Make, asked, shown, write
from tests.simulators.scale.conftest import Pan

WAYS = [
    ("mt-sics", "polled"),
    ("mt-sics", "streaming"),
    ("mt-sics", "stable"),
    ("sma", "polled"),
    ("sma", "streaming"),
    ("sma", "stable"),
    ("toledo-continuous", "streaming"),
    ("toledo-continuous", "stable"),
]


@pytest.fixture
def pan() -> Pan:
    return Pan()


@asynccontextmanager
async def indicator(pan: Pan, protocol: Any, medium: str) -> AsyncIterator[ScaleTcpEndpoint | ScaleSerialEndpoint]:
    made: ScaleTcpEndpoint | ScaleSerialEndpoint
    if medium == "tcp":
        made = ScaleTcpEndpoint("scale", pan, host="127.0.0.1", port=0, protocol=protocol, random=Random(1))
    else:
        made = ScaleSerialEndpoint("scale", pan, baudrate=38400, protocol=protocol, random=Random(1))
    async with asyncio.TaskGroup() as group:
        await made.open(group)
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def reading(driver: ScaleDriver) -> AsyncIterator[Any]:
    """What gives the next reading, however the scale is read."""
    async with asyncio.timeout(20), driver.connect() as session:
        if isinstance(session, StreamSession):
            async with aclosing(session.readings()) as readings:  # type: ignore[type-var]
                yield readings.__anext__
        else:

            async def ask() -> Reading:
                await asyncio.sleep(0)
                return await session.read(driver.groups[0])

            yield ask


def weight(found: Reading) -> Any:
    """The weight where it is good; None where it is not."""
    index = found.group.names.index("weight")
    return None if index in found.quality else found.values[index]


@pytest.mark.parametrize("medium", ["tcp", "terminal"])
@pytest.mark.parametrize(("protocol", "read"), WAYS)
async def test_what_lies_on_it_is_read(protocol: str, read: str, medium: str, pan: Pan, make_driver: Make) -> None:
    async with indicator(pan, protocol, medium) as scale:
        driver = make_driver(scale.url, protocol=protocol, read=read, period="20ms")
        async with reading(driver) as following:
            found = await following()
            assert str(weight(found)) == "12.34"
            assert (shown(found)["unit"], shown(found)["stable"], shown(found)["status"]) == ("kg", True, "ok")
            pan.gross_kg = Decimal("0.50")
            while str(weight(found)) != "0.50":
                found = await following()
                assert str(weight(found)) in ("12.34", "0.50")


@pytest.mark.parametrize("kind", [FaultKind.GARBLE, FaultKind.HALF_FRAME, FaultKind.SPLIT, FaultKind.OVERLOAD])
@pytest.mark.parametrize(("protocol", "read"), [way for way in WAYS if way[1] != "stable"])
async def test_no_fault_makes_another_weight_and_it_recovers(
    protocol: str, read: str, kind: FaultKind, pan: Pan, make_driver: Make
) -> None:
    async with indicator(pan, protocol, "tcp") as scale:
        driver = make_driver(scale.url, protocol=protocol, read=read, timeout="50ms")
        async with reading(driver) as following:
            await following()
            await scale.impose(Fault(kind), for_s=0.4)
            recovered = 0
            while recovered < 3:
                with suppress(BadResponse):
                    assert weight(await following()) in (None, Decimal("12.34"))
                    recovered = 0 if scale.faults() else recovered + 1


async def test_a_wrong_checksum_is_never_a_weight(pan: Pan, make_driver: Make) -> None:
    async with indicator(pan, "toledo-continuous", "tcp") as scale:
        driver = make_driver(scale.url, protocol="toledo-continuous")
        async with reading(driver) as following:
            await following()
            await scale.impose(Fault(FaultKind.WRONG_CHECKSUM))
            levels = [{quality.level for quality in (await following()).quality.values()} for _ in range(3)]
    assert levels[-2:] == [{Level.BAD}] * 2


@pytest.mark.parametrize("protocol", ["mt-sics", "sma"])
async def test_zero_and_tare_are_written(protocol: str, pan: Pan, make_driver: Make) -> None:
    async with indicator(pan, protocol, "tcp") as scale:
        driver = make_driver(scale.url, protocol=protocol, points=WRITABLE)
        async with asked(driver) as session:
            assert await write(session, "tare", True) == Decimal("12.34")
            assert pan.tare_kg == Decimal("12.34")
            assert shown(await session.read(driver.groups[0]))["net"] == 0
            assert await write(session, "tare", False) == 0
            assert pan.tare_kg == 0
            assert str(await write(session, "tare", Decimal("1.50"))) == "1.50"
            assert pan.tare_kg == Decimal("1.50")
            with pytest.raises(BadResponse):
                await write(session, "zero", True)
            pan.gross_kg = Decimal("0.20")
            assert await write(session, "zero", True) is True
            assert pan.gross_kg == 0


async def test_continuous_output_is_tared_by_its_letters(pan: Pan, make_driver: Make) -> None:
    async with indicator(pan, "toledo-continuous", "tcp") as scale:
        driver = make_driver(scale.url, protocol="toledo-continuous", points=WRITABLE)
        async with asyncio.timeout(10), driver.connect() as session:
            assert isinstance(session, StreamSession)
            async with aclosing(session.readings()) as readings:  # type: ignore[type-var]
                await anext(readings)
                listener = asyncio.create_task(_drain(readings))
                assert await write(session, "tare", True) == Decimal("12.34")  # type: ignore[arg-type]
                assert await write(session, "tare", False) == 0  # type: ignore[arg-type]
                listener.cancel()
                await asyncio.wait([listener])


async def _drain(readings: Any) -> None:
    async for _ in readings:
        pass

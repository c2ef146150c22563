"""Drivers of one scale, and instruments on links of either kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from drivers.contract import Session, StreamSession, WritableSession
from drivers.model import Point, PointGroup, Reading, Value
from drivers.scale.driver import ScaleDriver
from drivers.scale.settings import ScaleSettings
from tests.drivers.scale.instruments import on_tcp, on_terminal

NOW_NS = 1_700_000_000_000_000_000
WRITABLE = [{"name": "zero", "writable": True}, {"name": "tare", "writable": True}]
Make = Callable[..., ScaleDriver]


@pytest.fixture
def make_driver() -> Callable[..., ScaleDriver]:
    def make(url: str, **keys: Any) -> ScaleDriver:
        device = {"name": "weigh-1", "driver": "scale", "url": url, "timeout": "250ms", **keys}
        return ScaleDriver(ScaleSettings.model_validate(device), clock=lambda: NOW_NS)

    return make


@pytest.fixture(params=[on_tcp, on_terminal], ids=["tcp", "terminal"])
def linked(request: pytest.FixtureRequest) -> Any:
    return request.param


def shown(reading: Reading) -> Mapping[str, Value]:
    """What a reading carries, by point."""
    return {name: value for name, value in zip(reading.group.names, reading.values, strict=True) if value is not None}


def quality(reading: Reading) -> Mapping[str, str]:
    """What of it is not good, by point."""
    return {reading.group.names[index]: str(each) for index, each in reading.quality.items()}


@asynccontextmanager
async def asked(driver: ScaleDriver) -> AsyncIterator[Any]:
    async with asyncio.timeout(10), driver.connect() as session:
        assert isinstance(session, Session)
        yield session


@asynccontextmanager
async def listening(driver: ScaleDriver) -> AsyncIterator[Any]:
    """The readings of a session, one `anext` at a time, and the session."""
    async with asyncio.timeout(10), driver.connect() as session:
        assert isinstance(session, StreamSession)
        async with aclosing(session.readings()) as readings:  # type: ignore[type-var]
            yield readings, session


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens inside of an instrument."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  instruments do not know what they are asked to be
            await asyncio.sleep(0.001)


async def write(session: WritableSession, name: str, value: Any) -> Any:
    """Write to a point as the host does."""
    point = Point(name, writable=True)
    return await session.write(PointGroup("weigh-1", 1.0, (point,)), point, value)

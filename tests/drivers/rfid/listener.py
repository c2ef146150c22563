"""The driver with a scripted reader at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import DeviceUnavailable, Driver, StreamSession
from drivers.model import Reading, Value
from tests.drivers.rfid.scripted_reader import Client, ScriptedReader

PATIENCE_S = 10.0
"""What nothing here comes near unless it hangs."""


def driver(url: str, *devices: dict[str, Any], **keys: Any) -> Driver:
    """Of one device with these keys, or of several."""
    family = registry.family("rfid")
    base = {"name": "portal-1", "driver": "rfid", "url": url, "timeout": "2s"} | keys
    settings = [family.settings.model_validate(base | device) for device in devices or ({},)]
    return family.driver(settings, state_folder=Path())


def carried(reading: Reading) -> dict[str, Value]:
    return dict(zip(reading.group.names, reading.values, strict=True))


@dataclass
class Listener:
    """A session, what the reader sees of it, and its readings one at a time."""

    client: Client
    readings: AsyncGenerator[Reading, None]

    async def next(self) -> dict[str, Value]:
        return carried(await anext(self.readings))

    async def failure(self) -> DeviceUnavailable:
        try:
            while True:
                await anext(self.readings)
        except DeviceUnavailable as error:
            return error


@asynccontextmanager
async def reading(made: Driver) -> AsyncIterator[AsyncGenerator[Reading, None]]:
    """The readings of a session, which ends with the context."""
    async with asyncio.timeout(PATIENCE_S), made.connect() as session:
        assert isinstance(session, StreamSession)
        readings = session.readings()
        assert isinstance(readings, AsyncGenerator)
        try:
            yield readings
        finally:
            await readings.aclose()


@asynccontextmanager
async def listening(reader: ScriptedReader, made: Driver | None = None, **keys: Any) -> AsyncIterator[Listener]:
    """Connected to a reader that listens, with a new driver unless one is given."""
    async with reading(made or driver(reader.url, **keys)) as readings:
        yield Listener(reader.joined.get_nowait(), readings)

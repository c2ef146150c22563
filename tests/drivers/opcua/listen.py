"""A device of the config, connected, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from drivers.contract import Driver, Session, StreamSession
from drivers.model import Quality, Reading, Value
from drivers.opcua import FAMILY

PATIENCE_S = 20.0
"""What nothing here comes near unless it hangs."""


def make_driver(url: str, folder: Path, points: list[dict[str, Any]], **more: Any) -> Driver:
    """A driver for one device; a subscription is quick."""
    device = {"name": "sorter", "driver": "opcua", "url": url, "timeout": 5.0, "points": points, **more}
    if device.get("subscribe", True):
        device = {"publishing_interval": 0.02, "sampling_interval": 0.02, **device}
    return FAMILY.driver([FAMILY.settings.model_validate(device)], state_folder=folder)


class Ear:
    """All that a session has said so far: the last value and quality of each point."""

    def __init__(self, session: StreamSession) -> None:
        self.session = session
        self.readings: list[Reading] = []
        self.values: dict[str, Value] = {}
        self.quality: dict[str, str] = {}
        self._coming = session.readings()

    async def until(self, enough: Callable[[Ear], bool]) -> None:
        """Listen until what was said is enough."""
        async with asyncio.timeout(PATIENCE_S):
            while not enough(self):
                self._take(await anext(self._coming))

    async def close(self) -> None:
        await self._coming.aclose()  # type: ignore[attr-defined]

    def _take(self, reading: Reading) -> None:
        self.readings.append(reading)
        for index, name in enumerate(reading.group.names):
            quality: Quality | None = reading.quality.get(index)
            if reading.values[index] is not None or quality is not None:
                self.values[name] = reading.values[index]
                self.quality[name] = str(quality or "good")


@asynccontextmanager
async def listening(driver: Driver) -> AsyncIterator[Ear]:
    async with driver.connect() as session:
        assert isinstance(session, StreamSession)
        ear = Ear(session)
        try:
            yield ear
        finally:
            await ear.close()


@asynccontextmanager
async def asking(driver: Driver) -> AsyncIterator[Session]:
    async with driver.connect() as session:
        assert isinstance(session, Session)
        yield session


def said(reading: Reading) -> dict[str, Value | str]:
    """Of each point the value, or the quality of one that has none."""
    return {
        name: value if value is not None else str(reading.quality.get(index, "unchanged"))
        for index, (name, value) in enumerate(zip(reading.group.names, reading.values, strict=True))
    }

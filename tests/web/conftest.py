"""Facts of a hub on a bad night, and a server that shows them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from drivers.model import Point, PointGroup, Reading, all_bad, bad
from gateway.health import DestinationHealth, DeviceHealth, Health
from gateway.web import Identity, serve

NOW_NS = 1_700_000_000_123_000_000
POINTS = (Point("speed", "m/s"), Point("current", "A"), Point("running"))


@pytest.fixture
def identity() -> Identity:
    return Identity("lgg", "sort-01", "0.1.0", started_monotonic_ns=time.monotonic_ns())


@pytest.fixture
def health() -> Health:
    infeed, sorter = PointGroup("infeed-conveyor", 1.0, POINTS), PointGroup("sorter", 1.0, POINTS)
    health = Health(
        devices={
            "infeed-conveyor": DeviceHealth("infeed-conveyor", "modbus", up=True, readings=4, values=12),
            "sorter": DeviceHealth("sorter", "modbus", reason="timeout", detail="no answer from unit 3"),
        },
        destinations={"hub-broker": DestinationHealth("hub-broker", up=True, ever_up=True, backlog=2)},
    )
    reading = Reading(infeed, NOW_NS, (1.4213, None, True), {1: bad("not-a-number")})
    health.devices["infeed-conveyor"].last[infeed] = reading
    health.devices["sorter"].errors["timeout"] = 9
    health.devices["sorter"].last[sorter] = all_bad(sorter, NOW_NS, "timeout")
    health.buffer.readings, health.buffer.bytes, health.buffer.max_bytes = 2, 4096, 2**31
    return health


@pytest.fixture
async def address(health: Health, identity: Identity) -> AsyncIterator[str]:
    async with serve("127.0.0.1:0", health, identity=identity) as address:
        yield address

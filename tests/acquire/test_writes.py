"""The queue of writes of one link."""

from __future__ import annotations

import asyncio

from drivers.model import Point, PointGroup, Reading, Value
from gateway.acquire.writes import MOST_WAITING, Writes

GROUP = PointGroup("belt", 1.0, (Point("speed", writable=True),))


class Session:
    """Takes every value."""

    async def read(self, group: PointGroup) -> Reading:
        raise NotImplementedError

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:
        return value


async def test_those_who_no_longer_wait_make_room_for_others() -> None:
    writes = Writes("tcp://127.0.0.1:502")
    with writes.open(Session()):
        given_up = [asyncio.create_task(writes.request(GROUP, GROUP.points[0], 1)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        assert writes.waiting
        for task in given_up:
            task.cancel()
        await asyncio.wait(given_up)
        assert not writes.waiting
        asked = asyncio.create_task(writes.request(GROUP, GROUP.points[0], 2))
        await asyncio.sleep(0)
        await writes.carry_out()
        assert await asked == 2

"""How old readings are while somebody sets the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench, Until

DAY_S = 86_400
DAY_NS = DAY_S * 10**9


async def read(bench: Bench, buffer: Buffer, count: int) -> None:
    """A reading in each of so many seconds."""
    for _ in range(count):
        bench.now_ns += 10**9
        buffer.append(bench.reading(1.5))
    await buffer.flush()


async def waiting(buffer: Buffer) -> list[int]:
    return [one.position for one in await buffer.peek("broker", after=0)]


@pytest.mark.parametrize("step_s", [30 * DAY_S, -30 * DAY_S, -1_799_000_000])
async def test_a_clock_that_is_stepped_makes_nothing_older_or_younger(bench: Bench, until: Until, step_s: int) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
        bench.step(step_s)
        await read(bench, buffer, 10)
        bench.now_ns += 85_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 5)
        await until(lambda: bench.health.oldest_ns == bench.now_ns - 99_500_000_000)
        assert await waiting(buffer) == list(range(6, 21))


async def test_what_an_earlier_boot_has_left_ages_by_the_wall_clock(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
    bench.reboot(wall_ns=bench.now_ns + 50 * 10**9)
    async with bench.open() as buffer:
        bench.step(30 * DAY_S)  # of what the clock has said since the boot the earliest counts
        await read(bench, buffer, 1)
        bench.now_ns += 44_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 5)
        assert await waiting(buffer) == list(range(6, 12))


async def test_nothing_of_an_earlier_boot_grows_old_before_the_clock_is_set(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 1)
    since_ns = bench.now_ns
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer, 1)
        bench.now_ns += 90 * 10**9
        for _ in range(2):  # looks at the buffer: the second says that the first is over
            bench.health.bytes = 0
            await until(lambda: bench.health.bytes > 0)
        assert await waiting(buffer) == [1, 2]
        bench.step((since_ns + DAY_NS - bench.now_ns) / 1e9)
        await until(lambda: bench.health.dropped["max-age"] > 0)
        assert await waiting(buffer) == [2]


async def test_readings_that_nobody_can_date_go_with_the_one_that_follows(bench: Bench, until: Until) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open(max_age=100.0) as buffer:
        for _ in range(1200):  # more than are looked at together
            bench.now_ns += 1000
            buffer.append(bench.reading(1.5))
        await buffer.flush()
    bench.reboot(wall_ns=1_900_000_000 * 10**9)
    async with bench.open() as buffer:
        await read(bench, buffer, 2)
        bench.now_ns += 96_500_000_000
        await read(bench, buffer, 1)
        assert bench.health.dropped["max-age"] == 0
        bench.now_ns += 2 * 10**9
        await until(lambda: bench.health.dropped["max-age"] == 1201)
        assert await waiting(buffer) == [1202, 1203]

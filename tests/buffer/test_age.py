"""How old readings are while somebody sets the clock, and whatever times they bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.buffer.eras import Eras
from gateway.buffer.milestones import Milestone, Milestones, decode_milestones
from gateway.buffer.retries import request
from gateway.buffer.timekeeping import Timekeeper

if TYPE_CHECKING:
    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench, Until

DAY_S = 86_400
DAY_NS = DAY_S * 10**9
YEAR_2100_NS = 4_102_444_800 * 10**9


async def read(bench: Bench, buffer: Buffer, count: int, *, age_s: float = 0.0) -> None:
    """A reading in each of so many seconds, each committed then."""
    for _ in range(count):
        bench.now_ns += 10**9
        buffer.append(bench.reading(1.5, age_s=age_s))
        await buffer.flush()


async def waiting(buffer: Buffer) -> list[int]:
    return [one.position for one in await buffer.peek("broker", after=0)]


async def look(bench: Bench, until: Until) -> None:
    """Until the buffer has looked at its bounds: the second look says that the first is over."""
    for _ in range(2):
        bench.health.bytes = 0
        await until(lambda: bench.health.bytes > 0)


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


async def test_what_an_earlier_boot_has_left_ages_by_a_clock_that_is_kept_right(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
    bench.synchronised = True
    bench.reboot(wall_ns=bench.now_ns + 50 * 10**9)
    async with bench.open() as buffer:
        await look(bench, until)
        bench.step(30 * DAY_S)  # of what the clock has said since the boot the earliest counts
        await read(bench, buffer, 1)
        bench.now_ns += 44_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 5)
        assert await waiting(buffer) == list(range(6, 12))


async def test_a_clock_that_nobody_keeps_does_not_say_how_long_the_machine_was_off(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
    closed_ns = bench.now_ns
    bench.reboot(wall_ns=YEAR_2100_NS)
    async with bench.open() as buffer:
        await look(bench, until)
        assert await waiting(buffer) == list(range(1, 11))
        bench.now_ns += 95_500_000_000  # the machine is on for so long, at least
        await until(lambda: bench.health.dropped["max-age"] == 5)
        bench.step((closed_ns + 98 * 10**9 - bench.now_ns) / 1e9)  # it was off for 2.5 s
        bench.synchronised = True
        await until(lambda: bench.health.dropped["max-age"] == 7)
        assert await waiting(buffer) == [8, 9, 10]


async def test_nothing_of_an_earlier_boot_grows_old_before_the_clock_is_set(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 1)
    since_ns = bench.now_ns
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer, 1)
        bench.now_ns += 90 * 10**9
        await look(bench, until)
        assert await waiting(buffer) == [1, 2]
        bench.step((since_ns + DAY_NS - bench.now_ns) / 1e9)
        bench.synchronised = True
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


@pytest.mark.parametrize("age_s", [20 * DAY_S, 10 * 365 * DAY_S, -10 * 365 * DAY_S])
async def test_the_clock_of_a_device_makes_its_readings_neither_old_nor_young(
    bench: Bench, until: Until, age_s: float
) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 1, age_s=age_s)
        await read(bench, buffer, 1)
        await look(bench, until)
        assert await waiting(buffer) == [1, 2]
        bench.now_ns += 99_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 1)
        assert await waiting(buffer) == [2]


async def test_ages_survive_a_restart_and_a_kill(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
    async with bench.open() as buffer:
        await read(bench, buffer, 2)
        bench.now_ns += 93_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 5)
        assert await waiting(buffer) == list(range(6, 13))


async def test_what_was_set_aside_and_comes_back_is_as_old_as_it_was(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        await read(bench, buffer, 10)
        await buffer.set_aside("broker", 3, "refused")
        buffer.acknowledge("broker", range(1, 11))
        await read(bench, buffer, 10)
        await look(bench, until)
        request(bench.path, ["broker"], since_ns=0)
        await buffer.returned("broker")
        bench.now_ns += 84_500_000_000
        await until(lambda: bench.health.dropped["max-age"] == 1)
        assert await waiting(buffer) == list(range(11, 21))


def milestones(bench: Bench, known: list[Milestone]) -> Milestones:
    timekeeper = Timekeeper(bench.clock, Eras(), newest_ns=0)
    return Milestones(known, latest=(), last=0, clock=bench.clock, timekeeper=timekeeper, max_age_ns=1_000 * 10**9)


def test_milestones_are_few_however_many_readings_there_are(bench: Bench) -> None:
    noted = milestones(bench, [])
    for position in range(1, 20_001):
        bench.now_ns += 100_000_000
        noted.reached(position)
    known = decode_milestones(noted.facts["milestones"])
    assert len(known) == 400  # one in 5 s
    assert [one.position for one in known[:3]] == [1, 51, 101]
    assert noted.aged() == 9_951
    assert noted.age_ns(9_951) > 1_000 * 10**9 > noted.age_ns(9_952)
    noted.forget_before(9_952)
    assert decode_milestones(noted.facts["milestones"])[0].position == 10_001


@pytest.mark.parametrize("text", ["", "{", "[[1]]", '[["x","boot",1]]', '[[2,"boot",1],[1,"boot",2]]'])
def test_milestones_that_were_never_written_like_this_are_refused(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode_milestones(text)

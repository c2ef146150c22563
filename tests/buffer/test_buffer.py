"""What the rest of the gateway relies on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from drivers.model import PointGroup, Reading, all_bad
from drivers.settings import Priority
from gateway.buffer import Buffer, inspect
from gateway.buffer.store import MOST_ROWS

if TYPE_CHECKING:
    from tests.buffer.conftest import Bench, Until


async def positions(buffer: Buffer, destination: str = "broker", **bounds: int) -> list[int]:
    return [one.position for one in await buffer.peek(destination, **({"after": 0, "limit": 10_000} | bounds))]


async def test_readings_get_positions_in_the_order_of_append(bench: Bench) -> None:
    async with bench.open() as buffer:
        readings = [bench.reading(float(number)) for number in range(1200)]
        for reading in readings:
            buffer.append(reading)
        await buffer.flush()
        stored = await buffer.peek("broker", after=0, limit=2000)
    assert [one.position for one in stored] == list(range(1, 1201))
    assert [one.reading for one in stored] == readings


async def test_what_was_committed_last_comes_from_memory(bench: Bench) -> None:
    async with bench.open() as buffer:
        reading = bench.reading(1.0)
        buffer.append(reading)
        await buffer.flush()
        (stored,) = await buffer.peek("broker", after=0)
    assert stored.reading is reading


async def test_readings_survive_a_restart_with_everything_they_say(bench: Bench) -> None:
    failed = all_bad(bench.group, bench.now_ns, "timeout")
    async with bench.open() as buffer:
        epoch = buffer.epoch
        for reading in (bench.reading(1.5, True, "ä", 2**64 - 1), bench.reading(2, False), failed):
            buffer.append(reading)
    async with bench.open() as buffer:
        assert (buffer.epoch, buffer.last_committed, buffer.backlog("broker")) == (epoch, 3, 3)
        first, second, third = [one.reading for one in await buffer.peek("broker", after=0)]
    assert first.values == (1.5, True, "ä", 2**64 - 1)
    assert (second.values, second.quality) == ((2, False, None, None), {})
    assert (third.values, third.quality, third.observed_at_ns) == (failed.values, failed.quality, failed.observed_at_ns)
    assert [(point.name, point.unit) for point in third.group.points] == [
        ("speed", "m/s"),
        ("running", ""),
        ("text", ""),
        ("count", ""),
    ]


async def test_a_group_with_the_same_content_uses_its_row_again(bench: Bench) -> None:
    for _ in range(3):
        async with bench.open() as buffer:
            twin = PointGroup(bench.group.device, bench.group.period_s, bench.group.points)
            for group in (bench.group, twin):
                buffer.append(Reading(group, bench.now_ns, (1, 2, 3, 4)))
            buffer.append(bench.reading(1), priority=Priority.HIGH)
    with sqlite3.connect(bench.path) as database:
        assert database.execute("SELECT count(*) FROM point_group").fetchone() == (2,)
    database.close()


async def test_old_readings_are_given_the_live_group_once_it_reports(bench: Bench) -> None:
    async with bench.open() as buffer:
        buffer.append(bench.reading(1))
    async with bench.open() as buffer:
        buffer.append(bench.reading(2))
        await buffer.flush()
        old, new = await buffer.peek("broker", after=0)
    assert old.reading.group is new.reading.group is bench.group


async def test_an_append_wakes_whoever_waits_for_a_commit(bench: Bench) -> None:
    async with bench.open() as buffer, asyncio.timeout(10):
        waiting = asyncio.create_task(buffer.committed(1), name="waiting")
        buffer.append(bench.reading(1))
        assert await buffer.committed(0) == 1
        assert not waiting.done()
        buffer.append(bench.reading(2))
        assert await waiting == 2


async def test_peek_stays_within_its_bounds(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(20):
            buffer.append(bench.reading(number))
        await buffer.flush()
        assert await positions(buffer, after=5, until=8) == [6, 7, 8]
        assert await positions(buffer, after=5, limit=2) == [6, 7]
        assert await positions(buffer, after=20) == []
    async with bench.open() as buffer:
        assert await positions(buffer, after=5, until=8) == [6, 7, 8]
        assert await positions(buffer, after=5, limit=2) == [6, 7]


async def test_peek_joins_what_is_on_disk_and_what_is_in_memory(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(10):
            buffer.append(bench.reading(number))
    async with bench.open() as buffer:
        for number in range(10, 20):
            buffer.append(bench.reading(number))
        await buffer.flush()
        buffer.acknowledge("broker", [3, 4, 12])
        assert await positions(buffer) == [one for one in range(1, 21) if one not in {3, 4, 12}]
        assert await positions(buffer, limit=9) == [1, 2, 5, 6, 7, 8, 9, 10, 11]


async def test_acknowledging_is_idempotent_and_ignores_what_is_unknown(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(5):
            buffer.append(bench.reading(number))
        await buffer.flush()
        for _ in range(2):
            buffer.acknowledge("broker", [2, 4, 99, 0, -1])
        assert buffer.backlog("broker") == 3
        assert await positions(buffer) == [1, 3, 5]


async def test_acknowledgements_survive_a_restart(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(9):
            buffer.append(bench.reading(number))
        await buffer.flush()
        buffer.acknowledge("broker", [2, 3, 9])
    async with bench.open() as buffer:
        assert await positions(buffer) == [1, 4, 5, 6, 7, 8]
        assert buffer.backlog("broker") == 6


async def test_acknowledgements_become_durable_without_being_asked(bench: Bench, until: Until) -> None:
    def rows() -> int:
        with sqlite3.connect(bench.path) as database:
            (count,) = database.execute("SELECT count(*) FROM reading").fetchone()
        database.close()
        return int(count)

    async with bench.open() as buffer:
        buffer.append(bench.reading(1))
        await buffer.flush()
        assert rows() == 1
        buffer.acknowledge("broker", [1])
        await until(lambda: rows() == 0)


async def test_a_reading_leaves_when_the_last_destination_has_it(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(4):
            buffer.append(bench.reading(number))
        await buffer.flush()
        buffer.acknowledge("a", [1, 2])
        buffer.acknowledge("b", [2, 3])
        await buffer.flush()
        assert bench.health.readings == 3
        assert await positions(buffer, "a") == [3, 4]
        assert await positions(buffer, "b") == [1, 4]
        with sqlite3.connect(bench.path) as database:
            assert database.execute("SELECT id FROM reading").fetchall() == [(1,), (3,), (4,)]
        database.close()


async def test_positions_are_not_used_again_after_everything_was_deleted(bench: Bench) -> None:
    for round_ in range(3):
        async with bench.open() as buffer:
            assert buffer.last_committed == round_ * 5
            for number in range(5):
                buffer.append(bench.reading(number))
            await buffer.flush()
            stored = await positions(buffer)
            assert stored == list(range(round_ * 5 + 1, round_ * 5 + 6))
            buffer.acknowledge("broker", stored)


async def test_a_destination_that_joins_later_starts_at_that_moment(bench: Bench) -> None:
    async with bench.open("old") as buffer:
        buffer.append(bench.reading(1))
    async with bench.open("old", "new") as buffer:
        buffer.append(bench.reading(2))
        await buffer.flush()
        assert await positions(buffer, "old") == [1, 2]
        assert await positions(buffer, "new") == [2]


async def test_a_removed_destination_frees_what_only_it_was_waiting_for(bench: Bench, until: Until) -> None:
    async with bench.open("stays", "leaves") as buffer:
        for number in range(6):
            buffer.append(bench.reading(number))
        await buffer.flush()
        buffer.acknowledge("stays", [1, 2, 3, 4])
    async with bench.open("stays") as buffer:
        assert await positions(buffer, "stays") == [5, 6]
        await until(lambda: bench.health.dropped == Counter({"destination-removed": 4}))
        await buffer.flush()
        assert bench.health.readings == 2
    async with bench.open("stays", "leaves") as buffer:
        assert buffer.backlog("leaves") == 0
        assert bench.health.dropped == Counter()


async def test_a_set_aside_reading_is_kept_with_its_reason_and_out_of_the_way(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(3):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        await buffer.set_aside("a", 2, "0x99 payload format invalid")
        await buffer.set_aside("a", 2, "a second time")
        await buffer.set_aside("a", 77, "never existed")
        assert await positions(buffer, "a") == [1, 3]
        assert await positions(buffer, "b") == [1, 2, 3]
        with sqlite3.connect(bench.path) as database:
            rows = database.execute("SELECT destination, position, reason, body FROM set_aside").fetchall()
        database.close()
    assert rows == [("a", 2, "0x99 payload format invalid", '{"0":1.0}')]


async def test_leaving_commits_what_was_appended_last_even_after_an_error(bench: Bench) -> None:
    async def fail_in_the_middle() -> None:
        async with bench.open() as buffer:
            for number in range(3 * MOST_ROWS):
                buffer.append(bench.reading(number))
            raise RuntimeError("the body failed")

    with pytest.raises(ExceptionGroup):  # of the writer's task group; the error is inside
        await fail_in_the_middle()
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 3 * MOST_ROWS


async def test_a_value_that_json_cannot_hold_costs_its_own_reading_only(bench: Bench) -> None:
    async with bench.open() as buffer:
        for reading in (bench.reading(1), bench.reading(2**70), bench.reading(1.0, True, "\ud800"), bench.reading(4)):
            buffer.append(reading)
        await buffer.flush()
        stored = await buffer.peek("broker", after=0)
        assert [(one.position, one.reading.values[0]) for one in stored] == [(1, 1), (2, 4)]
        assert bench.health.dropped == Counter({"not-encodable": 2})


@pytest.mark.parametrize("taken_ns", [2**63, 2**80, -(2**63) - 1])
async def test_a_time_that_64_bits_cannot_hold_costs_its_own_reading_only(bench: Bench, taken_ns: int) -> None:
    async with bench.open() as buffer:
        for reading in (bench.reading(1), replace(bench.reading(2), observed_at_ns=taken_ns), bench.reading(3)):
            buffer.append(reading)
        await buffer.flush()
        assert [one.reading.values[0] for one in await buffer.peek("broker", after=0)] == [1, 3]
        assert bench.health.dropped == Counter({"not-encodable": 1})
    (lost,) = inspect.status(bench.path).dropped
    assert (lost.reason, lost.readings) == ("not-encodable", 1)


async def test_health_says_what_is_held(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        assert (bench.health.readings, bench.health.oldest_ns) == (0, None)
        buffer.append(bench.reading(1, age_s=5))
        assert bench.health.readings == 1
        buffer.append(bench.reading(2))
        await buffer.flush()
        await until(lambda: bench.health.bytes > 0)
        assert bench.health.readings == 2
        assert bench.health.oldest_ns == bench.now_ns - 5_000_000_000
        assert sum(bench.health.commit_seconds.counts) >= 1
        buffer.acknowledge("broker", [1])
        await until(lambda: bench.health.oldest_ns == bench.now_ns)
        buffer.acknowledge("broker", [2])
        assert bench.health.max_bytes == bench.settings.max_bytes
    assert bench.health.readings == 0
    assert bench.health == replace(bench.health, oldest_ns=None)


async def test_what_is_acknowledged_while_a_peek_is_under_way_is_not_given(bench: Bench) -> None:
    """It would be sent twice. What waits lies in two stretches, so it takes two queries, and time between them."""
    rounds = range(60)
    async with bench.open() as buffer:
        for number in range(100 * len(rounds)):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        waiting = {100 * turns + offset for turns in rounds for offset in (1, 2, 90)}
        buffer.acknowledge("broker", set(range(1, 100 * len(rounds) + 1)) - waiting)
    async with bench.open() as buffer:  # now they are in the database only
        for turns in rounds:
            first = 100 * turns + 1
            peeking = asyncio.create_task(buffer.peek("broker", after=first - 1, until=first + 99, limit=20))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not peeking.done():
                buffer.acknowledge("broker", [first])
                assert [one.position for one in await peeking] == [first + 1, first + 89]
            await peeking

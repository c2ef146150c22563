"""Bounded in bytes, in age and by free disk; every loss is counted, logged and remembered."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from drivers.settings import Priority
from gateway.buffer import inspect
from gateway.config import WhenFull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench, Until

MIB = 2**20


def on_disk_bytes(path: Path) -> int:
    return sum(
        companion.stat().st_size for companion in (path, path.with_name(f"{path.name}-wal")) if companion.exists()
    )


def rows_on_disk(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM reading").fetchone()
    return int(count)


async def test_a_full_buffer_drops_the_oldest_and_stays_within_max_bytes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open(max_bytes=2 * MIB) as buffer:
        for number in range(3000):
            buffer.append(bench.fat(number, age_s=3000 - number))
            if number % 50 == 49:
                await buffer.flush()
                assert on_disk_bytes(bench.path) <= 2.25 * MIB
    dropped = bench.health.dropped["max-bytes"]
    async with bench.open(max_bytes=64 * MIB) as buffer:
        stored = await buffer.peek("broker", after=0, limit=5000)
        assert len(stored) == buffer.backlog("broker") == bench.health.readings == 3000 - dropped
        assert [one.position for one in stored] == list(range(dropped + 1, 3001))
        assert 250 < len(stored) < 480
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "max-bytes" in errors[0]
    (record,) = inspect.status(bench.path).dropped
    assert (record.reason, record.readings) == ("max-bytes", dropped)
    assert record.first_observed_ns == bench.now_ns - 3000 * 10**9
    assert record.last_observed_ns == bench.now_ns - (3000 - dropped + 1) * 10**9


async def test_low_priority_goes_before_normal_before_high(bench: Bench) -> None:
    order = [Priority.HIGH, Priority.NORMAL, Priority.LOW, Priority.NORMAL]
    async with bench.open(max_bytes=2 * MIB) as buffer:
        for number in range(2400):
            buffer.append(bench.fat(number), priority=order[number % 4])
            if number % 50 == 49:
                await buffer.flush()
    dropped = bench.health.dropped["max-bytes"]
    async with bench.open(max_bytes=64 * MIB) as buffer:
        stored = await buffer.peek("broker", after=0, limit=5000)
        assert buffer.backlog("broker") == len(stored) == 2400 - dropped
        survivors = [order[(one.position - 1) % 4] for one in stored]
        assert survivors[:200] == [Priority.HIGH] * 200
        buffer.acknowledge("broker", [one.position for one in stored])
        assert buffer.backlog("broker") == bench.health.readings == 0


async def test_what_is_dropped_while_it_is_being_sent_is_not_counted_twice(bench: Bench, until: Until) -> None:
    async with bench.open(max_bytes=2 * MIB) as buffer:
        for number in range(300):
            buffer.append(bench.fat(number), priority=Priority.LOW if number % 2 else Priority.HIGH)
        await buffer.flush()
        in_flight = [one.position for one in await buffer.peek("broker", after=0)]
        for number in range(150):
            buffer.append(bench.fat(number), priority=Priority.HIGH)
        await buffer.flush()
        await until(lambda: bench.health.dropped["max-bytes"] > 0)
        before, dropped = buffer.backlog("broker"), bench.health.dropped["max-bytes"]
        buffer.acknowledge("broker", in_flight)
        assert before - buffer.backlog("broker") == 300 - dropped
        rest = await buffer.peek("broker", after=0)
        assert len(rest) == buffer.backlog("broker") == 150


async def test_a_trickle_of_acknowledgements_does_not_put_off_the_limit(bench: Bench) -> None:
    async with bench.open(max_bytes=2 * MIB) as buffer:
        for _ in range(150):
            for number in range(20):
                buffer.append(bench.fat(number))
            buffer.acknowledge("broker", [buffer.last_committed])  # something is always ready to be deleted
            await buffer.committed(buffer.last_committed)
        await buffer.flush()
        assert on_disk_bytes(bench.path) <= 2.5 * MIB
    assert bench.health.dropped["max-bytes"] > 1000


async def test_drop_newest_keeps_the_old_ones(bench: Bench, until: Until) -> None:
    async with bench.open(max_bytes=2 * MIB, when_full=WhenFull.DROP_NEWEST) as buffer:
        for number in range(1500):
            buffer.append(bench.fat(number))
            if number % 50 == 49:
                await buffer.flush()
        kept = buffer.last_committed
        assert kept + bench.health.dropped["max-bytes"] == 1500
        assert bench.health.refusing == "max-bytes"
        assert on_disk_bytes(bench.path) <= 2.25 * MIB
        assert [one.position for one in await buffer.peek("broker", after=0, limit=5000)] == list(range(1, kept + 1))
        buffer.acknowledge("broker", range(1, kept + 1))

        def accepted() -> bool:
            buffer.append(bench.fat(0))
            return buffer.last_committed > kept

        await until(accepted)
        assert bench.health.refusing == ""


async def test_a_lowered_limit_shrinks_the_file(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        for number in range(2000):
            buffer.append(bench.fat(number))
        await buffer.flush()
    assert on_disk_bytes(bench.path) > 7 * MIB
    async with bench.open(max_bytes=2 * MIB) as buffer:
        await until(lambda: on_disk_bytes(bench.path) <= 2 * MIB)
        stored = await buffer.peek("broker", after=0, limit=5000)
        assert stored[-1].position == 2000
        assert len(stored) == 2000 - bench.health.dropped["max-bytes"]


async def test_space_is_returned_when_the_backlog_has_been_sent(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        for number in range(3000):
            buffer.append(bench.fat(number))
        await buffer.flush()
        buffer.acknowledge("broker", range(1, 3001))
        await until(lambda: on_disk_bytes(bench.path) < 2 * MIB)
    assert bench.health.dropped == Counter()


async def test_readings_beyond_max_age_are_dropped(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        for number in range(10):
            bench.now_ns += 1_000_000_000
            buffer.append(bench.reading(number))
            await buffer.flush()
        bench.now_ns += 95_500_000_000
        await until(lambda: bench.health.readings == 5)
        assert bench.health.dropped == Counter({"max-age": 5})
        assert [one.position for one in await buffer.peek("broker", after=0)] == [6, 7, 8, 9, 10]
        assert buffer.backlog("broker") == 5
        await until(lambda: bench.health.oldest_ns == bench.now_ns - 99_500_000_000)


async def test_a_reading_of_an_unset_clock_is_not_taken_for_an_old_one(bench: Bench, until: Until) -> None:
    async with bench.open(max_age=100.0) as buffer:
        buffer.append(bench.reading(1, age_s=bench.now_ns / 1e9 - 5))  # 1970
        buffer.append(bench.reading(2))
        await buffer.flush()
        await until(lambda: bench.health.bytes > 0)
        assert buffer.backlog("broker") == 2
        bench.now_ns += 200_000_000_000
        await until(lambda: bench.health.dropped["max-age"] == 2)


async def test_below_the_free_disk_floor_old_readings_make_room_for_new_ones(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(1000):
            buffer.append(bench.fat(number))
        await buffer.flush()
    before = on_disk_bytes(bench.path)
    async with bench.open(min_free_disk=2**62, max_bytes=8 * MIB) as buffer:
        for number in range(1000):
            buffer.append(bench.fat(number))
            if number % 20 == 19:
                await buffer.flush()
    assert bench.path.stat().st_size <= before * 1.1
    assert 900 < bench.health.dropped["min-free-disk"] < 1100


async def test_counts_survive_drops_out_of_the_middle_and_a_restart(bench: Bench, until: Until) -> None:
    async with bench.open("a", "b", max_bytes=2 * MIB) as buffer:
        for number in range(1000):
            buffer.append(bench.fat(number), priority=Priority.HIGH if number % 3 == 0 else Priority.NORMAL)
            if number % 50 == 49:
                await buffer.flush()
    async with bench.open("a", "b", max_bytes=64 * MIB) as buffer:
        survivors = [one.position for one in await buffer.peek("a", after=0, limit=5000)]
        assert bench.health.readings == len(survivors)
        buffer.acknowledge("a", survivors[:100])
    async with bench.open("a", "b") as buffer:
        assert bench.health.readings == len(survivors)
        assert buffer.backlog("a") == len(survivors) - 100
        assert buffer.backlog("b") == len(survivors)
        assert [one.position for one in await buffer.peek("a", after=0, limit=5000)] == survivors[100:]
        assert [one.position for one in await buffer.peek("b", after=0, limit=5000)] == survivors
        buffer.acknowledge("b", survivors)
        buffer.acknowledge("a", survivors)
        assert bench.health.readings == 0
        await until(lambda: rows_on_disk(bench.path) == 0)

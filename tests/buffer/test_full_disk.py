"""A disk that is smaller than `max_bytes`, or that others fill: the buffer goes on in the files it has."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from gateway.config import Durability
from tests.buffer.test_failures import fill_disk

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench, Until

GIB = 2**30
HOLDS_ALL = {"max_bytes": GIB, "durability": Durability.PROCESS_CRASH}
"""Settings by which the disk is full long before the buffer."""


async def pass_through(bench: Bench, buffer: Buffer, *, readings: int) -> None:
    """Append one by one, and acknowledge each when it is committed: many small transactions, and nothing waits."""
    async with asyncio.timeout(20):
        for number in range(readings):
            buffer.append(bench.reading(float(number), True, "x" * 500))
            last = await buffer.committed(buffer.last_committed)
            buffer.acknowledge("broker", range(1, last + 1))


async def test_the_log_does_not_fill_a_small_disk_while_nothing_waits(bench: Bench, small_disk: Path) -> None:
    async with bench.open(path=small_disk / "buffer.db", **HOLDS_ALL) as buffer:
        await pass_through(bench, buffer, readings=350)
        assert bench.health.writable
        assert buffer.backlog("broker") == 0
    assert bench.health.dropped.total() == 0


async def test_a_buffer_as_large_as_its_disk_drops_in_place_and_commits_go_on(
    bench: Bench, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open(path=small_disk / "buffer.db", **HOLDS_ALL) as buffer:
        for number in range(4001):
            buffer.append(bench.reading(float(number), True, "x" * 1000))
            if number % 20 == 0:
                async with asyncio.timeout(20):
                    await buffer.flush()
                assert bench.health.writable
        assert bench.health.seconds_until_full < 5
        dropped = bench.health.dropped["min-free-disk"]
        assert bench.health.dropped.total() == dropped > 0
        kept = [one.reading.values[0] for one in await buffer.peek("broker", after=0, limit=10_000)]
        assert kept == [float(number) for number in range(dropped, 4001)]
        assert len(kept) > 700
    assert "database or disk is full" not in caplog.text


async def test_on_a_disk_that_others_fill_the_log_is_begun_again_and_readings_go_through(
    bench: Bench, small_disk: Path
) -> None:
    async with bench.open(path=small_disk / "buffer.db", **HOLDS_ALL) as buffer:
        await pass_through(bench, buffer, readings=3)
        fill_disk(small_disk / "filler")
        await pass_through(bench, buffer, readings=100)
        assert bench.health.writable
        assert bench.health.readings == 0
    assert bench.health.dropped.total() == 0


async def test_a_disk_without_room_for_a_commit_is_full_now(bench: Bench, small_disk: Path, until: Until) -> None:
    path = small_disk / "buffer.db"
    async with bench.open(path=path, **HOLDS_ALL) as buffer:
        fill_disk(small_disk / "filler")
        for number in range(400):
            buffer.append(bench.reading(float(number), True, "x" * 2000))
        await until(lambda: not bench.health.writable)
        assert bench.health.seconds_until_full == 0
        assert bench.health.bytes == sum(file.stat().st_size for file in (path, small_disk / "buffer.db-wal"))
        (small_disk / "filler").unlink()
        await buffer.flush()
        assert buffer.backlog("broker") == 400


async def test_a_disk_below_min_free_disk_is_told_of_before_anything_is_dropped(
    bench: Bench, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench.open(min_free_disk=2**60) as buffer:
        await until(lambda: caplog.records)
        buffer.append(bench.reading(1.0))
        await buffer.flush()
    (told,) = [record for record in caplog.records if record.name == "gateway.buffer.full_disk"]
    assert told.levelname == "WARNING"
    assert f"min_free_disk is {2**60}" in told.getMessage()
    assert bench.health.dropped.total() == 0


async def test_while_the_disk_is_low_the_database_has_all_pages_of_its_log(bench: Bench, until: Until) -> None:
    async with bench.open(min_free_disk=2**60) as buffer:
        await until(lambda: bench.health.bytes)
        before_bytes = bench.path.stat().st_size
        for number in range(30):
            buffer.append(bench.reading(float(number), True, "x" * 2000))
        await buffer.flush()
        await until(lambda: bench.path.stat().st_size > before_bytes + 30 * 2000)
    assert bench.health.dropped.total() == 0

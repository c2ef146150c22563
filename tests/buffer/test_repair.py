"""A database that goes bad while the gateway runs."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.buffer import inspect
from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.damage import suspicion
from tests.buffer.test_damage import zero_page
from tests.buffer.test_failures import fill, fill_disk, speeds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench, Until


def tear_first_page(bench: Bench) -> None:
    with bench.path.open("r+b") as file:
        file.write(os.urandom(PAGE_BYTES))


def cut_in_half(bench: Bench) -> None:
    os.truncate(bench.path, bench.path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)


def empty(bench: Bench) -> None:
    os.truncate(bench.path, 0)


def files(bench: Bench, pattern: str) -> list[Path]:
    return list(bench.path.parent.glob(pattern))


async def numbers(buffer: Buffer) -> list[tuple[int, object]]:
    return [(one.position, one.reading.values[0]) for one in await buffer.peek("broker", after=0, limit=9999)]


async def peek_until_repaired(bench: Bench, buffer: Buffer, until: Until) -> None:
    await buffer.peek("broker", after=0, limit=9999)
    await until(lambda: files(bench, "buffer.db.damaged-*Z") and bench.health.writable)


@pytest.mark.parametrize("spoil", [zero_page, tear_first_page, cut_in_half, empty])
async def test_a_file_that_goes_bad_is_replaced_and_everything_goes_on(
    bench: Bench, until: Until, caplog: pytest.LogCaptureFixture, spoil: Callable[[Bench], None]
) -> None:
    await fill(bench, 3000)
    async with bench.open() as buffer:
        epoch = buffer.epoch
        buffer.append(bench.reading(3000.0))
        await buffer.flush()
        spoil(bench)
        await peek_until_repaired(bench, buffer, until)
        buffer.append(bench.reading(3001.0))
        await buffer.flush()
        found = await buffer.peek("broker", after=0, limit=9999)
        assert all(one.position == one.reading.values[0] + 1 for one in found)  # type: ignore[operator]
        assert [one.position for one in found[-2:]] == [3001, 3002]
        assert len(found) + bench.health.dropped["damaged"] == 3002
        assert buffer.backlog("broker") == bench.health.readings == len(found)
        assert (buffer.epoch, buffer.last_committed) == (epoch, 3002)
        assert not suspicion(bench.path).exists()
    assert caplog.text.count("moved to buffer.db.damaged-") == 1
    assert "positions go on" in caplog.text
    async with bench.open() as buffer:
        assert await numbers(buffer) == [(one.position, one.reading.values[0]) for one in found]
        assert (buffer.epoch, bench.health.dropped["damaged"]) == (epoch, 0)


def cannot_be_made(path: Path) -> None:
    path.symlink_to("/proc/self/nowhere")


def cannot_be_removed(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [cannot_be_made, cannot_be_removed])
async def test_a_file_beside_it_that_the_disk_does_not_take_holds_up_no_repair(
    bench: Bench, until: Until, spoil: Callable[[Path], None]
) -> None:
    await fill(bench, 3000)
    async with bench.open() as buffer:
        spoil(suspicion(bench.path))
        zero_page(bench)
        await peek_until_repaired(bench, buffer, until)
        found = await speeds(buffer)
        assert len(found) + bench.health.dropped["damaged"] == 3000 > len(found)


async def test_what_is_in_memory_survives_whatever_is_left_of_the_file(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        for number in range(500):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        with closing(sqlite3.connect(bench.path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        empty(bench)
        buffer.append(bench.reading(500.0))
        await until(lambda: files(bench, "buffer.db.damaged-*Z"))
        await buffer.flush()
        assert await speeds(buffer) == [float(number) for number in range(501)]
        assert bench.health.dropped["damaged"] == 0
    async with bench.open() as buffer:
        assert await speeds(buffer) == [float(number) for number in range(501)]


async def test_every_destination_keeps_its_place_and_what_is_in_flight_its_acknowledgement(
    bench: Bench, until: Until
) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(3000):
            buffer.append(bench.reading(float(number), True, "x" * 100))
        await buffer.flush()
        await buffer.set_aside("a", 7, "too large")
    async with bench.open("a", "b") as buffer:
        in_flight = [one.position for one in await buffer.peek("a", after=0, limit=2000)]
        zero_page(bench, share=0.5)  # among what is in flight
        zero_page(bench, share=0.9)
        await buffer.peek("b", after=2000, limit=3000)
        await until(lambda: bench.health.dropped["damaged"] and bench.health.writable)
        lost = bench.health.dropped["damaged"]
        assert (buffer.backlog("a"), buffer.backlog("b")) == (2999 - lost, 3000 - lost)
        buffer.acknowledge("a", in_flight)
        left = buffer.backlog("a")
        assert 900 < len(await buffer.peek("a", after=0, limit=3000)) == left < 999
        assert len(await buffer.peek("b", after=0, limit=3000)) == buffer.backlog("b") == 3000 - lost
        await buffer.flush()
    status = inspect.status(bench.path)
    assert (status.set_aside, status.backlog) == ({"a": 1}, {"a": left, "b": 3000 - lost})
    assert [(one.reason, one.readings, one.shares) for one in status.dropped] == [
        ("damaged", lost, {"a": lost, "b": lost})
    ]


async def test_what_is_being_set_aside_is_not_lost_with_the_file(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(10):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        with closing(sqlite3.connect(bench.path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tear_first_page(bench)
        await buffer.set_aside("broker", 3, "too large")
        await buffer.flush()
        assert [one.position for one in await buffer.peek("broker", after=0)] == [1, 2, *range(4, 11)]
    (aside,) = inspect.set_aside(bench.path)
    assert aside["values"] == {"speed": 2.0}
    assert len(files(bench, "buffer.db.damaged-*Z")) == 1


async def test_readings_go_on_being_taken_while_it_cannot_be_repaired(
    bench: Bench, small_disk: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open(path=small_disk / "buffer.db"):
        pass
    await fill(bench, 3000)
    filler = small_disk / "filler"
    async with bench.open() as buffer:
        fill_disk(filler)
        zero_page(bench)
        await buffer.peek("broker", after=0, limit=9999)
        await until(lambda: "cannot repair the buffer" in caplog.text)
        for number in range(3000, 4000):
            buffer.append(bench.reading(float(number)))
        filler.unlink()
        await peek_until_repaired(bench, buffer, until)
        await buffer.flush()
        found = await speeds(buffer)
        assert found[-1000:] == [float(number) for number in range(3000, 4000)]
        assert bench.health.dropped["damaged"]
        assert len(found) + sum(bench.health.dropped.values()) == 4000
    assert caplog.text.count("cannot repair the buffer") == 1
    assert not files(bench, "buffer.db.salvaging*")

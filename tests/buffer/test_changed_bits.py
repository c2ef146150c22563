"""A bit changes on the disk, and SQLite finds nothing wrong: what a row then says, nobody has written."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from drivers.model import Point, PointGroup, Reading
from drivers.settings import Priority
from gateway.buffer import inspect
from tests.buffer.test_failures import fill, speeds

if TYPE_CHECKING:
    from tests.buffer.conftest import Bench, Until


def change(bench: Bench, *statements: str) -> None:
    with closing(sqlite3.connect(bench.path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def forget(bench: Bench, column: str, *, position: int) -> None:
    """Make a column NULL that must not be."""
    alter = "UPDATE sqlite_schema SET sql = replace(sql, '{0}', '{1}') WHERE name = 'reading'"
    declared = f"{column:<14} INTEGER NOT NULL", f"{column:<14} INTEGER"
    change(bench, "PRAGMA writable_schema = ON", alter.format(*declared))
    change(bench, f"UPDATE reading SET {column} = NULL WHERE id = {position}")
    change(bench, "PRAGMA writable_schema = ON", alter.format(*reversed(declared)))


# A time that is none


@pytest.mark.parametrize("taken", ["0.5", "x'00'", "'soon'", "NULL"])
@pytest.mark.parametrize("position", [1, 10, 20])
async def test_a_reading_whose_time_is_none_is_counted_and_the_others_go_on(
    bench: Bench, until: Until, taken: str, position: int
) -> None:
    await fill(bench, 20)
    if taken == "NULL":
        forget(bench, "observed_at_ns", position=position)
    else:
        change(bench, f"UPDATE reading SET observed_at_ns = {taken} WHERE id = {position}")
    assert inspect.status(bench.path).readings == 20
    async with bench.open() as buffer:
        assert await speeds(buffer) == [float(number) for number in range(20) if number != position - 1]
        await until(lambda: bench.health.bytes)  # it has looked at the bounds
        assert bench.health.dropped == Counter({"damaged": 1})
        assert buffer.backlog("broker") == 19
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == len(await speeds(buffer)) == 19
        assert not bench.health.dropped.total()


async def test_a_reading_whose_time_is_none_grows_old_with_the_others(bench: Bench, until: Until) -> None:
    await fill(bench, 20)
    change(bench, "UPDATE reading SET observed_at_ns = 0.5 WHERE id = 10")
    bench.now_ns += 200 * 86_400 * 10**9
    async with bench.open():
        await until(lambda: bench.health.dropped.total() == 20)
        await until(lambda: bench.health.readings == 0)


# A position that is another


def misplace(bench: Bench, *, position: int) -> None:
    """One bit of it, in the file: then it is far ahead of its place."""
    content = bytearray(bench.path.read_bytes())
    written = bytes((0x80 | position >> 7, position & 0x7F))
    found = re.search(re.escape(written) + rb"[\x06-\x08]\x00[\x01-\x09]\x06", content)
    assert found is not None
    content[found.start()] ^= 0x40
    bench.path.write_bytes(content)


async def test_a_reading_out_of_its_place_hides_none_behind_it(bench: Bench, until: Until) -> None:
    numbers = await fill(bench, 3000)
    misplace(bench, position=1500)
    async with bench.open() as buffer:
        await buffer.peek("broker", after=0, limit=9999)
        await until(lambda: bench.health.dropped["damaged"] and bench.health.writable)
        assert await speeds(buffer) == [number for number in numbers if number != 1499]
        assert bench.health.dropped["damaged"] == 1


async def test_a_first_reading_out_of_its_place_hides_none_behind_it(bench: Bench, until: Until) -> None:
    numbers = await fill(bench, 3000)
    async with bench.open() as buffer:
        buffer.acknowledge("broker", range(1, 1000))
    misplace(bench, position=1000)
    async with bench.open() as buffer:
        await until(lambda: bench.health.dropped["damaged"] and bench.health.writable)
        assert await speeds(buffer) == numbers[1000:]
        assert bench.health.dropped["damaged"] == 1


# A column that is missing


async def test_a_row_that_cannot_be_written_again_is_a_damage(bench: Bench, until: Until) -> None:
    """Rows that stay where others are dropped are written anew."""
    others = PointGroup("other", 1.0, (Point("speed"), Point("text")))

    async def append(numbers: range) -> None:
        async with bench.open(max_bytes=2**20) as buffer:
            for number in numbers:
                buffer.append(Reading(others, bench.now_ns, (number, "x" * 200)), priority=Priority.LOW)
                buffer.append(bench.reading(float(number), True, "x" * 200))
                if number % 100 == 0:
                    await buffer.flush()
            await until(lambda: numbers.start == 0 or bench.health.dropped["damaged"])
            await buffer.flush()
            await until(lambda: buffer.backlog("broker") == bench.health.readings)

    await append(range(1000))
    forget(bench, "group_id", position=411)
    await append(range(1000, 2000))
    assert bench.health.dropped["damaged"] == 1
    assert bench.health.writable

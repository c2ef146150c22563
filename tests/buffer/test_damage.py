"""A database that cannot be used as it is: moved aside, salvaged, and the gateway runs on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.buffer import inspect, retries
from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.damage import suspicion
from gateway.buffer.schema import APPLICATION_ID
from tests.buffer.test_failures import fill, speeds

if TYPE_CHECKING:
    from tests.buffer.conftest import Bench, Until


def zero_page(bench: Bench, *, share: float = 0.5) -> None:
    """A page goes bad, so far into the file."""
    with bench.path.open("r+b") as file:
        file.seek(int(bench.path.stat().st_size * share) // PAGE_BYTES * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


async def test_a_file_that_is_no_database_is_moved_aside(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.path.write_bytes(b"torn" * 5000)
    async with bench.open() as buffer:
        buffer.append(bench.reading(1.0))
        await buffer.flush()
        assert await speeds(buffer) == [1.0]
    (aside,) = bench.path.parent.glob("buffer.db.damaged-*")
    assert aside.name == "buffer.db.damaged-20270115T080000Z"
    assert aside.read_bytes() == b"torn" * 5000
    assert "was damaged" in caplog.text


async def test_what_can_be_read_of_a_damaged_database_is_salvaged(bench: Bench) -> None:
    numbers = await fill(bench, 5000)
    for share in (0.3, 0.5, 0.7):
        zero_page(bench, share=share)
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("UPDATE state SET value = 'another boot' WHERE key = 'running'")
        database.commit()
    async with bench.open() as buffer:
        salvaged = await speeds(buffer)
        assert buffer.backlog("broker") == bench.health.readings == len(salvaged)
        assert 4800 < len(salvaged) < 5000
        assert set(salvaged) < set(numbers)
        assert bench.health.dropped["damaged"] == 5000 - len(salvaged)
        stored = await buffer.peek("broker", after=0, limit=9999)
        assert all(one.position == one.reading.values[3] + 1 for one in stored)  # type: ignore[operator]
        buffer.append(bench.reading(1.0))
        assert await buffer.committed(5000) == 5001


async def test_a_salvaged_database_remembers_what_was_acknowledged(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(3000):
            buffer.append(bench.reading(float(number), True, "x" * 100, number))
        await buffer.flush()
        epoch = buffer.epoch
        buffer.acknowledge("a", range(1, 2991))
    zero_page(bench)
    suspicion(bench.path).touch()
    async with bench.open("a", "b") as buffer:
        assert buffer.epoch == epoch
        assert buffer.backlog("a") == 10
        assert 2900 < buffer.backlog("b") < 3000
        assert len(await buffer.peek("b", after=0, limit=9999)) == buffer.backlog("b")
    assert not suspicion(bench.path).exists()


@pytest.mark.parametrize("kept", [1, 100, 4096, 10_000])
async def test_a_truncated_database_does_not_stop_the_gateway(bench: Bench, kept: int) -> None:
    await fill(bench, 500)
    os.truncate(bench.path, kept)
    async with bench.open() as buffer:
        assert len(await speeds(buffer)) == buffer.backlog("broker")
        buffer.append(bench.reading(7.0))
        await buffer.flush()
        assert (await speeds(buffer))[-1] == 7.0


@pytest.mark.parametrize("cut", [1, 20])
async def test_what_is_left_of_a_truncated_database_is_salvaged(bench: Bench, cut: int) -> None:
    await fill(bench, 3000)
    pages = bench.path.stat().st_size // PAGE_BYTES
    os.truncate(bench.path, (pages - cut) * PAGE_BYTES)
    async with bench.open() as buffer:
        found = await speeds(buffer)
        assert 1000 < len(found) == buffer.backlog("broker") == 3000 - bench.health.dropped["damaged"] < 3000


async def test_a_file_of_which_nothing_can_be_read_is_not_said_to_have_lost_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(bench, 20)
    os.truncate(bench.path, 10_000)
    async with bench.open():
        assert bench.health.dropped == Counter({"damaged": 20})
    told = [record.message for record in caplog.records if "was damaged" in record.message]
    assert "nothing in it tells how many are lost" in told[0]


async def test_an_interrupted_replacement_is_finished_at_the_next_start(bench: Bench) -> None:
    numbers = await fill(bench, 20)
    bench.path.rename(bench.path.with_name("buffer.db.salvaging"))
    async with bench.open() as buffer:
        assert await speeds(buffer) == numbers


async def test_a_row_whose_bits_have_changed_costs_itself_only(bench: Bench) -> None:
    await fill(bench, 10)
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("UPDATE reading SET body = 'garbage' WHERE id = 4")
        database.execute("UPDATE reading SET group_id = 99 WHERE id = 7")
        database.commit()
    async with bench.open() as buffer:
        assert await speeds(buffer) == [0.0, 1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 9.0]
        assert bench.health.dropped == Counter({"damaged": 2})
        assert buffer.backlog("broker") == 8


async def test_readings_that_are_missing_in_a_sound_table_are_counted(bench: Bench) -> None:
    """A page in the place of another may be in good order for SQLite."""
    await fill(bench, 300)
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("DELETE FROM reading WHERE id BETWEEN 101 AND 120")
        database.commit()
    suspicion(bench.path).touch()
    async with bench.open() as buffer:
        assert len(await speeds(buffer)) == buffer.backlog("broker") == 280
        assert bench.health.dropped["damaged"] == 20


def repeat_leaf(bench: Bench) -> None:
    """A leaf of the readings is found in the place of later ones."""
    with closing(sqlite3.connect(bench.path)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'reading'").fetchone()
    content = bytearray(bench.path.read_bytes())
    start = (root - 1) * PAGE_BYTES

    def leaf(number: int) -> slice:
        pointer = start + 12 + 2 * number
        cell = start + int.from_bytes(content[pointer : pointer + 2], "big")
        page = int.from_bytes(content[cell : cell + 4], "big")
        return slice((page - 1) * PAGE_BYTES, page * PAGE_BYTES)

    for number in range(48, 56):
        content[leaf(number)] = content[leaf(5)]
    bench.path.write_bytes(content)


@pytest.mark.parametrize("checked", [True, False])
async def test_rows_that_come_out_of_order_do_not_lead_round_in_circles(
    bench: Bench, until: Until, checked: bool
) -> None:
    await fill(bench, 3000)
    repeat_leaf(bench)
    if checked:
        suspicion(bench.path).touch()
    async with bench.open() as buffer:
        async with asyncio.timeout(10):
            await speeds(buffer)
        await until(lambda: bench.health.dropped["damaged"] and bench.health.writable)
        found = await speeds(buffer)
        assert sorted(set(found)) == found  # type: ignore[type-var]
        assert 2600 < len(found) == buffer.backlog("broker") == 3000 - bench.health.dropped["damaged"] < 3000


# A newer version


def make_newer(bench: Bench, *statements: str) -> bytes:
    """As a newer gateway would leave it. Returns the file."""
    with closing(sqlite3.connect(bench.path)) as database:
        for statement in (*statements, "PRAGMA user_version = 9999"):
            database.execute(statement)
        database.commit()
    return bench.path.read_bytes()


async def test_what_can_be_read_of_a_newer_database_is_salvaged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(40):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        buffer.acknowledge("a", range(1, 21))
        for destination in ("a", "b"):
            await buffer.set_aside(destination, 30, "too large")
    content = make_newer(
        bench,
        "ALTER TABLE reading ADD COLUMN station TEXT DEFAULT 'infeed'",
        "CREATE TABLE promise (id INTEGER PRIMARY KEY)",
        "INSERT INTO retry VALUES ('a', 1)",
    )
    async with bench.open("a", "b") as buffer:
        assert await buffer.returned("a") == 1  # what was asked for of the newer one is done
        assert (buffer.backlog("a"), buffer.backlog("b")) == (20, 39)
        assert bench.health.dropped["damaged"] == 0
        buffer.append(bench.reading(40.0))
        await buffer.flush()
        assert [one.position for one in await buffer.peek("a", after=0)] == list(range(21, 42))
    assert inspect.status(bench.path).set_aside == {"b": 1}
    (aside,) = bench.path.parent.glob("buffer.db.newer-*Z")
    assert aside.read_bytes() == content
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "has version 9999, this gateway knows versions up to" in told.message
    assert f"moved to {aside.name}, 39 readings and 2 that were set aside salvaged, none lost" in told.message


async def test_a_newer_database_without_a_table_that_we_know_is_moved_aside(bench: Bench) -> None:
    with closing(sqlite3.connect(bench.path)) as database:
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE t (x)")
    make_newer(bench)
    async with bench.open() as buffer:
        assert await speeds(buffer) == []
    assert len(list(bench.path.parent.glob("buffer.db.newer-*Z"))) == 1


# What is not a reading


async def test_what_was_set_aside_and_asked_for_again_survives_a_damage(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(3000):
            buffer.append(bench.reading(float(number), True, "x" * 100, number))
        await buffer.flush()
        for position in (5, 2995):
            await buffer.set_aside("broker", position, "too large")
    zero_page(bench)
    retries.request(bench.path, ["broker"], since_ns=0)
    suspicion(bench.path).touch()
    async with bench.open() as buffer:
        assert await buffer.returned("broker", seen=1) == 2
        stored = {one.position for one in await buffer.peek("broker", after=0, limit=9999)}
        assert {5, 2995} < stored
        assert len(stored) == 3000 - bench.health.dropped["damaged"]

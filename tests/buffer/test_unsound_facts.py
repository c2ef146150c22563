"""Rows that are not readings say what nobody has written: the gateway starts all the same, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer, BufferUnavailable, inspect
from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.damage import suspicion
from gateway.buffer.mark import mark_of
from gateway.buffer.opening import prepare
from gateway.config import Start
from tests.buffer.test_changed_bits import change
from tests.buffer.test_damage import zero_page
from tests.buffer.test_failures import fill, speeds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench, Until


def asides(bench: Bench) -> list[Path]:
    return list(bench.path.parent.glob("buffer.db.damaged-*Z"))


async def positions(buffer: Buffer, destination: str) -> list[int]:
    return [one.position for one in await buffer.peek(destination, after=0, limit=9999)]


async def fill_for_two(bench: Bench) -> None:
    """`a` waits for all of 50, `b` for none."""
    async with bench.open("a", "b") as buffer:
        for number in range(50):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        buffer.acknowledge("b", range(1, 51))


# Single facts


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", "'1e~0a3c4'"),
        ("durability", "'pover-loss'"),
        ("held", "'20'"),
        ("held", "x'3230203230'"),
        ("newest_ns", "'q800000000000000000'"),
        ("skipped", "'[[1,2'"),
        ("skipped", "'[[1.5,2]]'"),
        ("sweeps", "'z'"),
        ("sweeps", "'[]'"),
        ("sweeps", """'{"low":[1,0.0,0]}'"""),
        ("full", "'1'"),
    ],
)
async def test_a_fact_that_was_never_written_is_left_out_once(bench: Bench, key: str, value: str) -> None:
    numbers = await fill(bench, 20)
    async with bench.open() as buffer:
        epoch = buffer.epoch
    change(bench, f"UPDATE state SET value = {value} WHERE key = '{key}'")
    for _ in range(2):
        async with bench.open() as buffer:
            assert await speeds(buffer) == numbers
            assert (buffer.epoch, buffer.last_committed) == (epoch, 20)
            assert not bench.health.dropped.total()
        assert len(asides(bench)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clock_era SET offset_ns = x'00'",
        "UPDATE clock_era SET correction_ns = 0.5",
        "INSERT INTO dropped_for VALUES (x'00', 'broker', 1, 1, 1)",
    ],
)
async def test_a_row_of_another_table_that_was_never_written_is_left_out_once(bench: Bench, statement: str) -> None:
    numbers = await fill(bench, 20)
    change(bench, statement)
    for _ in range(2):
        async with bench.open() as buffer:
            assert await speeds(buffer) == numbers
        assert len(asides(bench)) == 1


async def test_what_cannot_be_left_out_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(bench, 20)
    change(bench, "UPDATE state SET value = 'soon' WHERE key = 'newest_ns'")
    monkeypatch.setattr("gateway.buffer.salvage.check_fact", lambda *_: None)
    with pytest.raises(BufferUnavailable, match=r"a row says what was never written: .*'soon'; change buffer\.path"):
        async with bench.open():
            pass


# Destinations


@pytest.mark.parametrize(
    "spoilt",
    [
        "pending = '[{1,50]]'",
        "pending = '[[6,50]]'",
        "pending = '[[6,50]]', checksum = NULL",  # of an earlier version: fewer than it says
        "pending = '[[1,58]]', checksum = NULL",  # beyond what it says
        "pending = '[[3,50]]', waiting = 48",
        "name = 'c'",
        "pending = x'00'",
        "through = 'soon'",
        "waiting = 0.5",
    ],
)
async def test_a_destination_whose_place_cannot_be_told_waits_for_everything(
    bench: Bench, until: Until, spoilt: str
) -> None:
    await fill_for_two(bench)
    change(bench, f"UPDATE destination SET {spoilt} WHERE name = 'a'")
    async with bench.open("a", "b") as buffer:
        assert (buffer.backlog("a"), buffer.backlog("b")) == (50, 0)
        await until(lambda: bench.health.bytes)
        await buffer.flush()
        assert await positions(buffer, "a") == list(range(1, 51))
        assert not bench.health.dropped.total()


@pytest.mark.parametrize("also", [None, "b"])
async def test_a_destination_that_may_have_been_forgotten_waits_for_everything(bench: Bench, also: str | None) -> None:
    await fill_for_two(bench)
    change(bench, "DELETE FROM destination WHERE name = 'a'", "PRAGMA application_id = 7")
    async with bench.open("a", *([also] if also else []), starts={"a": Start.NOW}) as buffer:
        assert (buffer.backlog("a"), bench.health.readings) == (50, 50)
        assert await positions(buffer, "a") == list(range(1, 51))
        buffer.acknowledge("a", range(1, 51))
        await buffer.flush()
        assert bench.health.readings == 0
        assert not bench.health.dropped.total()
    async with bench.open("a", "c") as buffer:  # nothing was salvaged since: a new one begins now
        buffer.append(bench.reading(50.0))
        await buffer.flush()
        assert (buffer.backlog("a"), buffer.backlog("c")) == (1, 1)


async def test_a_destination_that_joins_a_sound_database_waits_for_nothing_old(bench: Bench) -> None:
    await fill_for_two(bench)
    async with bench.open("a", "b", "c") as buffer:
        assert (buffer.backlog("a"), buffer.backlog("b"), buffer.backlog("c")) == (50, 0, 0)


async def test_what_is_to_be_deleted_after_a_start_are_positions_with_rows(bench: Bench) -> None:
    """An old reading waits, and those after it have long been delivered."""
    await fill(bench, 20)
    change(
        bench,
        "DELETE FROM reading WHERE id BETWEEN 2 AND 9 OR id BETWEEN 12 AND 18",
        "UPDATE destination SET pending = '[[1,1],[20,20]]', waiting = 2, checksum = NULL",
    )
    with mark_of(bench.path) as marks:
        opened = prepare(bench.settings, destinations={"broker": Start.NOW}, marks=marks, clock=bench.clock)
    assert list(opened.backlogs.done) == [(10, 19)]


async def test_the_mark_names_the_first_position_of_all_that_is_held(bench: Bench) -> None:
    async with bench.open("stays", "leaves") as buffer:
        for number in range(10):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        buffer.acknowledge("stays", (1, 2, *range(6, 11)))
        buffer.acknowledge("leaves", range(1, 8))
    with mark_of(bench.path) as marks:
        opened = prepare(bench.settings, destinations={"stays": Start.NOW}, marks=marks, clock=bench.clock)
    assert opened.backlogs.orphaned.first == 8
    assert opened.mark.first == 3


# Groups of points


async def test_values_never_go_out_under_another_name(bench: Bench) -> None:
    other = PointGroup("outfeed", 1.0, (Point("speed"), Point("text")))
    async with bench.open() as buffer:
        for number in range(5):
            buffer.append(bench.reading(float(number)))
            buffer.append(Reading(other, bench.now_ns, (float(number), "")))
        await buffer.flush()
    change(bench, """UPDATE point_group SET points = replace(points, '"speed"', '"speec"') WHERE device = 'outfeed'""")
    for opened in range(2):
        async with bench.open() as buffer:
            names = [one.reading.group.names for one in await buffer.peek("broker", after=0)]
            assert names == [bench.group.names] * 5
            assert bench.health.dropped["damaged"] == (0 if opened else 5)
    async with bench.open() as buffer:
        buffer.append(Reading(other, bench.now_ns, (9.0, "")))
        await buffer.flush()
        assert (await buffer.peek("broker", after=0))[-1].reading.group.names == ("speed", "text")


async def test_what_an_earlier_version_wrote_is_checked_once_it_was_taken_for_good(bench: Bench) -> None:
    await fill(bench, 5)
    change(bench, "UPDATE point_group SET checksum = NULL", "UPDATE destination SET checksum = NULL")
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 5
    change(bench, "UPDATE point_group SET device = 'infeee'")
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 0
        assert bench.health.dropped["damaged"] == 5


# What was set aside


async def set_aside_three(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(10):
            buffer.append(bench.reading(float(number)))
        await buffer.flush()
        for position in (2, 5, 7):
            await buffer.set_aside("broker", position, "refused")


async def test_what_was_set_aside_and_cannot_be_read_is_counted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await set_aside_three(bench)
    change(bench, "UPDATE set_aside SET body = '[9,null,null,null]' WHERE position = 5", "PRAGMA application_id = 7")
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 7
        assert bench.health.dropped == Counter({"damaged": 1})
    assert "7 readings and 2 that were set aside salvaged, 1 that were set aside lost;" in caplog.text
    (lost,) = inspect.status(bench.path).dropped
    assert (lost.reason, lost.readings, lost.shares) == ("damaged", 1, {"broker": 1})


def spoil_table(path: Path, table: str) -> None:
    """The only page of it goes bad."""
    with closing(sqlite3.connect(path)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)


async def test_what_was_set_aside_on_a_bad_page_is_counted_by_its_index(bench: Bench) -> None:
    await set_aside_three(bench)
    spoil_table(bench.path, "set_aside")
    suspicion(bench.path).touch()
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 7
        assert bench.health.dropped == Counter({"damaged": 3})
    with closing(sqlite3.connect(bench.path)) as database:
        assert database.execute("SELECT * FROM dropped_for").fetchall() == [(1, "broker", 3, 2, 7)]


async def test_what_was_set_aside_is_counted_while_the_gateway_runs(bench: Bench, until: Until) -> None:
    await set_aside_three(bench)
    await fill(bench, 3000)
    async with bench.open() as buffer:
        change(bench, "UPDATE set_aside SET body = '[9,null,null,null]' WHERE position = 5")
        zero_page(bench)
        await buffer.peek("broker", after=0, limit=9999)
        await until(lambda: bench.health.dropped["damaged"] and bench.health.writable)
        assert buffer.backlog("broker") + bench.health.dropped["damaged"] == 7 + 3000 + 1
    assert inspect.status(bench.path).set_aside == {"broker": 2}


# A loss that is found at the start


class Killed(BaseException):
    """The process ends here."""


async def test_a_loss_is_counted_although_the_start_that_found_it_was_cut_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(bench, 20)
    change(bench, "UPDATE reading SET body = 'garbage' WHERE id = 4", "PRAGMA application_id = 7")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("gateway.buffer.opening.stand", killed)
        with pytest.raises(Killed):
            await bench.open().__aenter__()
    async with bench.open() as buffer:
        assert buffer.backlog("broker") == 19
        assert bench.health.dropped == Counter({"damaged": 1})
    async with bench.open():
        assert not bench.health.dropped.total()


async def test_a_loss_that_was_found_is_written_down_before_anything_else_happens(bench: Bench) -> None:
    await fill(bench, 20)
    change(bench, "UPDATE reading SET body = 'garbage' WHERE id = 4", "PRAGMA application_id = 7")
    for _ in range(2):
        with mark_of(bench.path) as marks:
            prepare(bench.settings, destinations={"broker": Start.NOW}, marks=marks, clock=bench.clock)
        (lost,) = inspect.status(bench.path).dropped
        assert (lost.reason, lost.readings) == ("damaged", 1)

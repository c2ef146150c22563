"""Loss is told at its edges and every hour between, and is written down with times and positions."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from gateway.buffer import inspect
from gateway.buffer.backlogs import Backlogs
from gateway.buffer.bounds import Budget
from gateway.buffer.connections import connect
from gateway.buffer.drops import DropReason, Drops, Loss
from gateway.buffer.eras import Eras
from gateway.buffer.ranges import Ranges
from gateway.buffer.schema import migrate
from gateway.buffer.settling import Settler
from gateway.buffer.store import Store
from gateway.buffer.timekeeping import Timekeeper
from gateway.health import BufferHealth

if TYPE_CHECKING:
    from tests.buffer.conftest import Bench

SECOND_NS = 10**9
START_NS = 1_800_000_000 * SECOND_NS


def at(*rows: tuple[int, int], of: str = "ab") -> Loss:
    """These rows, lost by each of the destinations with a letter in `of`."""
    return Loss.at(rows, {name: [position for position, _ in rows] for name in of})


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    found = [(record.levelno, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_an_episode_is_told_when_it_begins_every_hour_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    drops = Drops(BufferHealth(), next_id=1, clock_ns=lambda: START_NS)
    for second in range(9001):
        if second < 8000:
            drops.count(DropReason.MAX_BYTES, at((second + 1, START_NS + second * SECOND_NS)))
        drops.look(float(second))
    (begun, first_hour, second_hour) = told(caplog)
    assert begun[0] == first_hour[0] == second_hour[0] == logging.ERROR
    assert "(max-bytes): 1 so far" in begun[1]
    assert "still dropping readings from the buffer (max-bytes): 3600 in 1.0 hours, 3601 so far" in first_hour[1]
    assert (
        "7201 so far, 7201 for a, 7201 for b, observed from 2027-01-15T08:00:00.000Z to 2027-01-15T10:00:00.000Z"
        in second_hour[1]
    )
    drops.look(4 * 3600.0)
    assert "799 in 2.0 hours, 8000 so far" in told(caplog)[0][1]
    drops.look(6 * 3600.0)
    assert told(caplog) == []  # nothing more was lost
    drops.ended(DropReason.MAX_BYTES)
    ((level, ended),) = told(caplog)
    assert level == logging.INFO
    assert "no longer dropping readings (max-bytes): 8000 were lost" in ended


def test_an_episode_knows_between_which_positions_it_was() -> None:
    drops = Drops(BufferHealth(), next_id=7, clock_ns=lambda: START_NS)
    drops.count(DropReason.MAX_BYTES, Loss.of([START_NS]))
    (episode,) = drops.unsaved.values()
    assert (episode.id, episode.first_position, episode.last_position) == (7, None, None)
    drops.count(DropReason.MAX_BYTES, at((9, START_NS + 2), (4, START_NS + 1)))
    drops.count(DropReason.MAX_BYTES, Loss.of([START_NS - 1]))
    (episode,) = drops.unsaved.values()
    assert (episode.readings, episode.first_position, episode.last_position) == (4, 4, 9)
    assert (episode.first_observed_ns, episode.last_observed_ns) == (START_NS - 1, START_NS + 2)


def test_another_destination_that_begins_to_lose_is_told_of_and_the_end_says_what_each_has_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    drops = Drops(BufferHealth(), next_id=1, clock_ns=lambda: START_NS)
    drops.look(0.0)
    drops.count(DropReason.MAX_AGE, at((1, START_NS), (2, START_NS), of="b"))
    assert "(max-age): 2 so far for b, observed from" in told(caplog)[0][1]
    drops.look(1.0)
    drops.count(DropReason.MAX_AGE, at((3, START_NS), of="b"))
    assert told(caplog) == []
    drops.count(DropReason.MAX_AGE, Loss.at([(4, START_NS), (5, START_NS + 1)], {"b": [4, 5], "a": [5]}))
    drops.count(DropReason.MAX_AGE, at((6, START_NS)))
    ((level, edge),) = told(caplog)
    assert level == logging.ERROR
    assert "dropping readings from the buffer (max-age) for a as well: 1 so far" in edge
    drops.look(3601.0)
    assert "6 so far, 2 for a, 6 for b, observed" in told(caplog)[0][1]
    drops.ended(DropReason.MAX_AGE)
    ((level, ended),) = told(caplog)
    assert level == logging.INFO
    assert "(max-age): 6 were lost, 2 for a, 6 for b, observed" in ended


def test_what_is_lost_while_an_episode_is_written_down_is_written_down_next() -> None:
    drops = Drops(BufferHealth(), next_id=1, clock_ns=lambda: START_NS)
    drops.count(DropReason.MAX_BYTES, Loss.of([START_NS]))
    drops.count(DropReason.MAX_AGE, at((1, START_NS)))
    writing = list(drops.unsaved.values())
    drops.count(DropReason.MAX_BYTES, Loss.of([START_NS]))
    drops.saved(writing)
    assert [(one.reason, one.readings) for one in drops.unsaved.values()] == [("max-bytes", 2)]
    drops.saved(list(drops.unsaved.values()))
    assert not drops.unsaved


async def test_what_is_lost_while_the_database_is_written_stays_to_be_written(bench: Bench) -> None:
    migrate(bench.path)
    backlogs, drops = Backlogs({}, held=0, done=Ranges()), Drops(BufferHealth(), next_id=1, clock_ns=lambda: START_NS)
    budget = Budget.of(bench.settings.max_bytes, disk_bytes=2**60)
    async with connect(bench.path, durability=bench.settings.durability, budget=budget) as connections:
        settler = Settler(
            store=Store(bench.path, connections),
            backlogs=backlogs,
            drops=drops,
            timekeeper=Timekeeper(bench.clock, Eras(), newest_ns=0),
        )

        def settling() -> asyncio.Task[None]:
            return asyncio.create_task(
                settler.settle(through=0, most_rows=9, row_bytes=99, facts={"epoch": "0"}, crowded_out=0),
                name="settling",
            )

        drops.count(DropReason.MAX_BYTES, Loss.of([START_NS]))
        task = settling()
        await asyncio.sleep(0)  # it waits for the thread that writes
        drops.count(DropReason.MAX_BYTES, Loss.of([START_NS] * 2))
        await task
        assert [one.readings for one in inspect.status(bench.path).dropped] == [1]
        assert not settler.finished
        await settling()
        assert settler.finished
    assert [one.readings for one in inspect.status(bench.path).dropped] == [3]


def test_each_reason_has_its_own_count_and_all_begin_with_zero() -> None:
    health = BufferHealth()
    drops = Drops(health, next_id=1, clock_ns=lambda: START_NS)
    assert health.dropped == dict.fromkeys((reason.value for reason in DropReason), 0)
    drops.count(DropReason.THINNED, at((1, START_NS), (3, START_NS)))
    assert (health.dropped["thinned"], health.dropped["max-bytes"]) == (2, 0)

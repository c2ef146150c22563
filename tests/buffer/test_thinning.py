"""`when_full: thin`: a long outage leaves a coarser history, and every event."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from drivers.model import PointGroup, Reading
from drivers.settings import Priority
from gateway.audit.book import look_up
from gateway.buffer import inspect
from gateway.buffer.thinning import COARSEST, Sweep, decode_sweeps, encode_sweeps, new_sweeps
from gateway.config import Durability, WhenFull

if TYPE_CHECKING:
    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench

MB = 10**6
MOST = 10**6
FULL_SOON = {"max_bytes": MB, "when_full": WhenFull.THIN, "durability": Durability.PROCESS_CRASH}


def swept(sweep: Sweep, positions: list[int], *, sparse: bool = False) -> list[int]:
    """One whole sweep over rows of one group; what is left."""
    victims = {position for position, _ in sweep.thin([(one, 7, one, sparse) for one in positions], {7}, most=MOST)}
    sweep.end(positions[-1])
    sweep.begin_another()
    return [one for one in positions if one not in victims]


def test_each_sweep_doubles_the_distance_whatever_has_come_since() -> None:
    sweep = Sweep()
    kept = swept(sweep, list(range(1, 65)))
    assert kept == list(range(1, 65, 2))
    kept = swept(sweep, kept + list(range(65, 129)))
    assert kept == list(range(1, 129, 4))
    assert swept(sweep, kept + list(range(129, 257))) == list(range(1, 257, 8))


def test_a_sweep_goes_on_where_it_has_been() -> None:
    rows = [(position, 7, position, False) for position in range(1, 10)]
    at_once, in_parts = Sweep(level=2), Sweep(level=2)
    victims = at_once.thin(rows, {7}, most=MOST)
    first = in_parts.thin(rows, {7}, most=2)
    assert [position for position, _ in first] == [2, 3]
    assert in_parts.after == 3
    assert victims == first + in_parts.thin(rows[3:], {7}, most=MOST)
    assert at_once.after == in_parts.after == 9


@pytest.mark.parametrize("at_once", [300, 500, 2000])
def test_how_many_rows_are_scanned_at_once_makes_no_difference(at_once: int) -> None:
    sweep, alive, last = Sweep(), list(range(1, 2001)), 2000
    for level in range(1, 5):
        while sweep.after < last:
            found = [position for position in alive if position > sweep.after][:at_once]
            victims = {position for position, _ in sweep.thin(((one, 1, one, False) for one in found), {1}, most=9999)}
            alive = [position for position in alive if position not in victims]
            if len(found) < at_once:
                sweep.end(last)
        assert {later - earlier for earlier, later in pairwise(alive)} == {2**level}
        sweep.begin_another()


def test_groups_are_thinned_each_for_itself_and_others_not_at_all() -> None:
    rows = [(position, position % 3, position, False) for position in range(12)]
    victims = [position for position, _ in Sweep().thin(rows, {0, 1}, most=MOST)]
    assert victims == [3, 4, 9, 10]


def test_a_reading_with_most_points_is_preferred_to_those_that_say_what_changed() -> None:
    rows = [(position, 7, position, position % 10 != 6) for position in range(20)]
    kept = {position for position, _, _, _ in rows} - {
        position for position, _ in Sweep(level=2).thin(rows, {7}, most=MOST)
    }
    assert kept == {0, 6, 14}  # the first; a full one; none has come for twice as long as usual


def test_a_sweep_that_has_ended_goes_on_with_what_is_new() -> None:
    sweep = Sweep(level=COARSEST, before=100)
    sweep.end(100)
    rows = [(position, 7, position, False) for position in range(101, 101 + 3000)]
    assert len(sweep.thin(rows, {7}, most=MOST)) == 3000 - 3
    assert (sweep.after, sweep.kept) == (3100, 3)


@pytest.mark.parametrize(("rows_per_page", "enough"), [(1, 63), (4, 500), (20, 100), (100, 63)])
def test_another_sweep_begins_where_it_frees_pages_and_while_it_is_not_too_coarse(
    rows_per_page: int, enough: int
) -> None:
    assert Sweep(kept=enough).is_worth_another(1000, rows_per_page=rows_per_page)
    assert not Sweep(kept=enough - 1).is_worth_another(1000, rows_per_page=rows_per_page)
    assert not Sweep(level=COARSEST, kept=1000).is_worth_another(1000, rows_per_page=rows_per_page)


def test_where_the_sweeps_stand_can_be_written_down() -> None:
    sweeps = new_sweeps() | {Priority.LOW: Sweep(3, 40, 90, 7)}
    assert decode_sweeps(encode_sweeps(sweeps)) == sweeps
    assert decode_sweeps("{}") == new_sweeps()
    with pytest.raises(ValueError, match="urgent"):
        decode_sweeps('{"urgent": [1, 0, 0]}')


async def fill(buffer: Buffer, bench: Bench, *, seconds: range, events_every: int = 50) -> None:
    """A polled device, one that speaks unasked, and a polled one of low priority; one round a second."""
    events = PointGroup("portal", 0.0, bench.group.points, events=True)
    unimportant = PointGroup("lamp", 1.0, bench.group.points)
    for second in seconds:
        at_ns = bench.now_ns + second * 10**9
        text = "x" * 120
        buffer.append(Reading(bench.group, at_ns, (second, True, text, 1)))
        buffer.append(Reading(unimportant, at_ns, (second, True, text, 2)), priority=Priority.LOW)
        if second % events_every == 0:
            buffer.append(Reading(events, at_ns, (second, True, text, 3)))
        if second % 200 == 0:
            await buffer.flush()
    await buffer.flush()


async def by_device(buffer: Buffer) -> dict[str, list[int]]:
    """The seconds of which each device has a reading."""
    found: dict[str, list[int]] = {}
    for one in await buffer.peek("broker", after=0, limit=10**6):
        second = one.reading.values[0]
        assert isinstance(second, int)
        found.setdefault(one.reading.group.device, []).append(second)
    return found


async def test_a_long_outage_leaves_a_coarser_history_and_every_event(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = range(12_000)
    async with bench.open(**FULL_SOON) as buffer:
        await fill(buffer, bench, seconds=seconds)
        assert set(bench.health.dropped.elements()) == {"thinned"}
        left = await by_device(buffer)
    assert left["portal"] == list(seconds[::50])
    lamp, infeed = left["lamp"], left["infeed"]
    assert lamp[0] == infeed[0] == 0
    assert lamp[-1] == infeed[-1] == seconds[-1]
    assert max(after - before for before, after in pairwise(infeed)) <= 2**COARSEST
    assert len(lamp) < len(infeed) / 2  # low goes first
    newest = [second for second in infeed if second > seconds[-200]]
    assert newest == list(seconds[-199:])
    dropped = bench.health.dropped["thinned"]
    (episode,) = inspect.status(bench.path).dropped
    assert (episode.reason, episode.readings) == ("thinned", dropped)
    found = look_up(bench.path, "broker").account([(1, 2 * 12_000 + 240)])
    assert (found.dropped, found.unaccounted) == (dropped, ())
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "(thinned)" in error


async def test_thinning_goes_on_after_a_restart(bench: Bench) -> None:
    for part in range(4):
        async with bench.open(**FULL_SOON) as buffer:
            await fill(buffer, bench, seconds=range(part * 2000, part * 2000 + 2000))
            left = await by_device(buffer)
    distances = Counter(after - before for before, after in pairwise(left["infeed"]))
    common = {distance for distance, times in distances.items() if times > 10}
    assert 1 in common
    assert len(common) <= 3  # the newest, what this sweep has done, and what the one before it has


async def test_events_alone_are_dropped_the_oldest_first(bench: Bench) -> None:
    async with bench.open(**FULL_SOON) as buffer:
        await fill(buffer, bench, seconds=range(6000), events_every=1)
        left = await by_device(buffer)
    assert bench.health.dropped["thinned"] > 8000
    assert bench.health.dropped["max-bytes"] > 1000
    portal = left["portal"]
    assert portal == list(range(portal[0], 6000))


async def test_a_device_that_is_down_does_not_make_others_lose_what_they_have_not_got(bench: Bench) -> None:
    async with bench.open("broker", "alive", **FULL_SOON) as buffer:
        for start in range(0, 6000, 40):
            await fill(buffer, bench, seconds=range(start, start + 40))
            waiting = await buffer.peek("alive", after=0, limit=10**6)
            assert len(waiting) >= 80
            buffer.acknowledge("alive", [one.position for one in waiting])
    assert bench.health.dropped["thinned"] > 1000

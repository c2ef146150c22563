"""Readings of a clock that is not set: marked until it is, corrected when it is, under the same ids."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from drivers.model import Quality, Reading, bad, uncertain
from gateway.buffer import inspect

if TYPE_CHECKING:
    from gateway.buffer import Buffer
    from tests.buffer.conftest import Bench, Until

DAY_S = 86_400
MARKED = "uncertain:clock-unset"


async def times(buffer: Buffer) -> dict[int, tuple[int, str]]:
    """Of each reading that waits, by its position: its time in seconds, and the quality of its first point."""
    found = await buffer.peek("broker", after=0, limit=9999)
    qualities = {one.position: str(one.reading.quality.get(0, "good")) for one in found}
    return {one.position: (one.reading.observed_at_ns // 10**9, qualities[one.position]) for one in found}


def exported(bench: Bench) -> dict[int, tuple[int, str]]:
    """The same as another process sees it."""
    return {
        int(str(row["id"]).rpartition("-")[2]): (row["ts_ms"] // 1000, row["quality"].get("speed", "good"))  # type: ignore[operator, attr-defined]
        for row in inspect.rows(bench.path)
    }


def viewed(bench: Bench) -> dict[int, tuple[int, str]]:
    """The same as `sqlite3` shows it."""
    with closing(sqlite3.connect(bench.path)) as database:
        rows = database.execute("SELECT position, unixepoch(observed_at), quality FROM waiting WHERE point = 'speed'")
        return {position: (ts_s, quality) for position, ts_s, quality in rows}


async def read(bench: Bench, buffer: Buffer, count: int = 1) -> None:
    """A reading in each of so many seconds."""
    for _ in range(count):
        bench.now_ns += 10**9
        buffer.append(bench.reading(1.5))
    await buffer.flush()


async def test_readings_are_marked_until_the_clock_is_set_and_then_corrected_under_the_same_ids(bench: Bench) -> None:
    bench.reboot(wall_ns=5 * 10**9)
    async with bench.open() as buffer:
        await read(bench, buffer, 2)
        before = {1: (6, MARKED), 2: (7, MARKED)}
        assert await times(buffer) == exported(bench) == viewed(bench) == before
        bench.step(2_000_000_000)
        await read(bench, buffer)
        after = {1: (2_000_000_006, "good"), 2: (2_000_000_007, "good"), 3: (2_000_000_008, "good")}
        assert await times(buffer) == exported(bench) == viewed(bench) == after
    async with bench.open() as buffer:
        assert await times(buffer) == after
    bench.reboot(wall_ns=2_100_000_000 * 10**9)
    async with bench.open() as buffer:
        assert await times(buffer) == exported(bench) == after


async def test_the_backlog_is_corrected_although_nothing_is_read_any_more(bench: Bench, until: Until) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer)
        bench.step(2_000_000_000)
        await until(lambda: exported(bench) == {1: (2_000_000_001, "good")})
        assert await times(buffer) == {1: (2_000_000_001, "good")}


async def test_a_boot_whose_clock_was_never_set_stays_marked(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer)
    bench.reboot(wall_ns=2_000_000_000 * 10**9)
    async with bench.open() as buffer:
        await read(bench, buffer)
        assert await times(buffer) == exported(bench) == {1: (1, MARKED), 2: (2_000_000_001, "good")}


async def test_a_clock_that_was_set_while_the_gateway_was_down_corrects_what_was_read_since_the_boot(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer)
    bench.step(2_000_000_000)
    async with bench.open() as buffer:
        await buffer.flush()
        await read(bench, buffer)
        assert await times(buffer) == {1: (2_000_000_001, "good"), 2: (2_000_000_002, "good")}
    assert "the clock has been set: it was stepped by 2000000000.0 s" in caplog.text


@pytest.mark.parametrize(
    ("behind_s", "synchronised", "quality"), [(60, False, "good"), (3600, False, MARKED), (3600, True, "good")]
)
async def test_a_clock_that_is_behind_after_a_boot_is_believed_only_when_somebody_keeps_it(
    bench: Bench, behind_s: int, synchronised: bool, quality: str
) -> None:
    async with bench.open() as buffer:
        await read(bench, buffer)
        buffer.acknowledge("broker", [1])
        await buffer.flush()
    bench.reboot(wall_ns=bench.now_ns - behind_s * 10**9)
    bench.synchronised = synchronised
    async with bench.open() as buffer:
        await read(bench, buffer)
        assert await times(buffer) == {2: (bench.now_ns // 10**9, quality)}


async def test_a_clock_that_turns_out_to_be_right_takes_the_mark_away(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        await read(bench, buffer)
    bench.reboot(wall_ns=bench.now_ns - DAY_S * 10**9)
    async with bench.open() as buffer:
        await read(bench, buffer)
        assert (await times(buffer))[2] == (bench.now_ns // 10**9, MARKED)
        bench.synchronised = True
        await until(lambda: exported(bench)[2] == (bench.now_ns // 10**9, "good"))


async def test_a_clock_that_was_set_and_falls_back_to_1970_leaves_no_wrong_time(bench: Bench) -> None:
    async with bench.open() as buffer:
        await read(bench, buffer)
        right_s = bench.now_ns // 10**9
        bench.step(-right_s)
        await read(bench, buffer)
        bench.step(right_s)
        await read(bench, buffer)
        every = {1: (right_s, "good"), 2: (right_s + 1, "good"), 3: (right_s + 2, "good")}
        assert await times(buffer) == exported(bench) == every


async def test_what_was_taken_before_the_clock_was_set_and_arrives_after_it_gets_the_true_time(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer)
        late = bench.reading(2.5)
        bench.step(2_000_000_000)
        buffer.append(late)
        await buffer.flush()
        assert await times(buffer) == {1: (2_000_000_001, "good"), 2: (2_000_000_001, "good")}


async def test_the_time_of_a_device_with_a_clock_of_its_own_is_left_alone(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    theirs = Reading(bench.group, 1_999_999_999 * 10**9, (1.5, True, None, None))
    async with bench.open() as buffer:
        bench.now_ns += 10**9
        buffer.append(theirs)
        await buffer.flush()
        assert await times(buffer) == exported(bench) == {1: (1_999_999_999, "good")}
        bench.step(2_000_000_000)
        await read(bench, buffer)
        assert (await times(buffer))[1] == exported(bench)[1] == (1_999_999_999, "good")


async def test_a_device_whose_clock_is_ahead_does_not_make_that_of_the_next_boot_doubtful(bench: Bench) -> None:
    async with bench.open() as buffer:
        buffer.append(Reading(bench.group, 4_102_444_800_000_000_000, (1.5, True, None, None)))  # 2100
        await buffer.flush()
    bench.reboot(wall_ns=bench.now_ns + 10**9)
    async with bench.open() as buffer:
        await read(bench, buffer)
        assert (await times(buffer))[2] == (bench.now_ns // 10**9, "good")


async def test_a_mark_leaves_out_points_without_a_value(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        buffer.append(bench.reading(1.5, True, None, quality={1: uncertain("in-motion"), 2: bad("timeout")}))
        await buffer.flush()
        (stored,) = await buffer.peek("broker", after=0)
        (row,) = inspect.rows(bench.path)
    marked: dict[int, Quality] = {0: uncertain("clock-unset"), 1: uncertain("clock-unset"), 2: bad("timeout")}
    assert stored.reading.quality == marked
    assert row["quality"] == {"speed": MARKED, "running": MARKED, "text": "bad:timeout"}


async def test_what_was_set_aside_is_shown_with_its_true_time(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer)
        await buffer.set_aside("broker", 1, "refused")
        bench.step(2_000_000_000)
        await read(bench, buffer)
        buffer.acknowledge("broker", [2])
    async with bench.open():
        (row,) = inspect.set_aside(bench.path)
    assert (row["ts_ms"], row["quality"]) == (2_000_000_001_000, {})


async def test_a_damaged_database_keeps_what_is_known_of_the_clock(bench: Bench) -> None:
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        for _ in range(3000):
            bench.now_ns += 10**9
            buffer.append(bench.reading(1.5, True, "x" * 100))
        bench.step(2_000_000_000)
        await read(bench, buffer)
    with bench.path.open("r+b") as file:
        file.seek(bench.path.stat().st_size // 2 // 4096 * 4096)
        file.write(bytes(4096))
    bench.path.with_name("buffer.db.suspect").touch()
    async with bench.open() as buffer:
        found = await times(buffer)
        assert 2900 < len(found) < 3001
        assert {after_s - one for one, (after_s, _) in found.items()} == {2_000_000_000}


async def test_setting_the_clock_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        await read(bench, buffer, 3)
        bench.step(2_000_000_000)
        await read(bench, buffer, 3)
        bench.step(-3600)
        await read(bench, buffer, 3)
    said = [record.getMessage().split(";")[0] for record in caplog.records if "clock" in record.getMessage()]
    assert said == [
        "the clock is not set: it says 1970-01-01T00:00:00.000Z",
        "the clock has been set: it was stepped by 2000000000.0 s, to 2033-05-18T03:33:24.000Z",
        "the clock was stepped by -3600.0 s, to 2033-05-18T02:33:27.000Z",
    ]


def eras(bench: Bench) -> list[int]:
    """Where they begin, as the database has it."""
    with closing(sqlite3.connect(bench.path)) as database:
        return [first for (first,) in database.execute("SELECT first_position FROM clock_era ORDER BY first_position")]


async def test_eras_whose_readings_are_gone_are_forgotten_with_the_next_start(bench: Bench) -> None:
    async with bench.open() as buffer:
        for _ in range(4):
            await read(bench, buffer, 2)
            bench.step(3600)
        assert eras(bench) == [1, 3, 5, 7]
        buffer.acknowledge("broker", [1, 2, 3])
    async with bench.open() as buffer:
        assert eras(bench)[:3] == [3, 5, 7]
        buffer.acknowledge("broker", range(1, 9))
    async with bench.open():
        assert len(eras(bench)) == 1


async def test_a_clock_that_never_rests_leaves_a_bounded_number_of_eras(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("eras", "store"):
        monkeypatch.setattr(f"gateway.buffer.{module}.MOST_ERAS", 3)
    bench.reboot(wall_ns=0)
    async with bench.open() as buffer:
        for _ in range(5):
            await read(bench, buffer)
            bench.step(100)
        assert eras(bench) == [3, 4, 5]
        marks = {1: "good", 2: "good", 3: MARKED, 4: MARKED, 5: MARKED}
        assert {one: quality for one, (_, quality) in (await times(buffer)).items()} == marks
        assert exported(bench) == await times(buffer)

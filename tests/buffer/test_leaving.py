"""Destinations that join and leave, while the buffer is open and while it is not."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from drivers.settings import Priority
from gateway.buffer import Buffer, inspect
from gateway.config import Start
from tests.buffer.conftest import Bench, Until


async def _append(buffer: Buffer, bench: Bench, count: int, *, priority: Priority = Priority.NORMAL) -> None:
    for _ in range(count):
        bench.now_ns += 1_000_000_000
        buffer.append(bench.reading(1.5), priority=priority)
    await buffer.flush()


async def _positions(buffer: Buffer, destination: str) -> list[int]:
    return [stored.position for stored in await buffer.peek(destination, after=0, limit=10**6)]


def _rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [position for (position,) in database.execute("SELECT id FROM reading ORDER BY id")]


def _names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT name FROM destination ORDER BY name")]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize(("start", "expected"), [(Start.NOW, [6]), (Start.OLDEST, [2, 4, 5, 6])])
async def test_a_new_destination_starts_now_or_at_the_oldest_that_is_held(
    bench: Bench, start: Start, expected: list[int], reopened: bool
) -> None:
    async with bench.open("a", "b") as buffer:
        await _append(buffer, bench, 5)
        buffer.acknowledge("a", [1, 2, 3])
        buffer.acknowledge("b", [1, 3, 4, 5])
        if not reopened:
            await buffer.attach("new", start=start)
            await _append(buffer, bench, 1)
            assert await _positions(buffer, "new") == expected
            assert buffer.backlog("new") == len(expected)
            assert bench.health.readings == 4
    async with bench.open("a", "b", "new", starts={"new": start}) as buffer:
        if reopened:
            await _append(buffer, bench, 1)
        assert await _positions(buffer, "new") == expected
        buffer.acknowledge("new", expected)
        buffer.acknowledge("a", [4, 5, 6])
        buffer.acknowledge("b", [2, 6])
        await buffer.flush()
        assert bench.health.readings == 0
    assert _rows(bench.path) == []


async def test_a_start_says_nothing_to_a_destination_that_is_known(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        await _append(buffer, bench, 3)
        buffer.acknowledge("b", [1, 2])
        await buffer.attach("b", start=Start.OLDEST)
        assert await _positions(buffer, "b") == [3]
    async with bench.open("a", "b", starts={"b": Start.OLDEST}) as buffer:
        assert await _positions(buffer, "b") == [3]


async def test_a_joined_destination_is_durable_when_attach_returns(bench: Bench) -> None:
    async with bench.open("a") as buffer:
        await _append(buffer, bench, 2)
        await buffer.attach("new", start=Start.OLDEST)
        assert inspect.status(bench.path).backlog == {"a": 2, "new": 2}


async def test_leaving_frees_what_only_it_was_waiting_for_and_says_when_that_was(
    bench: Bench, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench.open("stays", "leaves") as buffer:
        await _append(buffer, bench, 6)
        buffer.acknowledge("stays", [1, 2, 4])
        in_flight = await _positions(buffer, "leaves")
        buffer.detach("leaves")
        assert await _positions(buffer, "leaves") == []
        assert buffer.backlog("leaves") == 0
        buffer.acknowledge("leaves", in_flight)  # a broker's answer that came too late
        await buffer.set_aside("leaves", 3, "too late as well")
        await until(lambda: _rows(bench.path) == [3, 5, 6])
        assert bench.health.dropped["destination-removed"] == 3
        assert bench.health.readings == 3
        assert await _positions(buffer, "stays") == [3, 5, 6]
        assert _names(bench.path) == ["stays"]
        await until(lambda: "no longer dropping readings (destination-removed)" in caplog.text)
        buffer.detach("leaves")
        buffer.detach("nobody")
    (episode,) = inspect.status(bench.path).dropped
    assert (episode.reason, episode.readings) == ("destination-removed", 3)
    assert episode.last_observed_ns - episode.first_observed_ns == 3_000_000_000
    assert (
        caplog.text.count("leaves is no longer configured: of its backlog of 6 readings up to 3 are freed, others wait")
        == 1
    )
    assert episode.shares == {"leaves": 3}
    assert caplog.text.count("3 were lost for leaves, observed from") == 1


async def test_a_peek_that_is_under_way_when_its_destination_leaves_finds_nothing(bench: Bench) -> None:
    async with bench.open("stays", "leaves") as buffer:
        await _append(buffer, bench, 20)
    async with bench.open("stays", "leaves") as buffer:  # now they are in the database only
        peeking = asyncio.create_task(buffer.peek("leaves", after=0))
        await asyncio.sleep(0)
        buffer.detach("leaves")
        assert await peeking == []
        assert len(await _positions(buffer, "stays")) == 20


async def test_a_bad_page_among_what_is_freed_holds_up_nothing(
    bench: Bench, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open("stays", "leaves") as buffer:
        for number in range(3000):
            buffer.append(bench.reading(float(number), True, "x" * 100, number))
        await buffer.flush()
        buffer.acknowledge("stays", range(1, 3001))
    with bench.path.open("r+b") as file:
        file.seek(bench.path.stat().st_size // 2 // 4096 * 4096)
        file.write(bytes(4096))
    async with bench.open("stays", "leaves") as buffer:  # closed in good order before, so nothing was checked
        buffer.detach("leaves")
        await until(lambda: not buffer._backlogs.orphaned)
        for _ in range(2):
            buffer.append(bench.reading(9.0))
            await buffer.flush()
        assert await _positions(buffer, "stays") == [3001, 3002]
        assert bench.health.readings == 2
        assert bench.health.writable
        assert 2900 < bench.health.dropped["destination-removed"] < 3000
        assert sum(bench.health.dropped.values()) == 3000
    assert _names(bench.path) == ["stays"]


async def test_nothing_is_lost_when_a_destination_leaves_that_has_everything(bench: Bench) -> None:
    async with bench.open("stays", "leaves") as buffer:
        await _append(buffer, bench, 3)
        buffer.acknowledge("leaves", [1, 2, 3])
        buffer.detach("leaves")
        await buffer.flush()
        assert await _positions(buffer, "stays") == [1, 2, 3]
        assert not any(bench.health.dropped.values())
    assert _names(bench.path) == ["stays"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_what_others_wait_for_as_well_is_not_said_to_be_freed(
    bench: Bench, reopened: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench.open("old") as buffer:
        await _append(buffer, bench, 3)
        if not reopened:
            await buffer.attach("new", start=Start.OLDEST)
            buffer.detach("old")
    async with bench.open("new", starts={"new": Start.OLDEST}):
        pass
    (told,) = [record for record in caplog.records if "old is no longer configured" in record.getMessage()]
    assert told.levelno == logging.INFO
    assert "its backlog of 3 readings waits for others as well, so none is lost" in told.getMessage()


@pytest.mark.parametrize("reopened", [False, True])
async def test_one_that_is_renamed_finds_everything_with_oldest(bench: Bench, reopened: bool) -> None:
    async with bench.open("old") as buffer:
        await _append(buffer, bench, 3)
        buffer.acknowledge("old", [2])
        if not reopened:
            buffer.detach("old")  # even in this order: what is not deleted yet is taken over
            await buffer.attach("new", start=Start.OLDEST)
            assert await _positions(buffer, "new") == [1, 3]
    async with bench.open("new", starts={"new": Start.OLDEST}) as buffer:
        assert await _positions(buffer, "new") == [1, 3]
        buffer.acknowledge("new", [1, 3])
        await buffer.flush()
        assert bench.health.readings == 0
        assert not any(bench.health.dropped.values())
    assert _rows(bench.path) == []


async def test_what_is_taken_over_while_it_is_being_counted_is_not_lost(bench: Bench) -> None:
    async with bench.open("d0") as buffer:
        for turns in range(40):  # so often other tasks run in between: somewhere there the count is under way
            await _append(buffer, bench, 1)
            for _ in range(50):
                buffer.append(bench.reading(1.5))
            await buffer.flush()
            lost = bench.health.dropped["destination-removed"]
            before = set(await _positions(buffer, f"d{turns}"))
            buffer.detach(f"d{turns}")
            for _ in range(turns):
                await asyncio.sleep(0)
            await buffer.attach(f"d{turns + 1}", start=Start.OLDEST)
            await buffer.flush()
            after = set(await _positions(buffer, f"d{turns + 1}"))
            assert after in (before, set())
            assert bench.health.dropped["destination-removed"] - lost == len(before - after)
            assert bench.health.readings == len(after)
            assert set(_rows(bench.path)) >= after


async def test_after_a_crash_the_next_start_counts_what_was_not_counted_and_nothing_twice(
    bench: Bench, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of the files are taken after every piece, as a crash would leave them."""
    monkeypatch.setattr("gateway.buffer.leaving._MOST_COUNTED", 7)
    images: list[Path] = []
    async with bench.open("stays", "leaves") as buffer:
        await _append(buffer, bench, 40)
        buffer.acknowledge("stays", range(1, 38))
        await buffer.flush()
        buffer.detach("leaves")

        def photographed() -> bool:
            folder = bench.path.parent / f"image-{len(images)}"
            folder.mkdir()
            for suffix in ("", "-wal"):
                shutil.copy(f"{bench.path}{suffix}", folder / f"buffer.db{suffix}")
            images.append(folder / "buffer.db")
            return bench.health.dropped["destination-removed"] == 37

        await until(photographed)
        await buffer.flush()
        photographed()
    for image in images:
        async with bench.open("stays", path=image) as buffer:
            await until(lambda image=image: _rows(image) == [38, 39, 40])
            assert await _positions(buffer, "stays") == [38, 39, 40]
            assert bench.health.readings == 3
        assert sum(episode.readings for episode in inspect.status(image).dropped) == 37
        assert inspect.status(image).backlog == {"stays": 3}


async def test_any_order_of_joining_leaving_acknowledging_and_dropping_is_accounted_for(
    bench: Bench, until: Until
) -> None:
    """Against sets: every reading is acknowledged by all who were there for it, or counted as dropped, exactly once."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    print("seed", seed)  # noqa: T201  shown when the test fails
    names = iter(f"d{number}" for number in range(1000))
    there: dict[str, set[int]] = {next(names): set()}
    last = dropped = 0
    delivered: set[int] = set()
    for _ in range(4):
        async with bench.open(*there, max_bytes=1_000_000) as buffer:
            for _ in range(30):
                new = range(last + 1, buffer.last_committed + 1)
                last = buffer.last_committed
                for waiting in there.values():
                    waiting.update(new)
                match draw.choice(["append", "acknowledge", "join", "leave", "crowd"]):
                    case "append":
                        await _append(buffer, bench, draw.randrange(1, 30))
                    case "crowd":
                        for _ in range(40):
                            priority = draw.choice([Priority.LOW, Priority.HIGH])
                            buffer.append(bench.fat(1), priority=priority)
                        await buffer.flush()
                    case "acknowledge":
                        name = draw.choice(list(there))
                        peeked = await _positions(buffer, name)
                        some = set(draw.sample(peeked, len(peeked) // 2))
                        buffer.acknowledge(name, some)
                        there[name] -= some
                        delivered |= some.difference(*there.values())
                    case "join":
                        name = next(names)
                        await buffer.attach(name, start=draw.choice(list(Start)))
                        there[name] = set(await _positions(buffer, name))
                    case "leave" if len(there) > 1:
                        name = draw.choice(list(there))
                        buffer.detach(name)
                        del there[name]
            last = buffer.last_committed
        dropped += sum(bench.health.dropped.values())
        async with bench.open(*there, max_bytes=2**30) as buffer:  # where nothing more is dropped for its size
            await until(lambda: not buffer._backlogs.orphaned)
            await buffer.flush()
            there = {name: set(await _positions(buffer, name)) for name in there}
            assert {name: buffer.backlog(name) for name in there} == {name: len(one) for name, one in there.items()}
            held = set().union(*there.values())
            assert bench.health.readings == len(held)
            await until(lambda held=held: set(_rows(bench.path)) == held)
        dropped += sum(bench.health.dropped.values())
        assert sorted(there) == _names(bench.path)
        assert sum(episode.readings for episode in inspect.status(bench.path).dropped) == dropped
        assert last - len(held) - len(delivered) == dropped

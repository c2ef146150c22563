"""Between two awaits of one task another goes on, or the process is killed: nothing is lost by it or counted twice."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.buffer import Buffer, retries, settlement
from gateway.buffer.backlogs import Backlogs
from gateway.buffer.mark import Mark, MarkFile
from gateway.buffer.model import StoreFailed
from gateway.buffer.store import Store
from gateway.config import BufferSettings, Start
from tests.buffer.conftest import Bench, Until

MINUTE_NS = 60_000_000_000


async def positions(buffer: Buffer, destination: str, *, limit: int = 1000) -> list[int]:
    return [one.position for one in await buffer.peek(destination, after=0, limit=limit)]


async def fill(bench: Bench, buffer: Buffer, count: int, *, text: str = "") -> None:
    for number in range(count):
        buffer.append(bench.reading(float(number), True, f"{text}{number:02d}"))
    await buffer.flush()


def select(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return [row[0] if len(row) == 1 else row for row in database.execute(query)]


def spoil(path: Path, text: bytes) -> None:
    """Change a bit of the row that has this text, while no gateway runs."""
    content = bytearray(path.read_bytes())
    content[content.index(text)] ^= 1
    path.write_bytes(content)


def killed(bench: Bench, folder: Path) -> Bench:
    """What a gateway finds that starts after this one was killed now."""
    folder.mkdir()
    for path in bench.path.parent.glob(f"{bench.path.name}*"):
        shutil.copy(path, folder / path.name)
    settings: BufferSettings = bench.settings.model_copy(update={"path": folder / bench.path.name})
    return Bench(settings, bench.group, now_ns=bench.now_ns)


async def drain(buffer: Buffer, destination: str) -> list[int]:
    """Acknowledge one by one, as long as there seems to be anything."""
    found = []
    while buffer.backlog(destination):
        (first, *_) = await positions(buffer, destination, limit=1)
        buffer.acknowledge(destination, [first])
        found.append(first)
    assert await positions(buffer, destination) == []
    return found


async def test_what_is_dropped_between_two_queries_of_a_peek_is_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 10)
        bench.now_ns += MINUTE_NS
        await fill(bench, buffer, 710)
        buffer.acknowledge("a", range(11, 701))
    queries = 0
    fetch, drop = Store.fetch, Backlogs.drop
    dropped = asyncio.Event()

    def told(self: Backlogs, rows: Iterable[int]) -> dict[str, list[int]]:
        dropped.set()
        return drop(self, rows)

    async def slow(self: Store, first: int, last: int, *, limit: int) -> Any:
        nonlocal queries
        if limit == 15 - 10 * queries and first:  # those of the peek
            queries += 1
            if queries == 2:
                bench.now_ns += MINUTE_NS
                await dropped.wait()
        return await fetch(self, first, last, limit=limit)

    monkeypatch.setattr(Store, "fetch", slow)
    monkeypatch.setattr(Backlogs, "drop", told)
    async with bench.open("a", max_age=100.0) as buffer:
        peeked = await positions(buffer, "a", limit=15)
        assert queries == 2
        buffer.acknowledge("a", peeked)
        rest = [one for one in range(701, 721) if one not in peeked]
        assert buffer.backlog("a") == len(rest)
        assert await drain(buffer, "a") == rest
        assert bench.health.readings == 0


async def test_what_a_peek_drops_while_a_commit_is_under_way_is_deleted_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 20, text="marker")
    spoil(bench.path, b"marker05")
    peeked: list[int] = []
    settle = Store.settle

    async def slow(self: Store, what: settlement.Settlement) -> None:
        await settle(self, what)
        if not peeked:
            peeked.extend(await positions(buffer, "a"))

    monkeypatch.setattr(Store, "settle", slow)
    async with bench.open("a") as buffer:
        buffer.acknowledge("a", [20])
        await buffer.flush()
        await buffer.flush()
        assert peeked == [one for one in range(1, 20) if one != 6]
        assert await positions(buffer, "a") == peeked
        assert (buffer.backlog("a"), bench.health.dropped["damaged"]) == (18, 1)
    assert select(bench.path, "SELECT id FROM reading") == peeked


async def test_what_a_peek_and_the_bounds_drop_together_is_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 5, text="marker")
        bench.now_ns += MINUTE_NS
        await fill(bench, buffer, 15)
    spoil(bench.path, b"marker02")
    peeked: list[int] = []
    fetch = Store.fetch

    async def slow(self: Store, first: int, last: int, *, limit: int) -> Any:
        rows = await fetch(self, first, last, limit=limit)
        if first == 0 and not peeked:  # the bounds have chosen
            peeked.append(0)
            peeked.extend(await positions(buffer, "a"))
        return rows

    monkeypatch.setattr(Store, "fetch", slow)
    bench.now_ns += MINUTE_NS
    async with bench.open("a", max_age=100.0) as buffer:
        await until(lambda: bench.health.dropped["max-age"])
        assert len(peeked) == 20
        assert (bench.health.dropped["max-age"], bench.health.dropped["damaged"]) == (4, 1)
        assert await drain(buffer, "a") == list(range(6, 21))
        assert bench.health.readings == 0


async def test_a_row_that_was_read_before_it_was_deleted_does_not_come_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 10)
        bench.now_ns += MINUTE_NS
        await fill(bench, buffer, 10)
    peeks: list[asyncio.Task[list[int]]] = []
    read, deleted = asyncio.Event(), asyncio.Event()
    fetch, settle, forget = Store.fetch, Store.settle, Backlogs.deleted

    async def slow(self: Store, first: int, last: int, *, limit: int) -> Any:
        rows = await fetch(self, first, last, limit=limit)
        if peeks and not read.is_set():
            read.set()
            await deleted.wait()
        return rows

    async def peeked(self: Store, what: settlement.Settlement) -> None:
        if what.dropped and not peeks:
            peeks.append(asyncio.create_task(positions(buffer, "a")))
            await read.wait()
        await settle(self, what)

    def told(self: Backlogs, dropped: Sequence[int]) -> None:
        forget(self, dropped)
        if dropped:
            deleted.set()

    monkeypatch.setattr(Store, "fetch", slow)
    monkeypatch.setattr(Store, "settle", peeked)
    monkeypatch.setattr(Backlogs, "deleted", told)
    bench.now_ns += MINUTE_NS
    async with bench.open("a", max_age=100.0) as buffer:
        await deleted.wait()
        assert await peeks[0] == list(range(11, 21))
        assert (buffer.backlog("a"), bench.health.dropped["max-age"]) == (10, 10)
        assert await drain(buffer, "a") == list(range(11, 21))


async def test_what_is_committed_can_be_peeked_while_the_mark_is_being_synced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    peeked: list[int] = []
    write = MarkFile.write

    async def slow(self: MarkFile, mark: Mark) -> None:
        if buffer.backlog("a") and not peeked:
            peeked.extend(await positions(buffer, "a"))
        await write(self, mark)

    monkeypatch.setattr(MarkFile, "write", slow)
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 20)
        assert peeked == list(range(1, buffer.last_committed + 1))


async def _return(bench: Bench, buffer: Buffer, destination: str) -> None:
    """Ask for what was set aside, and wait until it is back."""
    await asyncio.to_thread(retries.request, bench.path, [destination], since_ns=0)
    await buffer.returned(destination)


def _after_taking_back(monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[None] | None]) -> None:
    settle = Store.settle

    async def observed(self: Store, what: settlement.Settlement) -> None:
        await settle(self, what)
        if what.taken_back:
            more = then()
            if more is not None:
                await more

    monkeypatch.setattr(Store, "settle", observed)


async def test_a_kill_when_something_came_back_loses_nothing_that_was_set_aside_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    after: list[Bench] = []
    asking = Store.retries
    refusing: list[asyncio.Task[None]] = []

    async def slow(self: Store) -> list[tuple[str, int]]:
        asked = await asking(self)
        if asked and not refusing:
            refusing.append(asyncio.create_task(buffer.set_aside("a", 15, "refused as well")))
            await asyncio.sleep(0)
        return asked

    monkeypatch.setattr(Store, "retries", slow)
    _after_taking_back(monkeypatch, lambda: after.append(killed(bench, tmp_path / "killed")))
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 20)
        await buffer.set_aside("a", 20, "refused")
        await _return(bench, buffer, "a")
        await refusing[0]
    async with after[0].open("a") as buffer:
        assert await drain(buffer, "a") == [one for one in range(1, 21) if one != 15]
    assert select(after[0].path, "SELECT position FROM set_aside") == [15]


async def test_a_kill_when_something_came_back_leaves_what_was_dropped_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: Until
) -> None:
    after: list[Bench] = []
    _after_taking_back(monkeypatch, lambda: after.append(killed(bench, tmp_path / "killed")))
    async with bench.open("a", max_age=100.0) as buffer:
        await fill(bench, buffer, 10)
        bench.now_ns += MINUTE_NS
        await fill(bench, buffer, 10)
        await buffer.set_aside("a", 20, "refused")
        bench.now_ns += MINUTE_NS
        await _return(bench, buffer, "a")
        await until(lambda: bench.health.dropped["max-age"] == 10)
    lost = select(after[0].path, "SELECT sum(readings) FROM dropped")[0] or 0
    assert select(after[0].path, "SELECT count(*) FROM reading")[0] + lost == 20
    async with after[0].open("a", max_age=1000.0) as buffer:
        assert len(await drain(buffer, "a")) + lost == 20


async def test_what_comes_back_for_a_destination_that_leaves_stays_for_the_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _after_taking_back(monkeypatch, lambda: buffer.detach("a"))
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 10)
        await buffer.set_aside("a", 5, "refused")
        buffer.acknowledge("a", range(1, 11))
        await _return(bench, buffer, "a")
        await buffer.flush()
        assert await positions(buffer, "b") == list(range(1, 11))
        assert bench.health.dropped.total() == 0
    async with bench.open("b") as buffer:
        assert await drain(buffer, "b") == list(range(1, 11))


async def test_what_comes_back_for_a_destination_that_waits_for_it_again_is_held_once(
    bench: Bench, tmp_path: Path
) -> None:
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 10)
        await buffer.set_aside("a", 5, "refused")
        buffer.detach("a")
        await buffer.attach("a", start=Start.OLDEST)
        buffer.acknowledge("b", [5])
        await _return(bench, buffer, "a")
        await buffer.flush()
        assert (buffer.backlog("a"), buffer.backlog("b"), bench.health.readings) == (10, 9, 10)
        again = killed(bench, tmp_path / "killed")
    async with again.open("a", "b") as buffer:
        assert again.health.dropped.total() == 0
        assert await drain(buffer, "a") == list(range(1, 11))
        assert await drain(buffer, "b") == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert not list(again.path.parent.glob("*damaged*"))


async def test_a_kill_when_the_set_aside_table_overflows_leaves_the_loss_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settlement, "SET_ASIDE_KEPT", 3)
    after: list[Bench] = []
    settle = Store.settle

    async def observed(self: Store, what: settlement.Settlement) -> None:
        await settle(self, what)
        if what.crowded_out:
            after.append(killed(bench, tmp_path / str(len(after))))

    monkeypatch.setattr(Store, "settle", observed)
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 10)
        for position in range(1, 7):
            await buffer.set_aside("a", position, "refused")
        assert bench.health.dropped["set-aside-full"] == 3
    assert len(after) == 3
    for lost, one in enumerate(after, 1):
        assert select(one.path, "SELECT position FROM set_aside") == list(range(lost + 1, lost + 4))
        assert select(one.path, "SELECT reason, readings, first_position, last_position FROM dropped") == [
            ("set-aside-full", lost, 1, lost)
        ]


async def test_a_commit_that_fails_does_not_count_twice_what_overflows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "SET_ASIDE_KEPT", 3)
    failed = 0
    settle = Store.settle

    async def failing(self: Store, what: settlement.Settlement) -> None:
        nonlocal failed
        if what.crowded_out and failed < 2:
            failed += 1
            if failed == 2:  # it has reached the disk, but nobody knows
                await settle(self, what)
            raise StoreFailed("cannot commit: disk I/O error", hint="look at the disk")
        await settle(self, what)

    monkeypatch.setattr(Store, "settle", failing)
    async with bench.open("a") as buffer:
        await fill(bench, buffer, 10)
        for position in range(1, 5):
            await buffer.set_aside("a", position, "refused")
        await buffer.flush()
        assert failed == 2
        assert bench.health.dropped["set-aside-full"] == 1
        assert select(bench.path, "SELECT position FROM set_aside") == [2, 3, 4]
        assert await positions(buffer, "a") == list(range(5, 11))

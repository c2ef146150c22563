"""What a destination has refused is kept, and is sent again when a person asks: it is either there or waiting."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.buffer import Buffer, BufferUnavailable, inspect, retries
from gateway.buffer.model import StoreFailed
from gateway.buffer.retries import Request
from gateway.buffer.settlement import SET_ASIDE_KEPT
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from tests.buffer.conftest import Bench, Until

if TYPE_CHECKING:
    from gateway.buffer.settlement import Settlement

DAY_NS = 86_400 * 10**9


async def test_it_waits_again_under_its_old_position_for_the_one_that_had_refused_it(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 6)
        before = await buffer.peek("a", after=0)
        await refuse(buffer, "a", 2, 5)
        buffer.acknowledge("b", [1, 2, 3])  # nobody holds 2 any more, b still holds 5
        buffer.acknowledge("a", [1, 3])
        await buffer.flush()
        assert await ask(bench, "a") == [Request("a", 2, 0)]
        assert await buffer.returned("a") == 2
        assert await positions(buffer, "a") == [2, 4, 5, 6]
        assert (await buffer.peek("a", after=0))[0].reading == before[1].reading
        assert await positions(buffer, "b") == [4, 5, 6]
        assert (buffer.backlog("a"), buffer.backlog("b"), bench.health.readings) == (4, 3, 4)
        assert list(inspect.set_aside(bench.path)) == []
        buffer.acknowledge("a", [2, 4, 5, 6])
        buffer.acknowledge("b", [4, 5, 6])
        await buffer.flush()
        assert bench.health.readings == 0
    assert rows_of(bench.path, "reading") == []


async def test_what_is_asked_for_while_no_gateway_runs_is_done_at_its_next_start(bench: Bench) -> None:
    async with bench.open() as buffer:
        await fill(bench, buffer, 3)
        await refuse(buffer, "broker", 1, 3)
        buffer.acknowledge("broker", [2])
    assert await ask(bench, "broker") == [Request("broker", 2, 0)]
    assert not retries.is_taken(bench.path)
    async with bench.open() as buffer:
        await buffer.returned("broker", seen=1)
        assert await positions(buffer, "broker") == [1, 3]
        assert retries.is_taken(bench.path) or await taken(bench.path)
    async with bench.open() as buffer:
        assert await positions(buffer, "broker") == [1, 3]


async def test_what_is_refused_again_is_set_aside_again_and_not_tried_for_ever(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        await fill(bench, buffer, 2)
        await refuse(buffer, "broker", 1)
        await ask(bench, "broker")
        await buffer.returned("broker")
        assert [one.position for one in await buffer.peek("broker", after=0)] == [1, 2]
        await refuse(buffer, "broker", 1)
        await until(lambda: retries.is_taken(bench.path))
        assert buffer.backlog("broker") == 1
        assert [row["id"] for row in inspect.set_aside(bench.path)] == [f"{buffer.epoch}-1"]


async def test_only_the_destination_that_is_named_gets_them_again(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 2)
        await refuse(buffer, "a", 1)
        await refuse(buffer, "b", 1, 2)
        assert inspect.status(bench.path).set_aside == {"a": 1, "b": 2}
        assert [row["destination"] for row in inspect.set_aside(bench.path, destination="b")] == ["b", "b"]
        await ask(bench, "b")
        await buffer.returned("b", seen=1)
        assert (await positions(buffer, "a"), await positions(buffer, "b")) == ([2], [1, 2])
        assert inspect.status(bench.path).set_aside == {"a": 1}


async def test_a_position_dropped_for_the_others_does_not_come_back_to_them(bench: Bench, until: Until) -> None:
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 3, age_s=0)
        await refuse(buffer, "a", 2)
        bench.now_ns += 20 * DAY_NS  # beyond max_age: dropped for b
        await until(lambda: bench.health.dropped["max-age"] == 3)
        await fill(bench, buffer, 1)
        bench.now_ns -= 20 * DAY_NS
        await ask(bench, "a")
        await buffer.returned("a")
        assert (await positions(buffer, "a"), await positions(buffer, "b")) == ([2, 4], [4])
        assert (buffer.backlog("a"), buffer.backlog("b"), bench.health.readings) == (2, 1, 2)


async def test_one_that_is_older_than_the_buffer_keeps_stays_where_it_is(bench: Bench) -> None:
    async with bench.open() as buffer:
        await fill(bench, buffer, 1)
        bench.now_ns += 10 * DAY_NS
        await fill(bench, buffer, 1)
        buffer.append(bench.reading(3.0, age_s=bench.now_ns / 1e9 - 100))  # by a clock that was not set
        await buffer.flush()
        await refuse(buffer, "broker", 1, 2, 3)
    bench.now_ns += 10 * DAY_NS
    since_ns = bench.now_ns - 14 * DAY_NS
    assert await ask(bench, "broker", since_ns=since_ns) == [Request("broker", 2, 1)]
    async with bench.open() as buffer:
        await buffer.returned("broker", seen=1)
        assert await taken(bench.path)
        assert await positions(buffer, "broker") == [2, 3]
        assert bench.health.dropped["max-age"] == 0
    assert [row["id"].partition("-")[2] for row in inspect.set_aside(bench.path)] == ["1"]


async def test_a_destination_that_has_left_keeps_what_it_refused_until_it_is_back(bench: Bench) -> None:
    async with bench.open("stays", "leaves") as buffer:
        await fill(bench, buffer, 1)
        await refuse(buffer, "leaves", 1)
    await ask(bench, "leaves")
    async with bench.open("stays") as buffer:
        await fill(bench, buffer, 1)
        await asyncio.sleep(0)
    assert inspect.status(bench.path).set_aside == {"leaves": 1}
    async with bench.open("stays", "leaves") as buffer:
        await buffer.returned("leaves")
        assert await positions(buffer, "leaves") == [1]


async def test_more_than_one_transaction_is_taken_back_in_parts(bench: Bench) -> None:
    async with bench.open() as buffer:
        await fill(bench, buffer, 1234)
        await refuse(buffer, "broker", *range(1, 1235))
        await ask(bench, "broker")
        await buffer.returned("broker", seen=1233)
        assert await positions(buffer, "broker") == list(range(1, 1235))


async def test_no_more_are_kept_than_there_is_room_for_also_after_some_went_back(bench: Bench, until: Until) -> None:
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 3)
        await refuse(buffer, "a", 1)
        # as if many had been set aside, and taken back
        await change(bench.path, f"UPDATE sqlite_sequence SET seq = {5 * SET_ASIDE_KEPT} WHERE name = 'set_aside'")
        await refuse(buffer, "b", 1)
        assert inspect.status(bench.path).set_aside == {"a": 1, "b": 1}
        await change(
            bench.path,
            f"WITH RECURSIVE number(n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM number LIMIT {SET_ASIDE_KEPT - 1}) "
            "INSERT INTO set_aside (destination, position, reason, set_aside_at_ns, group_id, observed_at_ns, body) "
            "SELECT 'b', n, 'x', 0, 1, 7, '{}' FROM number",
        )
        await refuse(buffer, "b", 2)
        await until(lambda: bench.health.dropped["set-aside-full"] == 2)
        assert inspect.status(bench.path).set_aside == {"b": SET_ASIDE_KEPT}
    (episode,) = inspect.status(bench.path).dropped
    assert episode.shares == {"a": 1, "b": 1}


async def test_cut_off_at_any_point_of_the_log_each_is_either_set_aside_or_waiting(
    bench: Bench, tmp_path: Path
) -> None:
    refused = list(range(1, 40, 2))
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 40)
        await refuse(buffer, "a", *refused)
        buffer.acknowledge("a", range(1, 41))
        buffer.acknowledge("b", range(1, 30))
        await buffer.flush()
        before = log_of(bench.path).stat().st_size
        await ask(bench, "a")
        await buffer.returned("a", seen=len(refused) - 1)
        await taken(bench.path)
        database, log = bench.path.read_bytes(), log_of(bench.path).read_bytes()
    seen = set()
    for number, end in enumerate(frames(log, start=before)):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(database)
        log_of(copy).write_bytes(log[:end])
        aside = {position for _, position in rows_of(copy, "set_aside", "destination, position")}
        cut = Bench(bench.settings.model_copy(update={"path": copy}), bench.group)
        with closing(sqlite3.connect(copy)) as opened:
            opened.execute("DELETE FROM retry")
            opened.commit()
        async with cut.open("a", "b") as buffer:
            waiting = await positions(buffer, "a")
            assert sorted([*aside, *waiting]) == refused
            assert len(waiting) == buffer.backlog("a")
            assert await positions(buffer, "b") == list(range(30, 41))
            assert cut.health.dropped["damaged"] == 0
        seen.add(len(waiting))
    assert seen == {0, len(refused)}


@pytest.mark.parametrize("reached_the_disk", [True, False])
async def test_a_commit_of_which_nobody_knows_whether_it_took_place_loses_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reached_the_disk: bool
) -> None:
    settle = Store.settle
    failed = asyncio.Event()

    async def fail_once(self: Store, settlement: Settlement) -> list[int]:
        if settlement.taken_back and not failed.is_set():
            if reached_the_disk:
                await settle(self, settlement)
            failed.set()
            raise StoreFailed("cannot commit: disk I/O error", hint="look at the disk")
        return await settle(self, settlement)

    monkeypatch.setattr(Store, "settle", fail_once)
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 4)
        await refuse(buffer, "a", 2, 3)
        buffer.acknowledge("b", [1, 2])
        await buffer.flush()
        await ask(bench, "a")
        await failed.wait()
        buffer.acknowledge("a", [1])
        await buffer.flush()
        assert await buffer.returned("a", seen=1) == 2
        assert await positions(buffer, "a") == [2, 3, 4]
        assert (buffer.backlog("b"), bench.health.readings, bench.health.writable) == (2, 3, True)
    assert rows_of(bench.path, "set_aside") == []
    async with bench.open("a", "b") as buffer:
        assert (await positions(buffer, "a"), await positions(buffer, "b")) == ([2, 3, 4], [3, 4])
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "disk I/O error; look at the disk; what was set aside is not sent again until then" in warnings[0]


async def test_a_peek_while_they_come_back_neither_misses_nor_loses_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_MOST_AT_ONCE", 20)
    async with bench.open("a", "b") as buffer:
        await fill(bench, buffer, 200)
        await refuse(buffer, "a", *range(1, 201, 2))
        buffer.acknowledge("b", range(1, 151))
        await buffer.flush()
        await ask(bench, "a")
        async with asyncio.TaskGroup() as group:
            back = group.create_task(buffer.returned("a", seen=99))
            while not back.done():
                await buffer.peek("a", after=0, limit=10)
                await asyncio.sleep(0)
        assert await positions(buffer, "a") == list(range(1, 201))


def test_an_empty_slot_of_the_memory_does_not_hide_what_is_in_the_database_again(bench: Bench) -> None:
    tail = Tail(0)
    tail.extend([bench.reading(1.0), bench.reading(2.0), bench.reading(3.0)])
    tail.unhide([2])
    assert tail.first == 1
    tail.forget([2])
    tail.unhide([1, 2, 3, 4])
    assert (tail.first, [one.position for one in tail.within(1, 9)]) == (3, [3])


async def test_it_is_asked_for_by_another_process_while_the_buffer_is_written_to(bench: Bench) -> None:
    async with bench.open() as buffer:
        await fill(bench, buffer, 1)
        await refuse(buffer, "broker", 1)
        script = (
            "import sys; from pathlib import Path; from gateway.buffer import retries;"
            "print(retries.request(Path(sys.argv[1]), ['broker'], since_ns=0)[0].readings)"
        )
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(bench.path), stdout=subprocess.PIPE
        )
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(asking.communicate())
            while not answer.done():
                await fill(bench, buffer, 20)
        assert answer.result()[0] == b"1\n"
        await buffer.returned("broker")


@pytest.mark.parametrize("how", ["missing", "older", "locked"])
def test_what_cannot_be_asked_is_told_with_what_to_do(bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(retries, "_REQUEST_WAITS_S", 0.05)
    told = {
        "missing": "there is no buffer at",
        "older": "is that of an older gateway; start this gateway with it once",
        "locked": "database is locked; another process holds the database locked",
    }
    if how != "missing":
        make(bench, bench.path)
    with closing(sqlite3.connect(bench.path if how != "missing" else ":memory:", isolation_level=None)) as other:
        if how == "older":
            other.execute("PRAGMA user_version = 1")
        if how == "locked":
            other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BufferUnavailable, match=told[how]):
            retries.request(bench.path, ["broker"], since_ns=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_buffer_of_another_user_is_told_to_be_one(bench: Bench) -> None:
    script = (
        "import os, sys; from pathlib import Path; from gateway.buffer import retries, BufferUnavailable\n"
        "os.setuid(65534)\n"
        "try:\n    retries.request(Path(sys.argv[1]), ['broker'], since_ns=0)\n"
        "except BufferUnavailable as error:\n    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        make(bench, Path(folder) / "buffer.db")
        bench.path.chmod(0o644)
        done = subprocess.run([sys.executable, "-c", script, str(bench.path)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.startswith(b"cannot ")
    assert b"as the gateway's user or as root" in done.stdout


def test_a_buffer_on_a_read_only_disk_is_told_to_be_there(bench: Bench, small_disk: Path) -> None:
    make(bench, small_disk / "buffer.db")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(BufferUnavailable, match=r"cannot .*; (run this|read it) as the gateway's user or as root"):
        retries.request(bench.path, ["broker"], since_ns=0)


def make(bench: Bench, path: Path) -> None:
    """An empty buffer."""

    async def run() -> None:
        async with bench.open(path=path):
            pass

    asyncio.run(run())


async def ask(bench: Bench, destination: str, *, since_ns: int = 0) -> list[Request]:
    """As another process does: the writer's task may be in the middle of a transaction, which has to go on."""
    return await asyncio.to_thread(retries.request, bench.path, [destination], since_ns=since_ns)


async def fill(bench: Bench, buffer: Buffer, readings: int, *, age_s: float = 0) -> None:
    for number in range(readings):
        buffer.append(bench.reading(float(number), age_s=age_s))
    await buffer.flush()


async def refuse(buffer: Buffer, destination: str, *which: int) -> None:
    async with asyncio.TaskGroup() as group:
        for position in which:
            group.create_task(buffer.set_aside(destination, position, "refused"))


async def positions(buffer: Buffer, destination: str) -> list[int]:
    return [one.position for one in await buffer.peek(destination, after=0, limit=10**6)]


async def taken(path: Path) -> bool:
    async with asyncio.timeout(10):
        while not retries.is_taken(path):  # noqa: ASYNC110  another connection tells
            await asyncio.sleep(0.01)
    return True


async def change(path: Path, statement: str) -> None:
    def run() -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute(statement)
            database.commit()

    await asyncio.to_thread(run)


def rows_of(path: Path, table: str, columns: str = "*") -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT {columns} FROM {table}").fetchall()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def frames(log: bytes, *, start: int) -> list[int]:
    """Where the frames of a write-ahead log end, from an offset on (SQLite file format, section 4.1)."""
    (page_bytes,) = struct.unpack(">I", log[8:12])
    ends = [end for end in range(32, len(log) + 1, 24 + page_bytes) if end >= start]
    assert len(ends) > 3
    return ends

"""`max_bytes` as an outside observer sees it: the files on the disk, at every moment."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from drivers.model import PointGroup, Reading
from drivers.settings import Priority
from gateway.buffer import inspect, retries
from gateway.buffer.bounds import Budget
from gateway.config import Durability, WhenFull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench, Until

MIB = 2**20
SMALLEST = 512 * 2**10

OBSERVER = """
import os, select, sys
def size(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
print("looking", flush=True)
most = [0, 0, 0]
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    found = size(sys.argv[1]), size(sys.argv[1] + "-wal")
    most = [max(each) for each in zip(most, (sum(found), *found))]
print(*most)
"""


@dataclass(slots=True)
class Observed:
    """The largest sizes that were seen, in bytes: of both files together, and of each."""

    together: int = 0
    database: int = 0
    log: int = 0

    def keeps(self, max_bytes: int) -> bool:
        budget = Budget.of(max_bytes, disk_bytes=2**60)
        return self.together <= max_bytes and self.database <= budget.file and self.log <= budget.wal


@contextmanager
def observed(path: Path) -> Iterator[Observed]:
    """Another process looks at the files all the time."""
    found = Observed()
    command = [sys.executable, "-c", OBSERVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield found
        found.together, found.database, found.log = (int(size) for size in process.communicate("")[0].split())


def wal_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def on_disk_bytes(path: Path) -> int:
    return path.stat().st_size + wal_bytes(path)


@pytest.mark.parametrize(
    ("max_bytes", "text_bytes"), [(SMALLEST, 10), (SMALLEST, 2100), (SMALLEST, 20_000), (3 * MIB, 600)]
)
@pytest.mark.parametrize("when_full", list(WhenFull))
async def test_the_files_never_pass_max_bytes(
    bench: Bench, when_full: WhenFull, text_bytes: int, max_bytes: int
) -> None:
    group = PointGroup("stream", 0.0, bench.group.points)
    readings = 2 * max_bytes // (text_bytes + 60)
    with observed(bench.path) as observer:
        async with bench.open(max_bytes=max_bytes, when_full=when_full, durability=Durability.PROCESS_CRASH) as buffer:
            for number in range(readings):
                values = (float(number), True, "x" * text_bytes, None)
                polled = number % 5
                priority = Priority.LOW if number % 3 else Priority.NORMAL
                buffer.append(
                    Reading(bench.group if polled else group, bench.now_ns + number, values), priority=priority
                )
                if number % 97 == 0:
                    await buffer.flush()
            await buffer.flush()
            assert sum(bench.health.dropped.values()) > readings // 4
            assert buffer.backlog("broker") * (text_bytes + 20) > max_bytes // 12
            held = await buffer.peek("broker", after=0, limit=readings)
            assert len(held) == buffer.backlog("broker") == bench.health.readings
    assert observer.keeps(max_bytes), observer
    assert observer.together


async def test_what_was_set_aside_gives_way_when_nothing_else_is_left(bench: Bench) -> None:
    async with bench.open(max_bytes=SMALLEST, durability=Durability.PROCESS_CRASH) as buffer:
        for number in range(150):
            buffer.append(bench.fat(number))
            await buffer.flush()
            await buffer.set_aside("broker", buffer.last_committed, "too large")
            assert on_disk_bytes(bench.path) <= SMALLEST
        await buffer.flush()
        status = inspect.status(bench.path)
        assert buffer.last_committed == 150
    assert status.set_aside["broker"] + bench.health.dropped["set-aside-full"] == 150
    assert status.set_aside["broker"] > 20
    assert bench.health.dropped["max-bytes"] == 0


async def test_a_reading_that_can_never_fit_is_dropped_and_counted(bench: Bench) -> None:
    async with bench.open(max_bytes=SMALLEST) as buffer:
        buffer.append(bench.reading(1.0))
        buffer.append(bench.reading(2.0, True, "ä" * 40_000))
        buffer.append(bench.reading(3.0))
        await buffer.flush()
        assert [one.reading.values[0] for one in await buffer.peek("broker", after=0)] == [1.0, 3.0]
    assert bench.health.dropped["max-bytes"] == 1


async def test_a_log_that_somebody_reads_grows_with_one_warning_and_is_cut_off_afterwards(
    bench: Bench, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open(max_bytes=SMALLEST, durability=Durability.PROCESS_CRASH) as buffer:
        buffer.append(bench.fat(0))
        await buffer.flush()
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as shell:
            shell.execute("BEGIN")
            shell.execute("SELECT count(*) FROM reading").fetchone()
            for number in range(130):
                buffer.append(bench.fat(number))
                await buffer.flush()
            assert wal_bytes(bench.path) > SMALLEST // 2
        await until(lambda: wal_bytes(bench.path) < SMALLEST // 4)
        assert on_disk_bytes(bench.path) <= SMALLEST
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "another process keeps reading it" in warning


async def test_low_priority_that_lies_among_others_frees_its_space(bench: Bench) -> None:
    """As many of low priority go as room is needed for, not all that there are."""
    group = PointGroup("lamp", 1.0, bench.group.points)
    async with bench.open(max_bytes=3 * MIB, durability=Durability.PROCESS_CRASH) as buffer:
        for number in range(6000):
            values = (float(number), True, "x" * 300, None)
            buffer.append(Reading(bench.group, bench.now_ns + number, values))
            buffer.append(Reading(group, bench.now_ns + number, values), priority=Priority.LOW)
            if number % 100 == 0:
                await buffer.flush()
        await buffer.flush()
        left = await buffer.peek("broker", after=0, limit=20_000)
        low = [one for one in left if one.reading.group.device == "lamp"]
        dropped = bench.health.dropped["max-bytes"]
        assert len(left) == 12_000 - dropped
        assert len(left) - len(low) == 6000
        assert sum(len(one.reading.values[2]) for one in left if isinstance(one.reading.values[2], str)) > 1.8 * MIB


async def test_many_are_set_aside_and_come_back_within_max_bytes(bench: Bench, until: Until) -> None:
    with observed(bench.path) as observer:
        async with bench.open(max_bytes=2 * MIB, durability=Durability.PROCESS_CRASH) as buffer:
            for number in range(300):
                buffer.append(bench.fat(number))
            await buffer.flush()
            async with asyncio.TaskGroup() as group:
                for position in range(1, 301):
                    group.create_task(buffer.set_aside("broker", position, "too large"))
            for number in range(30):
                buffer.append(bench.reading(number))
            await buffer.flush()
            (asked,) = await asyncio.to_thread(retries.request, bench.path, ["broker"], since_ns=0)
            await until(lambda: retries.is_taken(bench.path))
            await buffer.flush()
            assert asked.readings > 250
            assert buffer.backlog("broker") + sum(bench.health.dropped.values()) == 330
    assert observer.keeps(2 * MIB), observer

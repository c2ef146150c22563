"""What goes wrong with disks, files and other processes, and what the buffer does about it."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.buffer import Buffer, BufferUnavailable
from gateway.buffer.intake import Intake
from gateway.buffer.opening import mark_stopped
from gateway.buffer.schema import APPLICATION_ID, versions
from gateway.config import Durability, WhenFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.buffer.conftest import Bench, Until

_HOLD_LOCKED = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


async def fill(bench: Bench, readings: int) -> list[float]:
    async with bench.open() as buffer:
        for number in range(readings):
            buffer.append(bench.reading(float(number), True, "x" * 100, number))
    return [float(number) for number in range(readings)]


def fill_disk(filler: Path) -> None:
    """Write until there is no room. Unbuffered, so that closing has nothing left to write."""
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):  # noqa: PT012
        while True:
            file.write(bytes(4096))


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@contextmanager
def locked(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process in the middle of a write transaction, until `release` or the end."""
    command = [sys.executable, "-c", _HOLD_LOCKED, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield other


def release(other: subprocess.Popen[bytes]) -> None:
    assert other.stdin is not None
    other.stdin.close()
    other.wait(10)


async def speeds(buffer: Buffer) -> list[object]:
    return [one.reading.values[0] for one in await buffer.peek("broker", after=0, limit=100_000)]


# A disk that is full


async def test_a_full_disk_keeps_readings_in_memory_until_there_is_room(
    bench: Bench, small_disk: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    filler = small_disk / "filler"
    async with bench.open(path=small_disk / "buffer.db") as buffer:
        buffer.append(bench.reading(0.0))
        await buffer.flush()
        fill_disk(filler)
        for number in range(1, 101):
            buffer.append(bench.reading(float(number), True, "x" * 2000))
        await until(lambda: not bench.health.writable)
        assert "disk is full" in bench.health.detail
        assert "free some space" in bench.health.detail
        for number in range(101, 201):
            buffer.append(bench.reading(float(number)))
        assert bench.health.readings == 201
        filler.unlink()
        await until(lambda: bench.health.writable)
        await buffer.flush()
        assert await speeds(buffer) == [float(one) for one in range(201)]
        assert bench.health.dropped == Counter()
        assert bench.health.detail == ""
    edges = [record.levelname for record in caplog.records if record.name == "gateway.buffer.trouble"]
    assert edges == ["ERROR", "INFO"]


async def test_what_does_not_fit_in_memory_during_a_full_disk_is_counted(
    bench: Bench, small_disk: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.buffer.parts.Intake", partial(Intake, most_bytes=500_000))
    async with bench.open(path=small_disk / "buffer.db", when_full=WhenFull.DROP_OLDEST) as buffer:
        buffer.append(bench.reading(0.0))
        await buffer.flush()
        fill_disk(small_disk / "filler")
        for number in range(5000):
            buffer.append(bench.reading(float(number), True, "x" * 2000))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: not bench.health.writable)
        dropped = bench.health.dropped["memory"]
        assert dropped > 1000
        assert bench.health.readings + dropped == 5001
        (small_disk / "filler").unlink()
        await buffer.flush()
        kept = await speeds(buffer)
        assert len(kept) == 5001 - dropped
        assert kept[-1] == 4999.0


async def test_leaving_with_a_full_disk_says_what_was_lost(bench: Bench, small_disk: Path) -> None:
    async with bench.open(path=small_disk / "buffer.db") as buffer:
        fill_disk(small_disk / "filler")
        for number in range(2000):
            buffer.append(bench.reading(float(number), True, "x" * 2000))
    (small_disk / "filler").unlink()
    assert bench.health.dropped["shutdown"] > 0
    lost = bench.health.dropped["shutdown"]
    async with bench.open() as buffer:
        assert len(await speeds(buffer)) == 2000 - lost


# Other processes


async def test_a_database_locked_by_another_process_delays_commits_only(bench: Bench, until: Until) -> None:
    async with bench.open() as buffer:
        buffer.append(bench.reading(0.0))
        await buffer.flush()
        with locked(bench.path) as other:
            buffer.append(bench.reading(1.0))
            await until(lambda: not bench.health.writable)
            assert "another process holds the database locked" in bench.health.detail
            assert await speeds(buffer) == [0.0]
            release(other)
        await until(lambda: bench.health.writable)
        await buffer.flush()
        assert await speeds(buffer) == [0.0, 1.0]


async def test_a_second_gateway_is_turned_away_and_told_who_is_there(bench: Bench) -> None:
    async with bench.open():
        with pytest.raises(BufferUnavailable, match=rf"another gateway is running .* \(pid {os.getpid()}\)"):
            async with bench.open():
                pass
    async with bench.open():
        pass


async def test_a_database_locked_at_the_start_is_reported(bench: Bench) -> None:
    await fill(bench, 1)
    with locked(bench.path), pytest.raises(BufferUnavailable, match=r"database is locked; .*close that sqlite3 shell"):
        async with bench.open():
            pass


# Files that cannot be used


async def test_a_missing_directory_is_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(BufferUnavailable, match=r"cannot make .*; make the directory .*missing"):
        async with bench.open(path=tmp_path / "missing" / "buffer.db"):
            pass


async def test_a_place_that_cannot_be_written_is_reported(bench: Bench, tmp_path: Path) -> None:
    from pathlib import Path

    with pytest.raises(BufferUnavailable, match=r"cannot make /proc/self/buffer\.db\.lock: .*; let the gateway's user"):
        async with bench.open(path=Path("/proc/self/buffer.db")):
            pass


async def test_a_read_only_file_system_is_reported(bench: Bench, small_disk: Path) -> None:
    async with bench.open(path=small_disk / "buffer.db"):
        pass
    make_read_only(small_disk)
    with pytest.raises(BufferUnavailable, match="Read-only file system"):
        async with bench.open():
            pass


async def test_a_disk_without_room_for_the_first_start_is_reported(bench: Bench, small_disk: Path) -> None:
    fill_disk(small_disk / "filler")
    with pytest.raises(BufferUnavailable, match=r"buffer\.db\.lock: No space left on device; free some space"):
        async with bench.open(path=small_disk / "buffer.db"):
            pass


async def test_a_database_of_another_program_is_left_alone(bench: Bench) -> None:
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("CREATE TABLE precious (value)")
    with pytest.raises(BufferUnavailable, match=r"is a database of another program; change buffer\.path"):
        async with bench.open():
            pass


async def test_a_new_database_says_what_it_is(bench: Bench) -> None:
    await fill(bench, 1)
    await fill(bench, 1)  # migrating again changes nothing
    with closing(sqlite3.connect(bench.path)) as database:
        pragmas = [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode", "auto_vacuum")
        ]
    assert pragmas == [APPLICATION_ID, max(versions()), "wal", 2]


# Power


async def test_positions_skip_ahead_after_a_power_cut_that_may_have_taken_some(bench: Bench) -> None:
    async with bench.open(durability=Durability.PROCESS_CRASH) as buffer:
        buffer.append(bench.reading(1.0))
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("UPDATE state SET value = 'another boot' WHERE key = 'running'")
        database.commit()
    async with bench.open() as buffer:
        assert (buffer.last_committed, buffer.backlog("broker")) == (1_000_001, 1)
        buffer.append(bench.reading(2.0))
        await buffer.flush()
        assert [one.position for one in await buffer.peek("broker", after=0)] == [1, 1_000_002]
    mark_stopped(bench.path)
    async with bench.open() as buffer:
        assert (buffer.last_committed, buffer.backlog("broker")) == (1_000_002, 2)

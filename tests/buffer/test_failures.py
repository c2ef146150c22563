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
    monkeypatch.setattr("gateway.buffer.writer.Intake", partial(Intake, most_values=2_400))
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


async def test_a_database_of_a_newer_gateway_is_left_alone(bench: Bench) -> None:
    await fill(bench, 1)
    with closing(sqlite3.connect(bench.path)) as database:
        database.execute("PRAGMA user_version = 9999")
    with pytest.raises(
        BufferUnavailable, match=r"has version 9999, this gateway knows .*; run the gateway that wrote it"
    ):
        async with bench.open():
            pass
    assert sorted(path.name for path in bench.path.parent.iterdir()) == ["buffer.db", "buffer.db.lock"]


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


# Damage


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
    size = bench.path.stat().st_size
    with bench.path.open("r+b") as file:  # three bad pages in the middle
        for share in (0.3, 0.5, 0.7):
            file.seek(int(size * share) // 4096 * 4096)
            file.write(os.urandom(4096))
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
    with bench.path.open("r+b") as file:
        file.seek(bench.path.stat().st_size // 2 // 4096 * 4096)
        file.write(bytes(4096))
    bench.path.with_name("buffer.db.suspect").touch()
    async with bench.open("a", "b") as buffer:
        assert buffer.epoch != epoch
        assert buffer.backlog("a") == 10
        assert 2900 < buffer.backlog("b") < 3000
        assert len(await buffer.peek("b", after=0, limit=9999)) == buffer.backlog("b")
    assert not bench.path.with_name("buffer.db.suspect").exists()


@pytest.mark.parametrize("kept", [1, 100, 4096, 10_000])
async def test_a_truncated_database_does_not_stop_the_gateway(bench: Bench, kept: int) -> None:
    await fill(bench, 500)
    os.truncate(bench.path, kept)
    async with bench.open() as buffer:
        assert len(await speeds(buffer)) == buffer.backlog("broker")
        buffer.append(bench.reading(7.0))
        await buffer.flush()
        assert (await speeds(buffer))[-1] == 7.0


async def test_a_page_that_goes_bad_under_a_running_gateway_is_salvaged_by_the_next(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(bench, 3000)
    with bench.path.open("r+b") as file:
        file.seek(bench.path.stat().st_size // 2 // 4096 * 4096)
        file.write(bytes(4096))
    async with bench.open() as buffer:  # closed in good order before, so nothing was checked
        for _ in range(2):
            await buffer.peek("broker", after=0, limit=9999)
        assert caplog.text.count("restart the gateway") == 1
        buffer.append(bench.reading(9.0))
        await buffer.committed(3000)
        assert [one.position for one in await buffer.peek("broker", after=3000)] == [3001]
    async with bench.open() as buffer:
        assert 2900 < len(await speeds(buffer)) == buffer.backlog("broker") < 3001


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

"""Commits that vanish without leaving a damaged database: the mark beside it tells."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.buffer import Buffer
from gateway.buffer.mark import SYNCED_EVERY, Mark, mark_of
from gateway.clock import boot_id
from gateway.config import Durability
from tests.buffer.test_failures import speeds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench


def image(bench: Bench, name: str) -> Path:
    """The files as a crash at this moment would leave them. Where the database is in it."""
    folder = bench.path.parent / name
    folder.mkdir()
    for suffix in ("", "-wal", ".mark"):
        shutil.copy(f"{bench.path}{suffix}", folder / f"buffer.db{suffix}")
    return folder / "buffer.db"


async def crash(bench: Bench) -> Path:
    """Ten readings are checkpointed, of which three are acknowledged, ten more are in the log only."""
    async with bench.open() as buffer:
        await append(buffer, bench, 10)
        buffer.acknowledge("broker", [1, 2, 3])
    async with bench.open() as buffer:
        await append(buffer, bench, 10)
        return image(bench, "crashed")


async def append(buffer: Buffer, bench: Bench, readings: int) -> None:
    for _ in range(readings):
        buffer.append(bench.reading(1.0))
    await buffer.flush()


async def positions(buffer: Buffer) -> list[int]:
    return [one.position for one in await buffer.peek("broker", after=0)]


def rewrite_mark(database: Path, mark: Mark) -> None:
    with mark_of(database) as marks:
        marks.sync(mark)


def read_mark(database: Path) -> Mark:
    with mark_of(database) as marks:
        mark = marks.read()
    assert mark is not None
    return mark


async def test_a_log_that_vanished_is_counted_and_no_position_is_used_twice(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    crashed = await crash(bench)
    crashed.with_name("buffer.db-wal").unlink()
    async with bench.open(path=crashed) as buffer:
        assert bench.health.dropped["damaged"] == 10
        await append(buffer, bench, 1)
        assert await positions(buffer) == [*range(4, 11), 21]
    told = [record for record in caplog.records if record.name == "gateway.buffer.opening"]
    assert [record.levelno for record in told] == [logging.ERROR]
    assert "ends at position 10 and 20 had been committed" in caplog.text
    assert "up to 10 readings are lost; positions go on from 21" in caplog.text
    async with bench.open():
        assert bench.health.dropped["damaged"] == 0  # told once


async def test_a_log_that_was_cut_in_the_middle_of_a_frame_costs_what_was_behind(bench: Bench) -> None:
    async with bench.open() as buffer:
        for _ in range(10):
            await append(buffer, bench, 1)
        crashed = image(bench, "crashed")
    log = crashed.with_name("buffer.db-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 1000)
    async with bench.open(path=crashed) as buffer:
        found = await positions(buffer)
        assert 0 < len(found) < 10
        assert len(found) + bench.health.dropped["damaged"] == buffer.last_committed == 10


async def test_a_database_that_vanished_keeps_its_epoch_and_counts_what_may_be_lost(bench: Bench) -> None:
    crashed = await crash(bench)
    epoch = read_mark(crashed).epoch
    crashed.unlink()
    crashed.with_name("buffer.db-wal").unlink()
    async with bench.open(path=crashed) as buffer:
        assert (buffer.epoch, buffer.last_committed) == (epoch, 20)
        assert bench.health.dropped["damaged"] == 17  # three had been acknowledged


async def test_a_database_that_is_deleted_when_everything_was_acknowledged_costs_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.open() as buffer:
        await append(buffer, bench, 10)
        buffer.acknowledge("broker", range(1, 11))
    bench.path.unlink()
    async with bench.open() as buffer:
        await append(buffer, bench, 1)
        assert await positions(buffer) == [11]
        assert bench.health.dropped["damaged"] == 0
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"torn", b"\xff" * 128, b"00000000", b"0badcafe 1 99 stopped 00000000"])
async def test_a_mark_that_is_torn_or_not_there_says_nothing(bench: Bench, content: bytes) -> None:
    crashed = await crash(bench)
    crashed.with_name("buffer.db.mark").write_bytes(content)
    async with bench.open(path=crashed) as buffer:
        assert await positions(buffer) == list(range(4, 21))
        assert bench.health.dropped["damaged"] == 0
        assert read_mark(crashed).last == 20


async def test_the_mark_of_another_epoch_says_nothing(bench: Bench) -> None:
    crashed = await crash(bench)
    rewrite_mark(crashed, Mark("0badcafe", 1, 1000, boot_id()))
    async with bench.open(path=crashed) as buffer:
        assert (buffer.epoch != "0badcafe", buffer.last_committed) == (True, 20)
        assert bench.health.dropped["damaged"] == 0


async def test_positions_skip_ahead_when_the_power_may_have_taken_some_of_the_mark(bench: Bench) -> None:
    crashed = await crash(bench)
    crashed.with_name("buffer.db-wal").unlink()
    rewrite_mark(crashed, Mark(read_mark(crashed).epoch, 4, 15, "another-boot"))
    async with bench.open(path=crashed) as buffer:
        assert buffer.last_committed == 1_000_015
        assert bench.health.dropped["damaged"] == 5
    with closing(sqlite3.connect(crashed)) as database:
        assert database.execute("SELECT value FROM state WHERE key = 'skipped'").fetchone() == ("[[16,1000015]]",)


async def test_an_acknowledgement_that_vanished_means_copies_and_no_loss(bench: Bench) -> None:
    async with bench.open() as buffer:
        await append(buffer, bench, 10)
    async with bench.open() as buffer:
        buffer.acknowledge("broker", range(1, 11))
        await append(buffer, bench, 1)
        buffer.acknowledge("broker", [11])
        await buffer.flush()
        crashed = image(bench, "crashed")
    crashed.with_name("buffer.db-wal").unlink()
    async with bench.open(path=crashed) as buffer:
        assert (await positions(buffer), buffer.last_committed) == (list(range(1, 11)), 11)
        assert bench.health.dropped["damaged"] == 0


async def test_what_was_lost_to_a_power_cut_with_process_crash_is_counted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.settings = bench.settings.model_copy(update={"durability": Durability.PROCESS_CRASH})
    crashed = await crash(bench)
    crashed.with_name("buffer.db-wal").unlink()
    with closing(sqlite3.connect(crashed)) as database:
        database.execute("UPDATE state SET value = 'another boot' WHERE key = 'running'")
        database.commit()
    async with bench.open(path=crashed) as buffer:
        assert bench.health.dropped["damaged"] == 10
        assert buffer.last_committed == 1_000_020
    assert "positions go on from 1000021" in caplog.text


async def test_a_mark_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "buffer.db.mark").symlink_to("/dev/full")
    with mark_of(tmp_path / "buffer.db") as marks:
        for last in (1, 2):
            await marks.write(Mark("0badcafe", 1, last, boot_id()))
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert "No space left on device; commits that vanish may go unnoticed" in told.message


async def test_a_mark_is_synced_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    with mark_of(tmp_path / "buffer.db") as marks:
        for last in range(0, 3 * SYNCED_EVERY, SYNCED_EVERY // 4):
            await marks.write(Mark("0badcafe", 1, last, boot_id()))
    assert len(synced) == 2


async def test_the_lock_file_names_the_process_only(bench: Bench) -> None:
    async with bench.open() as buffer:
        await append(buffer, bench, 3)
        assert bench.path.with_name("buffer.db.lock").read_text().strip().isdigit()
        assert await speeds(buffer) == [1.0] * 3

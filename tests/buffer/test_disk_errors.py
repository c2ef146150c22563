"""EIO from a real process's system calls: a bad sector, a log that cannot be written, a sync that fails."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import pytest

from gateway.buffer.bounds import PAGE_BYTES
from tests.buffer.test_failures import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.buffer.conftest import Bench

READ, WRITE, SYNC = range(3)

_CHILD = """
import asyncio, json, sys, time
from pathlib import Path
from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.config import BufferSettings
from gateway.health import BufferHealth

GROUP = PointGroup("infeed", 1.0, (Point("speed", "m/s"), Point("running"), Point("text"), Point("count")))

async def main(path):
    health = BufferHealth()
    settings = BufferSettings(path=path, min_free_disk=0)
    async with Buffer.open(settings, destinations=["broker"], health=health) as buffer:
        while number := await asyncio.to_thread(sys.stdin.readline):
            buffer.append(Reading(GROUP, time.time_ns(), (float(number), True, "", None)))
            async with asyncio.timeout(20):
                await buffer.flush()
            found = [one.reading.values[0] for one in await buffer.peek("broker", after=0, limit=10**6)]
            print(json.dumps([found, health.dropped["damaged"], health.detail]), flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


@dataclass
class Gateway:
    """A buffer in a process of its own, on a disk that fails on command."""

    commands: IO[str]
    answers: IO[str]
    faults: Path
    held: ExitStack

    def append(self, number: int) -> tuple[list[float], int, str]:
        """Commit this one. Returns what is held, how many are lost to damage, and what is wrong."""
        self.commands.write(f"{number}\n")
        self.commands.flush()
        found, lost, detail = json.loads(self.answers.readline())
        return found, lost, detail

    def fail(self, how: int, path: Path, *, page: int | None = None) -> None:
        """From now on, for this file as it is, whatever its name will be. It is held open, so that no other gets its
        inode."""
        self.held.enter_context(path.open("rb"))
        first, end = (0, 2**63) if page is None else (page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        with self.faults.open("r+b") as file:
            file.seek(how * 24)
            file.write(struct.pack("QQQ", path.stat().st_ino, first, end))


@contextmanager
def running(bench: Bench, library: Path) -> Iterator[Gateway]:
    faults = bench.path.with_name("faults")
    faults.write_bytes(bytes(72))
    environment = os.environ | {"LD_PRELOAD": str(library), "DISK_FAULTS": str(faults)}
    command = [sys.executable, "-c", _CHILD, str(bench.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with ExitStack() as held:
            yield Gateway(process.stdin, process.stdout, faults, held)
        process.stdin.close()
        assert process.wait(20) == 0


def asides(bench: Bench) -> list[Path]:
    return list(bench.path.parent.glob("buffer.db.damaged-*Z"))


async def test_a_bad_sector_costs_what_is_in_it(bench: Bench, disk_library: Path) -> None:
    await fill(bench, 3000)
    with running(bench, disk_library) as gateway:
        gateway.fail(READ, bench.path, page=bench.path.stat().st_size // 2 // PAGE_BYTES)
        answers = [gateway.append(number) for number in range(3000, 3010)]
    found, lost, detail = answers[-1]
    assert answers[0][0] == [3000.0]  # older ones wait
    assert 0 < lost < 50
    assert len(found) == 3010 - lost
    assert found[-10:] == [float(number) for number in range(3000, 3010)]
    assert detail == ""
    assert len(asides(bench)) == 1


@pytest.mark.parametrize("how", [WRITE, SYNC])
async def test_a_log_that_cannot_be_written_is_left_behind(bench: Bench, disk_library: Path, how: int) -> None:
    with running(bench, disk_library) as gateway:
        gateway.append(0)
        gateway.fail(how, bench.path.with_name("buffer.db-wal"))
        for number in range(1, 5):
            found, lost, detail = gateway.append(number)
            assert (found, lost) == ([float(one) for one in range(number + 1)], 0)
    assert detail == ""
    assert len(asides(bench)) == 1


async def test_a_disk_that_reads_nothing_costs_what_is_not_in_memory(bench: Bench, disk_library: Path) -> None:
    await fill(bench, 3000)
    with running(bench, disk_library) as gateway:
        gateway.append(3000)
        gateway.fail(READ, bench.path)
        answers = [gateway.append(number) for number in range(3001, 3010)]
        (aside,) = asides(bench)
        content = aside.read_bytes()
    found, lost, _ = answers[-1]
    assert found == [float(number) for number in range(3010 - len(found), 3010)]
    assert len(found) + lost == 3010
    assert b"[2999.0," in content

"""`max_bytes` as an outside observer sees it: the files on the disk, at every moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from drivers.model import PointGroup, Reading
from drivers.settings import Priority
from gateway.config import Durability, WhenFull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench

MIB = 2**20
SMALLEST = 1_000_000

OBSERVER = """
import os, select, sys
def size(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
most = 0
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    most = max(most, size(sys.argv[1]) + size(sys.argv[1] + "-wal"))
print(most)
"""


class Observed:
    """`most_bytes`: the largest size that database and log had together."""

    most_bytes = 0


@contextmanager
def observed(path: Path) -> Iterator[Observed]:
    """Another process looks at the files all the time."""
    found = Observed()
    command = [sys.executable, "-c", OBSERVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield found
        found.most_bytes = int(process.communicate("")[0])


def on_disk_bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in (path, path.with_name(f"{path.name}-wal")) if one.exists())


@pytest.mark.parametrize(
    ("max_bytes", "text_bytes"), [(SMALLEST, 10), (SMALLEST, 2100), (SMALLEST, 30_000), (3 * MIB, 600)]
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
            assert buffer.backlog("broker") * (text_bytes + 20) > max_bytes // 8
            held = await buffer.peek("broker", after=0, limit=readings)
            assert len(held) == buffer.backlog("broker") == bench.health.readings
    assert max_bytes // 3 < observer.most_bytes <= max_bytes

"""SIGKILL in a loop: every position that was reported committed is there afterwards."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.config import Durability

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buffer.conftest import Bench

_CHILD = """
import asyncio, sys, time
from pathlib import Path
from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.config import BufferSettings, Durability
from gateway.health import BufferHealth

async def main(path, durability):
    settings = BufferSettings(path=Path(path), min_free_disk=0, durability=Durability(durability))
    group = PointGroup("device", 1.0, (Point("a"), Point("b")))
    async with Buffer.open(settings, destinations=["broker"], health=BufferHealth()) as buffer:
        print("open", buffer.last_committed, flush=True)
        number = buffer.last_committed
        while True:
            for _ in range(20):
                number += 1
                buffer.append(Reading(group, time.time_ns(), (number, "x" * 50)))
            print("committed", await buffer.committed(buffer.last_committed), flush=True)
            if number % 60 == 0:
                first = [one.position for one in await buffer.peek("broker", after=0, limit=7)]
                print("acknowledged", *first, flush=True)
                buffer.acknowledge("broker", first)

asyncio.run(main(*sys.argv[1:]))
"""


def run_and_kill(database: Path, durability: Durability, *, after_lines: int) -> list[tuple[str, list[int]]]:
    """Run the child, kill it after so many lines, and return all that it said. A torn last line was not said."""
    command = [sys.executable, "-c", _CHILD, str(database), durability.value]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after_lines)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    said = (line.split() for line in lines if line.endswith("\n"))
    return [(word, list(map(int, numbers))) for word, *numbers in said]


@pytest.mark.parametrize("durability", list(Durability))
async def test_nothing_that_was_committed_is_lost_by_sigkill(bench: Bench, durability: Durability) -> None:
    draw = random.Random(7)
    acknowledged: set[int] = set()
    committed = 0
    for _ in range(6):
        for word, numbers in run_and_kill(bench.path, durability, after_lines=draw.randrange(20, 120)):
            if word == "acknowledged":
                acknowledged.update(numbers)
            else:
                assert numbers[0] >= committed
                committed = numbers[0]
    assert committed > 1000
    assert acknowledged
    async with bench.open(durability=durability) as buffer:
        stored = await buffer.peek("broker", after=0, limit=10**6)
        present = {one.position for one in stored}
        assert buffer.last_committed >= committed
        assert set(range(1, committed + 1)) - present <= acknowledged
        assert all(one.reading.values[0] == one.position for one in stored)
        assert buffer.backlog("broker") == len(present)

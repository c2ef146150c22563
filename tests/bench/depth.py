"""What the buffer costs when little waits in it and when very much does: opening, appending, sending on, looking in.

At each depth the same is done to a bare SQLite table of as many rows: what grows there too does not come from the
buffer.

    python -m tests.bench.depth PATH READINGS    fills the buffer at PATH until so many wait, and ends as `kill -9` does
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path

import orjson

from gateway.buffer import Buffer, StoredReading, inspect
from gateway.config import BufferSettings
from gateway.health import BufferHealth
from tests.bench import floors
from tests.bench.processes import MAX_BYTES
from tests.bench.recording import HEAVY, Recorder
from tests.bench.table import Row

_SHALLOWEST = 10**4
_AT_ONCE = 90
_ROUNDS = 15
_BARE_AT_ONCE = 2000
_VALUES = list(range(1000, 1000 + HEAVY.points))
_DESTINATION = "broker"
SHOWN = {
    "append_us": "append, us/reading",
    "peek_us": "peek at the oldest, us/reading",
    "acknowledge_us": "acknowledge, us/reading",
    "open_ms": "open after a good end, ms",
    "open_killed_ms": "open after a kill, ms",
    "status_ms": "buffer status, ms",
}

Found = Mapping[str, Mapping[str, float]]
Times = defaultdict[str, list[float]]


def depth(folder: Path, *, deepest: int) -> Found:
    """By how many values wait (1e4, 1e5 … `deepest`): the medians of many rounds.

    `append_us`, `peek_us` and `acknowledge_us` are CPU per reading; peeking reads the oldest from the database, and
    acknowledging deletes them from it. `open_ms`, `open_killed_ms` and `status_ms` are wall time. `bare_…` is SQLite.
    Every round goes through all depths, so that a busy hour of the machine makes all of them dearer.
    """
    floors.on_the_gateways_core()
    times: dict[int, Times] = {}
    values = _SHALLOWEST
    while values <= deepest:
        times[values] = defaultdict(list)
        values *= 10
    for values in times:
        _fill_and_die(folder / f"{values}.db", values // HEAVY.points)
        _fill_bare_sqlite(folder / f"{values}-floor.db", values // HEAVY.points)
    for turn in range(_ROUNDS + 1):
        for values, of_depth in times.items():
            _of_bare_sqlite(folder / f"{values}-floor.db", of_depth)
            opening = "open_ms" if turn else "open_killed_ms"
            asyncio.run(_of_buffer(folder / f"{values}.db", values // HEAVY.points, of_depth, opening=opening))
    return {
        str(values): {what: statistics.median(several) for what, several in of_depth.items()}
        for values, of_depth in times.items()
    }


async def _of_buffer(path: Path, readings: int, times: Times, *, opening: str) -> None:
    entering = _opened(path)
    with _wall_ms(times[opening]):
        buffer = await entering.__aenter__()
    try:
        if buffer.backlog(_DESTINATION) != readings:
            raise RuntimeError(f"{buffer.backlog(_DESTINATION)} readings wait, it should be {readings}")
        await _round(buffer, times)
    finally:
        await entering.__aexit__(None, None, None)
    with _wall_ms(times["status_ms"]):
        inspect.status(path)


async def _round(buffer: Buffer, times: Times) -> None:
    """As many come as go. What is peeked at was there when the buffer was opened, so it is not in memory; each step is
    done before it is timed, which makes the groups known and prepares the statements."""
    waiting, recorder = buffer.backlog(_DESTINATION), Recorder(HEAVY, first_ns=time.time_ns())
    for readings in (HEAVY.devices, _AT_ONCE):
        await recorder.record(buffer, readings)
    with _cpu_us(times["append_us"]):
        await recorder.record(buffer, _AT_ONCE)
    await _acknowledge(buffer, await buffer.peek(_DESTINATION, after=0, limit=1))
    with _cpu_us(times["peek_us"]):
        oldest = await buffer.peek(_DESTINATION, after=0, limit=_AT_ONCE)
    with _cpu_us(times["acknowledge_us"]):
        await _acknowledge(buffer, oldest)
    surplus = buffer.backlog(_DESTINATION) - waiting
    await _acknowledge(buffer, await buffer.peek(_DESTINATION, after=0, limit=surplus))


async def _acknowledge(buffer: Buffer, stored: Sequence[StoredReading]) -> None:
    buffer.acknowledge(_DESTINATION, [one.position for one in stored])
    await buffer.flush()


def _fill_bare_sqlite(path: Path, readings: int) -> None:
    with closing(floors.bare_table(path)) as database:
        for first in range(0, readings, _BARE_AT_ONCE):
            floors.insert_bodies(database, [orjson.dumps(_VALUES)] * min(_BARE_AT_ONCE, readings - first))


def _of_bare_sqlite(path: Path, times: Times) -> None:
    with closing(floors.bare_table(path)) as database:
        _bare_round(database, defaultdict(list))
        _bare_round(database, times)


def _bare_round(database: sqlite3.Connection, times: Times) -> None:
    with _cpu_us(times["bare_append_us"]):
        floors.insert_bodies(database, [orjson.dumps(_VALUES) for _ in range(_AT_ONCE)])
    with _cpu_us(times["bare_peek_us"]):
        rows = database.execute("SELECT * FROM reading ORDER BY id LIMIT ?", (_AT_ONCE,)).fetchall()
        for row in rows:
            orjson.loads(row[3])
    with _cpu_us(times["bare_acknowledge_us"]):
        database.execute("DELETE FROM reading WHERE id BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))


def _opened(path: Path) -> AbstractAsyncContextManager[Buffer]:
    settings = BufferSettings(path=path, max_bytes=MAX_BYTES)
    return Buffer.open(settings, destinations=(_DESTINATION,), health=BufferHealth())


@contextmanager
def _cpu_us(several: list[float]) -> Iterator[None]:
    """Append the processor time of the block, in all threads, for each of `_AT_ONCE` readings."""
    started_s = time.process_time()
    yield
    several.append((time.process_time() - started_s) / _AT_ONCE * 1e6)


@contextmanager
def _wall_ms(several: list[float]) -> Iterator[None]:
    started_s = time.perf_counter()
    yield
    several.append((time.perf_counter() - started_s) * 1e3)


def _fill_and_die(path: Path, readings: int) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.bench.depth", str(path), str(readings)], check=False)
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"filling the buffer ended with {done.returncode}")


async def _fill(path: Path, readings: int) -> None:
    async with _opened(path) as buffer:
        recorder = Recorder(HEAVY, first_ns=time.time_ns())
        await recorder.record(buffer, readings - buffer.backlog(_DESTINATION))
        os.kill(os.getpid(), signal.SIGKILL)


def rows(found: Found) -> list[Row]:
    shown = [("values that wait", "".join(f"{f'1e{len(values) - 1}':>8}" for values in found), "")]
    for key, what in SHOWN.items():
        shown.append((what, *_across(found, key)))
        if f"bare_{key}" in next(iter(found.values())):
            shown.append(("  floor: bare SQLite", *_across(found, f"bare_{key}")))
    return shown


def _across(found: Found, key: str) -> tuple[str, str]:
    figures = [of_depth[key] for of_depth in found.values()]
    return "".join(f"{figure:>8.1f}" for figure in figures), f"{figures[-1] / figures[0]:.2f} x the first"


if __name__ == "__main__":
    asyncio.run(_fill(Path(sys.argv[1]), int(sys.argv[2])))

"""Everything at once, in an order that a seed draws: two destinations peek, acknowledge, refuse and hand back, a third
comes and goes, what was set aside returns, rows go bad, room is needed, time passes, and every statement takes as long
as it likes.

What each destination did not get must have been dropped for it and counted, whenever the gateway is killed.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.settings import Priority
from gateway.buffer import Buffer, retries, settlement, writer
from gateway.buffer.store import Store
from gateway.buffer.tail import Tail
from gateway.config import Start, WhenFull
from tests.buffer.conftest import Bench, Until

READINGS = 500
STATEMENTS = (
    *("insert", "insert_groups", "fetch", "oldest", "scan", "extent", "measure", "settle"),
    *("retries", "returning", "end_retry", "crowded_out", "last_position", "return_space"),
)
SECOND_NS = 1_000_000_000


class Interleaving:
    """One run. `done` is what each destination has acknowledged, `copies` what a killed gateway would have left, with
    what had been acknowledged by then."""

    def __init__(self, bench: Bench, folder: Path, *, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.done: dict[str, set[int]] = {"a": set(), "b": set()}
        self.copies: list[tuple[Path, dict[str, set[int]], int]] = []
        self._folder = folder
        self._appending = asyncio.Event()

    async def pause(self) -> None:
        for _ in range(self.random.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    def slow(self, statement: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slowly(*arguments: Any, **options: Any) -> Any:
            await self.pause()
            found = await statement(*arguments, **options)
            if statement.__name__ == "settle" and len(self.copies) < 20 and self.random.random() < 0.2:
                self._copy()
            await self.pause()
            return found

        return slowly

    def _copy(self) -> None:
        path = self._folder / str(len(self.copies)) / self.bench.path.name
        path.parent.mkdir(parents=True)
        for suffix in ("", "-wal", ".mark"):
            shutil.copy(f"{self.bench.path}{suffix}", f"{path}{suffix}")
        with closing(sqlite3.connect(path)) as database:
            database.execute("DELETE FROM retry")  # so that nothing moves while it is looked at
            database.commit()
            (last,) = database.execute("SELECT coalesce(max(id), 0) FROM reading").fetchone()
        self.copies.append((path, {name: set(some) for name, some in self.done.items()}, last))

    async def run(self, buffer: Buffer) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._append(buffer))
            for name in self.done:
                group.create_task(self._consume(buffer, name))
            group.create_task(self._come_and_go(buffer))
            group.create_task(self._send_again())
            group.create_task(self._spoil(buffer))

    @property
    def _goes_on(self) -> bool:
        return not self._appending.is_set()

    async def _append(self, buffer: Buffer) -> None:
        for number in range(READINGS):
            size = self.random.choice((0, 500, 4000, 4000))
            reading = self.bench.reading(float(number), True, "x" * size)
            buffer.append(reading, priority=self.random.choice(list(Priority)))
            self.bench.now_ns += self.random.choice((0, SECOND_NS))
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.choice((0, 0.001, 0.005)))
        await buffer.flush()
        self._appending.set()

    async def _consume(self, buffer: Buffer, name: str) -> None:
        while self._goes_on:
            after = self.random.choice((0, 0, max(0, buffer.last_committed - 10)))
            found = [one.position for one in await buffer.peek(name, after=after, limit=self.random.randint(1, 40))]
            await self.pause()
            if self.random.random() < 0.1:
                buffer.hand_back(name)
                continue
            for position in found:
                drawn = self.random.random()
                if drawn < 0.02:
                    await buffer.set_aside(name, position, "refused")
                elif drawn < (0.8 if name == "a" else 0.15):
                    buffer.acknowledge(name, [position])
                    self.done[name].add(position)
            await asyncio.sleep(self.random.choice((0, 0.002)))

    async def _come_and_go(self, buffer: Buffer) -> None:
        while self._goes_on:
            await buffer.attach("c", start=self.random.choice(list(Start)))
            found = await buffer.peek("c", after=0, limit=20)
            if found:
                await buffer.set_aside("c", found[0].position, "refused")
            await asyncio.sleep(self.random.choice((0, 0.01)))
            buffer.detach("c")
            await asyncio.sleep(self.random.choice((0, 0.01)))

    async def _send_again(self) -> None:
        while self._goes_on:
            names = self.random.sample(["a", "b", "c"], k=2)
            await asyncio.to_thread(retries.request, self.bench.path, names, since_ns=0)
            await asyncio.sleep(self.random.choice((0.01, 0.05)))

    async def _spoil(self, buffer: Buffer) -> None:
        while self._goes_on:
            position = self.random.randint(1, buffer.last_committed + 1)
            await asyncio.to_thread(spoil, self.bench.path, position)
            await asyncio.sleep(self.random.choice((0, 0.003)))


def spoil(path: Path, position: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE reading SET observed_at_ns = observed_at_ns + 1 WHERE id = ?", (position,))
        database.commit()


def counted(path: Path, name: str) -> int:
    """Readings that were dropped for a destination."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT coalesce(sum(readings), 0) FROM dropped_for WHERE destination = ?"
        (readings,) = database.execute(query, (name,)).fetchone()
    return int(readings)


def set_aside(path: Path, name: str) -> set[int]:
    with closing(sqlite3.connect(path)) as database:
        return {one for (one,) in database.execute("SELECT position FROM set_aside WHERE destination = ?", (name,))}


async def at_rest(buffer: Buffer, bench: Bench, *names: str) -> dict[str, set[int]]:
    """Who waits for what when nothing moves any more: what c had left is counted, and there is room."""
    for _ in range(1000):
        await buffer.flush()
        found = {name: await buffer.peek(name, after=0, limit=10 * READINGS) for name in names}
        wait = {name: {one.position for one in some} for name, some in found.items()}
        backlogs = {name: buffer.backlog(name) for name in names}
        counts = {name: len(some) for name, some in found.items()}
        if backlogs == counts and bench.health.readings == len(set().union(*wait.values())):
            return wait
        await asyncio.sleep(0.01)
    raise AssertionError(f"counted {backlogs}, found {counts}, held {bench.health.readings}")


@pytest.mark.parametrize("seed", range(6))
async def test_what_a_destination_did_not_get_was_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: Until, seed: int
) -> None:
    monkeypatch.setattr(settlement, "SET_ASIDE_KEPT", 5)
    monkeypatch.setattr(writer, "_LOOK_EVERY_S", 0.005)
    monkeypatch.setattr(writer, "_SETTLE_WITHIN_S", 0.005)
    monkeypatch.setattr("gateway.buffer.parts.Tail", partial(Tail, most_bytes=20_000))
    run = Interleaving(bench, tmp_path / "copies", seed=seed)
    for name in STATEMENTS:
        monkeypatch.setattr(Store, name, run.slow(getattr(Store, name)))
    policy = list(WhenFull)[seed % 3]
    limits = {"max_bytes": 600_000, "max_age": 120.0, "when_full": policy}
    async with bench.open("a", "b", **limits) as buffer:
        await run.run(buffer)
        await buffer.attach("c", start=Start.NOW)
        await until(lambda: retries.is_taken(bench.path))
        last = buffer.last_committed
        wait = await at_rest(buffer, bench, "a", "b", "c")
        uncommitted = READINGS - last
    for name, done in run.done.items():
        missing = set(range(1, last + 1)) - done - wait[name] - set_aside(bench.path, name)
        assert len(missing) <= counted(bench.path, name), (name, sorted(missing))
    assert uncommitted == 0 or policy is WhenFull.DROP_NEWEST
    assert run.copies
    monkeypatch.undo()
    for path, before, committed in run.copies:
        killed = Bench(bench.settings.model_copy(update={"path": path}), bench.group, now_ns=bench.now_ns)
        async with killed.open("a", "b", max_age=10**9, max_bytes=10**9) as buffer:
            wait = await at_rest(buffer, killed, "a", "b")
        for name, done in before.items():
            missing = set(range(1, committed + 1)) - done - wait[name] - set_aside(path, name)
            assert len(missing) <= counted(path, name), (path, name, sorted(missing))

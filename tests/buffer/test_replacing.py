"""Killed while a damaged database is being replaced, at any step: nothing more is lost, and nothing goes uncounted."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.buffer import inspect
from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.replacing import tell_of_damage
from gateway.buffer.schema import sync_directory
from tests.buffer.test_damage import zero_page
from tests.buffer.test_failures import fill, speeds
from tests.buffer.test_mark import image
from tests.buffer.test_unsound_facts import Killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.buffer.conftest import Bench

COMMITTED = 300


async def damaged(bench: Bench) -> Path:
    """What a gateway has left that was killed: a third is in the log only, and a page of the database is bad."""
    for first, last in ((0, 200), (200, COMMITTED)):
        async with bench.open() as buffer:
            for number in range(first, last):
                buffer.append(bench.reading(float(number), True, "x" * 300))
            await buffer.flush()
            if last == COMMITTED:
                left = image(bench, "damaged")
    with left.open("r+b") as file:
        file.seek(left.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    return left.parent


class Kill:
    """Ends the process before the n-th step that changes the directory."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._steps = 0

    def before(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self._steps += 1
            if self._steps == self._step:
                raise Killed
            return change(*arguments, **options)

        return step


async def start_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, step: int) -> bool:
    """Returns whether there were so many steps."""
    kill = Kill(step)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", kill.before(Path.rename))
        patched.setattr(Path, "unlink", kill.before(Path.unlink))
        patched.setattr("gateway.buffer.replacing.sync_directory", kill.before(sync_directory))
        try:
            async with bench.open():
                return False
        except Killed:
            return True


async def test_a_replacement_can_be_interrupted_anywhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    left = await damaged(bench)
    kept = set()
    for step in count(1):
        folder = bench.path.with_name(f"step {step}")
        shutil.copytree(left, folder)
        bench.settings = bench.settings.model_copy(update={"path": folder / "buffer.db"})
        goes_on = await start_killed(bench, monkeypatch, step=step)
        async with bench.open() as buffer:
            found = [one.position for one in await buffer.peek("broker", after=0, limit=9999)]
            assert buffer.last_committed == COMMITTED
        (lost,) = inspect.status(bench.path).dropped
        assert (lost.reason, lost.readings) == ("damaged", COMMITTED - len(found))
        kept.add(tuple(found))
        (aside,) = folder.glob("buffer.db.damaged-*Z")
        assert aside.read_bytes() == (left / "buffer.db").read_bytes()
        assert aside.with_name(f"{aside.name}-wal").read_bytes() == (left / "buffer.db-wal").read_bytes()
        assert not list(folder.glob("buffer.db.salvaging*"))
        if not goes_on:
            break
    assert step > 8
    (found_each_time,) = kept
    assert COMMITTED - 40 < len(found_each_time) < COMMITTED


async def test_a_loss_is_counted_although_the_gateway_that_met_it_was_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_until_killed() -> None:
        async with bench.open() as buffer:
            zero_page(bench)
            await buffer.peek("broker", after=0, limit=9999)
            await asyncio.Event().wait()

    await fill(bench, 3000)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.buffer.repair.tell_of_damage", Kill(1).before(tell_of_damage))
        with pytest.raises(BaseExceptionGroup):
            await run_until_killed()
    async with bench.open() as buffer:
        lost = bench.health.dropped["damaged"]
        assert buffer.backlog("broker") == len(await speeds(buffer)) == 3000 - lost < 3000
    async with bench.open():
        assert not bench.health.dropped.total()


async def test_the_log_of_a_database_that_was_moved_aside_never_meets_the_new_one(bench: Bench) -> None:
    left = await damaged(bench)
    bench.settings = bench.settings.model_copy(update={"path": left / "buffer.db"})
    log = (left / "buffer.db-wal").read_bytes()
    (left / "buffer.db").rename(left / "buffer.db.damaged-20270115T080000Z.2")
    with closing(sqlite3.connect(left / "buffer.db.salvaging")) as database:
        database.execute("PRAGMA journal_mode = WAL")
    async with bench.open():
        assert (left / "buffer.db.damaged-20270115T080000Z.2-wal").read_bytes() == log

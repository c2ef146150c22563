"""Databases of older gateways, dumped as those had written them: opened, and opened again, with nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.model import bad
from gateway.buffer import inspect
from gateway.buffer.schema import versions

if TYPE_CHECKING:
    from tests.buffer.conftest import Bench

OLD = Path(__file__).with_name("old")
SPEEDS = {1: 0.5, 3: 2.5, 4: 3.5, 5: None, 6: 5.5}


def restore(version: int, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript((OLD / f"{version}.sql").read_text())
        database.execute("PRAGMA journal_mode = WAL")


def test_there_is_a_dump_of_every_older_version() -> None:
    assert {int(file.stem) for file in OLD.iterdir()} == versions().keys() - {max(versions())}


@pytest.mark.parametrize("version", sorted(versions())[:-1])
async def test_a_database_of_an_older_gateway_is_brought_up_to_date(bench: Bench, version: int) -> None:
    restore(version, bench.path)
    before = list(inspect.rows(bench.path))
    epoch = inspect.status(bench.path).epoch
    for opened in range(2):
        async with bench.open("a", "b") as buffer:
            stored = await buffer.peek("b", after=0)
            assert (buffer.epoch, buffer.last_committed) == (epoch, 6 + opened)
            assert {one.position: one.reading.values[0] for one in stored[:5]} == SPEEDS
            assert stored[0].reading.observed_at_ns == 5 * 10**9
            assert stored[3].reading.quality == {0: bad("timeout")}
            assert [one.position for one in await buffer.peek("a", after=0, limit=2)] == [5, 6]
            buffer.append(bench.reading(7.5))
            await buffer.flush()
        assert not list(bench.path.parent.glob("*.damaged*"))
        assert list(inspect.rows(bench.path))[:5] == before
        assert [row["reason"] for row in inspect.set_aside(bench.path)] == ["0x99 payload format invalid"]
    with closing(sqlite3.connect(bench.path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (max(versions()),)
        assert database.execute("SELECT count(*) FROM waiting").fetchone()[0] > 0

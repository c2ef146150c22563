"""Looking into the buffer while the gateway runs: the CLI's functions and the real `sqlite3` shell."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from drivers.model import bad
from gateway.buffer import BufferUnavailable, UnknownDestination, inspect, retries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.buffer.conftest import Bench


def ask(shell: str, database: Path, query: str) -> list[dict[str, object]]:
    command = [shell, "-json", str(database), query]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    rows: list[dict[str, object]] = json.loads(answer.stdout)
    return rows


async def test_an_operator_reads_the_waiting_view_in_the_sqlite3_shell(bench: Bench) -> None:
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("the sqlite3 shell is not installed")
    async with bench.open() as buffer:
        buffer.append(bench.reading(1.5, True, "ä", 7))
        buffer.append(bench.reading(2.5))
        buffer.append(bench.reading(3.5, False, None, 8, quality={2: bad("timeout")}))
        await buffer.flush()
        query = "SELECT position, device, observed_at, point, value, quality FROM waiting"
        shown = ask(shell, bench.path, query)
    when = "2027-01-15T08:00:00.000Z"
    assert [tuple(row.values()) for row in shown] == [
        (1, "infeed", when, "speed", 1.5, "good"),
        (1, "infeed", when, "running", 1, "good"),
        (1, "infeed", when, "text", "ä", "good"),
        (1, "infeed", when, "count", 7, "good"),
        (2, "infeed", when, "speed", 2.5, "good"),
        (3, "infeed", when, "speed", 3.5, "good"),
        (3, "infeed", when, "running", 0, "good"),
        (3, "infeed", when, "text", None, "bad:timeout"),
        (3, "infeed", when, "count", 8, "good"),
    ]


async def test_status_of_an_open_buffer(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        for number in range(6):
            buffer.append(bench.reading(number, age_s=60 - number))
        await buffer.flush()
        buffer.acknowledge("a", [1, 2, 3])
        await buffer.set_aside("b", 1, "0x99")
        for number in range(4):
            buffer.append(bench.reading(number))
        await buffer.flush()
        status = inspect.status(bench.path)
        assert status.epoch == buffer.epoch
    assert (status.readings, status.set_aside, status.dropped) == (9, {"b": 1}, ())
    assert status.backlog == {"a": 7, "b": 9}
    assert status.oldest_ns == bench.now_ns - 59_000_000_000
    assert status.newest_ns == bench.now_ns
    assert status.bytes > 4096


async def test_status_of_an_empty_buffer(bench: Bench) -> None:
    async with bench.open():
        status = inspect.status(bench.path)
    assert (status.readings, status.oldest_ns, status.newest_ns, status.backlog) == (0, None, None, {"broker": 0})


async def test_rows_have_the_shape_of_the_messages(bench: Bench) -> None:
    async with bench.open("a", "b") as buffer:
        buffer.append(bench.reading(1.5, True))
        buffer.append(bench.reading(2.5, quality={3: bad("timeout")}))
        buffer.append(bench.reading(3.5))
        await buffer.flush()
        buffer.acknowledge("a", [1])
        await buffer.flush()
        every = list(inspect.rows(bench.path))
        assert every[1] == {
            "id": f"{buffer.epoch}-2",
            "ts_ms": bench.now_ns // 1_000_000,
            "device": "infeed",
            "values": {"speed": 2.5},
            "quality": {"count": "bad:timeout"},
        }
    assert [row["values"] for row in every] == [{"speed": 1.5, "running": True}, {"speed": 2.5}, {"speed": 3.5}]
    assert [row["values"] for row in inspect.rows(bench.path, destination="a")] == [{"speed": 2.5}, {"speed": 3.5}]
    assert [row["values"] for row in inspect.rows(bench.path, last=1)] == [{"speed": 3.5}]
    assert list(inspect.rows(bench.path, destination="a", last=9)) == every[1:]


async def test_rows_reach_beyond_one_chunk(bench: Bench) -> None:
    async with bench.open() as buffer:
        for number in range(1234):
            buffer.append(bench.reading(number))
        await buffer.flush()
        assert [row["values"] for row in inspect.rows(bench.path)] == [{"speed": number} for number in range(1234)]


async def test_what_was_set_aside_is_shown_with_its_reason(bench: Bench) -> None:
    async with bench.open() as buffer:
        buffer.append(bench.reading(1.5))
        await buffer.flush()
        await buffer.set_aside("broker", 1, "0x99 payload format invalid")
        (row,) = inspect.set_aside(bench.path)
        assert row == {
            "id": f"{buffer.epoch}-1",
            "ts_ms": bench.now_ns // 1_000_000,
            "device": "infeed",
            "values": {"speed": 1.5},
            "quality": {},
            "destination": "broker",
            "reason": "0x99 payload format invalid",
            "set_aside_ms": bench.now_ns // 1_000_000,
        }


async def test_a_destination_that_is_not_known_is_named_with_those_that_are(bench: Bench) -> None:
    async with bench.open("a", "b"):
        pass
    with pytest.raises(UnknownDestination, match='no destination "c"; it knows a, b'):
        list(inspect.rows(bench.path, destination="c"))


def test_a_missing_buffer_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BufferUnavailable, match="there is no buffer at"):
        inspect.status(tmp_path / "none.db")


@pytest.mark.parametrize("look", [inspect.status, lambda path: retries.request(path, ["a"], since_ns=0)])
def test_an_empty_file_is_no_buffer_yet_and_a_directory_is_none(tmp_path: Path, look: Callable[[Path], object]) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(BufferUnavailable, match=r"there is no buffer at .*; the first `run` makes it"):
        look(tmp_path / "empty.db")
    with pytest.raises(BufferUnavailable, match=r"cannot read the buffer .*: Is a directory; change buffer.path"):
        look(tmp_path)


def test_a_file_that_is_no_database_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello" * 1000)
    with pytest.raises(BufferUnavailable, match="file is not a database"):
        inspect.status(tmp_path / "text.db")

"""The power is cut at every point of a run, and the disk holds what it had been told to keep, and any of the rest.

The run is that of a real process whose system calls are recorded (`disk.c`). After each sync the cut is tried with
none of what had not been synced, and after everything else with all of it and with any sectors of it.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.mark import mark_of
from gateway.buffer.opening import prepare
from gateway.buffer.standing import Opened
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability, Start
from tests.buffer.recorded_disk import Event, RecordedDisk, Unsynced, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHILD = """
import asyncio, os, sys, time
from pathlib import Path
from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.config import BufferSettings, Durability
from gateway.health import BufferHealth

async def main(path, commits, durability):
    said = os.open(path.with_name("said"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    settings = BufferSettings(path=path, min_free_disk=0, max_bytes=2 * 2**20, durability=Durability(durability))
    group = PointGroup("device", 1.0, (Point("number"), Point("text")))
    for session in range(2):
        async with Buffer.open(settings, destinations=["broker"], health=BufferHealth()) as buffer:
            os.write(said, f"opened {buffer.last_committed}\\n".encode())
            for number in range(commits):
                for _ in range(number % 3 + 1):
                    buffer.append(Reading(group, time.time_ns(), (None, "x" * 900)))
                os.write(said, f"committed {await buffer.committed(buffer.last_committed)}\\n".encode())
                if number % 4 == 3:
                    found = [one.position for one in await buffer.peek("broker", after=0, limit=9)]
                    os.write(said, f"acknowledged {' '.join(map(str, found))}\\n".encode())
                    buffer.acknowledge("broker", found)
                    await buffer.set_aside("broker", found[-1] + 1, "refused")
                    await buffer.flush()
            if session:
                os._exit(0)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""


def record(
    disk_library: Path, folder: Path, *, commits: int, durability: Durability = Durability.POWER_LOSS
) -> Iterator[Event]:
    """What a run does to the disk. Its buffer is `folder`/buffer.db."""
    log = folder.with_name("record")
    environment = os.environ | {"LD_PRELOAD": str(disk_library), "DISK_DIRECTORY": str(folder), "DISK_RECORD": str(log)}
    command = [sys.executable, "-c", _CHILD, str(folder / "buffer.db"), str(commits), durability.value]
    subprocess.run(command, env=environment, check=True)
    return read_record(log)


@dataclass
class Said:
    """What the process had told the world before the cut."""

    committed: int = 0
    handled: set[int] = field(default_factory=set)

    def hear(self, event: Event) -> None:
        word, *numbers = event.data.decode().split()
        if word == "acknowledged":
            self.handled.update(map(int, numbers))
        else:
            self.committed = int(numbers[0])


def opened_after(cut: Path, durability: Durability) -> Opened:
    """Open what is left, in another run of the machine."""
    settings = BufferSettings(path=cut / "buffer.db", min_free_disk=0, durability=durability)
    with mark_of(settings.path) as marks:
        return prepare(settings, destinations={"broker": Start.NOW}, marks=marks, clock=Clock(boot_id="another"))


def rows(cut: Path) -> set[int]:
    with closing(sqlite3.connect(cut / "buffer.db")) as database:
        found = database.execute("SELECT id, body, quality FROM reading").fetchall()
        aside = database.execute("SELECT position, body, quality FROM set_aside").fetchall()
    assert {tuple(content) for _, *content in found + aside} <= {(f'[null,"{"x" * 900}"]', None)}
    return {position for position, *_ in found + aside}


@dataclass
class Cut:
    said: Said
    opened: Opened
    rows: set[int]

    @property
    def missing(self) -> set[int]:
        """Committed, not handled, and not there any more."""
        return set(range(1, self.said.committed + 1)) - self.said.handled - self.rows


def cuts(events: Iterable[Event], disk: RecordedDisk, place: Path, durability: Durability) -> Iterator[Cut]:
    """Open what is left after each event, as far as it can make a difference."""
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  shown when the test fails
    draw = random.Random(seed)
    said = Said()
    for event in events:
        if event.name.endswith("-shm"):
            continue
        disk.happens(event)
        if event.name == "said":
            if event.kind == "write":
                said.hear(event)
            continue
        kinds = [Unsynced.GONE] if event.kind == "sync" else [Unsynced.THERE, Unsynced.ANY]
        if event.kind == "rename":
            kinds += [Unsynced.ANY] * 10  # few of them make all the difference
        for unsynced in kinds:
            disk.cut(place, unsynced, draw)
            opened = opened_after(place, durability)
            yield Cut(said, opened, rows(place))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of databases are opened in it."""
    from pathlib import Path

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_what_was_committed_survives_a_power_cut_at_any_point(disk_library: Path, folder: Path, place: Path) -> None:
    events = record(disk_library, folder, commits=9, durability=Durability.POWER_LOSS)
    for cut in cuts(events, RecordedDisk(), place, Durability.POWER_LOSS):
        assert not cut.missing
        assert not cut.opened.episodes
        assert cut.opened.mark.last >= cut.said.committed
        assert max(cut.rows, default=0) <= cut.opened.mark.last
    assert cut.said.committed > 30


def test_the_entry_of_a_new_database_is_synced_before_the_first_commit(disk_library: Path, folder: Path) -> None:
    events = list(record(disk_library, folder, commits=1))
    told = next(index for index, event in enumerate(events) if event.data.startswith(b"committed"))
    happened = [(event.kind, event.name) for event in events[:told]]
    log = max(index for index, one in enumerate(happened) if one == ("create", "buffer.db-wal"))
    assert log > happened.index(("create", "buffer.db"))
    assert ("sync", ".") in happened[log:]


def test_with_process_crash_a_power_cut_takes_readings_but_no_position_is_used_twice(
    disk_library: Path, folder: Path, place: Path
) -> None:
    """Also the proof that the cuts cut."""
    missing = 0
    events = record(disk_library, folder, commits=5, durability=Durability.PROCESS_CRASH)
    for cut in cuts(events, RecordedDisk(), place, Durability.PROCESS_CRASH):
        missing += len(cut.missing)
        assert cut.opened.mark.last >= cut.said.committed
        assert max(cut.rows, default=0) <= cut.opened.mark.last
    assert missing


def test_a_power_cut_while_a_damaged_database_is_replaced_loses_nothing_more(
    disk_library: Path, folder: Path, place: Path
) -> None:
    for _ in record(disk_library, folder, commits=9):
        pass
    with (folder / "buffer.db").open("r+b") as file:
        file.seek(20 * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    disk = RecordedDisk.holding(folder)
    events = takewhile(lambda event: event.name != "said", record(disk_library, folder, commits=1))
    found = [cut.rows for cut in cuts(events, disk, place, Durability.POWER_LOSS)]
    assert all(one == found[-1] for one in found)
    assert 0 < len(found[-1]) < 30

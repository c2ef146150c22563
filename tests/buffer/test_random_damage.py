"""Whatever happens to the files while the gateway is down: it starts, invents nothing, and counts what is gone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.buffer.bounds import PAGE_BYTES
from gateway.config import BufferSettings
from gateway.health import BufferHealth

GROUP = PointGroup("infeed", 1.0, (Point("number"), Point("text")))
NOW_NS = 1_800_000_000_000_000_000
COMMITTED = 240
ACKNOWLEDGED = 40
FILES = ("", "-wal", ".mark")

Damage = Callable[[bytearray, int], None]
"""Spoils the content of a file somewhere; the number says where."""


def reading(number: int) -> Reading:
    return Reading(GROUP, NOW_NS + number, (number, "x" * (number % 7 * 40)), {})


def flip_bit(content: bytearray, where: int) -> None:
    if content:
        content[where // 8 % len(content)] ^= 1 << where % 8


def zero_page(content: bytearray, where: int) -> None:
    start = where % (len(content) // PAGE_BYTES + 1) * PAGE_BYTES
    content[start : start + PAGE_BYTES] = bytes(len(content[start : start + PAGE_BYTES]))


def mix_pages(content: bytearray, where: int) -> None:
    """A page is found in the place of another."""
    pages = len(content) // PAGE_BYTES
    if pages:
        start, other = where % pages * PAGE_BYTES, where // pages % pages * PAGE_BYTES
        content[start : start + PAGE_BYTES] = content[other : other + PAGE_BYTES]


def overwrite(content: bytearray, where: int) -> None:
    start = where % (len(content) + 1)
    content[start : start + 16] = b"\xff\x00{[\"1,\x7f'" + bytes(6)


def cut(content: bytearray, where: int) -> None:
    del content[where % (len(content) + 1) :]


@contextmanager
def directory() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Buffer, BufferHealth]]:
    health = BufferHealth()
    chosen = BufferSettings(path=path, min_free_disk=0)
    async with Buffer.open(chosen, destinations=["broker"], health=health) as buffer:
        yield buffer, health


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """What a gateway has left that was killed: half of it is in the log only."""

    async def run(path: Path) -> None:
        for first in (0, COMMITTED // 2):
            async with opened(path) as (buffer, _):
                for number in range(first + 1, first + COMMITTED // 2 + 1):
                    buffer.append(reading(number))
                await buffer.flush()
                if first:
                    await buffer.set_aside("broker", COMMITTED, "refused")
                    buffer.acknowledge("broker", range(1, ACKNOWLEDGED + 1))
                    await buffer.flush()
                    for suffix in FILES:
                        shutil.copy(f"{path}{suffix}", path.parent / f"image{suffix}")

    with directory() as folder:
        asyncio.run(run(folder / "buffer.db"))
        yield folder / "image"


@dataclass
class Found:
    numbers: dict[int, tuple[object, ...]]
    """Values by position, of what waits."""
    damaged: int
    epoch: str
    last: int


async def open_and_go_on(path: Path) -> Found:
    async with opened(path) as (buffer, health):
        last = buffer.last_committed
        buffer.append(reading(last + 1))
        await buffer.flush()
        assert buffer.last_committed == last + 1
        stored = await buffer.peek("broker", after=0, limit=10**6)
        async with asyncio.timeout(5):
            while len(stored) != buffer.backlog("broker") or not health.writable:  # it is being repaired
                await asyncio.sleep(0.01)
                stored = await buffer.peek("broker", after=0, limit=10**6)
        assert stored[-1].position == last + 1
        values = {one.position: one.reading.values for one in stored[:-1]}
        return Found(values, health.dropped["damaged"], buffer.epoch, last)


damages = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.sampled_from([flip_bit, zero_page, mix_pages, overwrite, cut, None]),
        st.integers(0, 2**20),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damages=damages)
@example(damages=[("", mix_pages, 61165), ("-wal", None, 0)])
@example(damages=[("", flip_bit, 11694), ("", flip_bit, 550398), ("-wal", None, 0)])  # inside a text
@example(damages=[("", None, 0)])
@example(damages=[("-wal", None, 0)])
@example(damages=[("", None, 0), ("-wal", None, 0)])
@example(damages=[("", flip_bit, 68 * 8)])  # the application id
@example(damages=[("", flip_bit, 18 * 8 + 2)])  # the version of the file format
@example(damages=[("", flip_bit, 63 * 8)])  # the version of the schema
def test_whatever_happens_to_the_files(image: Path, damages: list[tuple[str, Damage | None, int]]) -> None:
    with directory() as folder:
        contents = {suffix: bytearray(image.with_name(f"image{suffix}").read_bytes()) for suffix in FILES}
        for suffix, damage, where in damages:
            if damage is None:
                contents.pop(suffix, None)
            elif suffix in contents:
                damage(contents[suffix], where)
        for suffix, content in contents.items():
            (folder / f"buffer.db{suffix}").write_bytes(content)
        found = asyncio.run(open_and_go_on(folder / "buffer.db"))
    for position, values in found.numbers.items():
        assert values == reading(position).values
    if contents.get(".mark") == image.with_name("image.mark").read_bytes():
        waiting = set(range(ACKNOWLEDGED + 1, COMMITTED))
        assert len(waiting - found.numbers.keys()) <= found.damaged <= COMMITTED
        assert found.last == COMMITTED

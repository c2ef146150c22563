"""Groups, readings and open buffers for the tests of the buffer. Real databases in real directories."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from drivers.model import Point, PointGroup, Quality, Reading, Value
from gateway.buffer import Buffer
from gateway.clock import Clock
from gateway.config import BufferSettings, Start
from gateway.health import BufferHealth

Until = Callable[[Callable[[], object]], Awaitable[None]]
"""`await until(condition)`"""

NOW_NS = 1_800_000_000_000_000_000
UP_NS = 100 * 86_400_000_000_000
"""How long the machine has been running then."""


@dataclass(slots=True)
class Bench:
    """A buffer in a directory of its own, opened as often as a test likes.

    `now_ns` is its clock: time passes when it grows, and is only set when `step` is called. `boot` begins anew with
    `reboot`; `synchronised` is what the kernel says of it.
    """

    settings: BufferSettings
    group: PointGroup
    health: BufferHealth = field(default_factory=BufferHealth)
    now_ns: int = NOW_NS
    started_ns: int = NOW_NS - UP_NS
    """What the wall clock would have said when the machine started."""
    boot: int = 1
    synchronised: bool = False

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.now_ns += int(seconds * 1e9)
        self.started_ns += int(seconds * 1e9)

    def reboot(self, *, wall_ns: int) -> None:
        """The machine has just started, and its clock says so much."""
        self.boot += 1
        self.now_ns = self.started_ns = wall_ns

    @property
    def clock(self) -> Clock:
        return Clock(
            wall_ns=lambda: self.now_ns,
            boot_ns=lambda: self.now_ns - self.started_ns,
            is_synchronised=lambda: self.synchronised,
            boot_id=f"boot {self.boot}",
        )

    @property
    def path(self) -> Path:
        return self.settings.path

    def open(
        self, *destinations: str, starts: Mapping[str, Start] = MappingProxyType({}), **settings: Any
    ) -> AbstractAsyncContextManager[Buffer]:
        """Open it for `destinations` (`broker` when there are none) with changed settings. Health begins anew."""
        self.settings = self.settings.model_copy(update=settings)
        self.health = BufferHealth()
        return Buffer.open(
            self.settings,
            destinations=destinations or ("broker",),
            starts=starts,
            health=self.health,
            clock=self.clock,
        )

    def reading(self, *values: Value, age_s: float = 0, quality: dict[int, Quality] | None = None) -> Reading:
        """A reading of the group; missing values are None."""
        padded = values + (None,) * (len(self.group.points) - len(values))
        return Reading(self.group, self.now_ns - int(age_s * 1e9), padded, quality or {})

    def fat(self, number: int, *, age_s: float = 0) -> Reading:
        """A reading of about 4 kB."""
        return self.reading(float(number), True, "x" * 4000, age_s=age_s)


@pytest.fixture
def group() -> PointGroup:
    return PointGroup("infeed", 1.0, (Point("speed", "m/s"), Point("running"), Point("text"), Point("count")))


@pytest.fixture
def bench(tmp_path: Path, group: PointGroup) -> Bench:
    return Bench(BufferSettings(path=tmp_path / "buffer.db", min_free_disk=0), group)


@pytest.fixture
def until() -> Until:
    """Poll until a condition holds; fail after a deadline."""

    async def wait(condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < deadline_s, "the condition did not come true in time"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`disk.c`, for LD_PRELOAD."""
    if shutil.which("gcc") is None:
        pytest.fail("gcc is missing: apt-get install gcc", pytrace=False)
    built = tmp_path_factory.mktemp("disk") / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", built, source], check=True)
    return built


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB. Needs root (mount); skipped otherwise."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs of its own needs root")
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield where
    subprocess.run(["umount", str(where)], check=True)

"""A model of the buffer, a plain list, and the real one beside it: what `test_model` compares."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from drivers.model import Point, PointGroup
from drivers.settings import Priority
from gateway.buffer import Buffer
from gateway.buffer.milestones import decode_milestones
from gateway.buffer.schema import connection, migrate
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability
from gateway.health import BufferHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

MEMORY = Path("/dev/shm")
"""A disk that syncs at once, so that there is time for more steps."""

DESTINATIONS = ("a", "b", "c")
START_NS = 1_800_000_000_000_000_000
GROUP = PointGroup("device", 1.0, (Point("number"), Point("text")))
EVENTS = PointGroup("portal", 0.0, GROUP.points, events=True)
SMALL_BYTES = 1_000_000
SIZES = (0, 500, 4000)
"""Lengths of the text in a reading."""
INHERITED = 20
"""Readings in a database of an older version."""


@dataclass
class Model:
    """What should be true."""

    numbers: dict[int, int] = field(default_factory=dict)
    """position → the number that was appended."""
    taken_ns: dict[int, int] = field(default_factory=dict)
    held_since_ns: dict[int, int] = field(default_factory=dict)
    """As far as a crash has left it known."""
    priority: dict[int, Priority] = field(default_factory=dict)
    events: set[int] = field(default_factory=set)
    waiting: dict[str, set[int]] = field(default_factory=lambda: {"a": set(), "b": set()})
    durable: dict[str, set[int]] = field(default_factory=lambda: {"a": set(), "b": set()})
    """`waiting` as it was when everything was last known to be durable."""
    set_aside: set[tuple[str, int]] = field(default_factory=set)

    @property
    def held(self) -> set[int]:
        return set().union(*self.waiting.values())

    def name(self, place: int) -> str:
        return sorted(self.waiting)[place % len(self.waiting)]

    def append(self, position: int, number: int, taken_ns: int, priority: Priority, *, event: bool = False) -> None:
        """In place of what was there when the buffer crashed before it was committed."""
        self.numbers[position] = number
        self.taken_ns[position] = self.held_since_ns[position] = taken_ns
        self.priority[position] = priority
        self.events.discard(position)
        if event:
            self.events.add(position)
        for waiting in self.waiting.values():
            waiting.add(position)


class Beside(RuleBasedStateMachine):
    """A real buffer and its model, and what the rules do with both."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="buffer-model-", dir=MEMORY if MEMORY.is_dir() else None))
        self.path = self.directory / "0.db"
        self.model = Model()
        self.appended = 0
        self.last = 0
        self.now_ns = START_NS
        self.dropped_so_far = 0
        self.crashes = 0
        self.durability = Durability.PROCESS_CRASH

    # the buffer lives in one task, as in the gateway; rules talk to it from others

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(10):
                return await work

        return self.loop.run_until_complete(bounded())

    def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():  # noqa: ASYNC110  there is no event for what another thread has done to a file
                await asyncio.sleep(0.01)

        self.do(wait())

    def open(self, **changed: Any) -> None:
        self.health = BufferHealth()
        chosen = BufferSettings(path=self.path, min_free_disk=0, max_age=1000.0, durability=self.durability)
        opened: asyncio.Future[Buffer] = self.loop.create_future()
        self.leave = asyncio.Event()

        async def live() -> None:
            async with Buffer.open(
                chosen.model_copy(update=changed),
                destinations=sorted(self.model.waiting),
                health=self.health,
                clock=Clock(wall_ns=lambda: self.now_ns, boot_ns=lambda: self.now_ns - START_NS),
            ) as buffer:
                opened.set_result(buffer)
                await self.leave.wait()

        self.task = self.loop.create_task(live(), name="buffer")
        self.buffer: Buffer = self.do(asyncio.wait_for(opened, 20))

    def close(self) -> None:
        self.leave.set()
        self.do(asyncio.wait_for(self.task, 20))
        self.settle()

    def settle(self) -> None:
        self.model.durable = {name: set(positions) for name, positions in self.model.waiting.items()}

    def lose_ages(self, path: Path) -> None:
        """After a crash, readings whose commit was not written down count as new."""
        with connection(path, read_only=True) as database:
            rows = database.execute("SELECT value FROM state WHERE key = 'latest'").fetchall()
        known = max((latest.position for (text,) in rows for latest in decode_milestones(text)), default=0)
        for position in self.model.held_since_ns:
            if position > known:
                self.model.held_since_ns[position] = self.now_ns

    def peek(self, destination: str, **bounds: int) -> list[int]:
        stored = self.do(self.buffer.peek(destination, **({"after": 0, "limit": 10**6} | bounds)))
        for one in stored:
            assert one.reading.values[0] == self.model.numbers[one.position]
            assert one.reading.observed_at_ns == self.model.taken_ns[one.position]
        return [one.position for one in stored]

    def left(self) -> set[int]:
        """What somebody still finds."""
        return set().union(*(self.peek(name) for name in self.model.waiting))

    def inherit(self, version: int) -> None:
        """A database that an older gateway has left, with readings for both, some of which one has already."""
        migrate(self.path, to=version)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("INSERT INTO state VALUES ('epoch', 'inherited'), ('held', ?)", (f"20 {INHERITED}",))
            points = '[{"name":"number","unit":""},{"name":"text","unit":""}]'
            group = (1, "device", 1.0, "normal", points)
            database.execute(
                "INSERT INTO point_group (id, device, period_s, priority, points) VALUES (?, ?, ?, ?, ?)", group
            )
            for position in range(1, INHERITED + 1):
                self.appended, self.last, self.now_ns = position, position, self.now_ns + 1000
                self.model.append(position, position, self.now_ns, Priority.NORMAL)
                database.execute(
                    "INSERT INTO reading (id, group_id, observed_at_ns, body) VALUES (?, 1, ?, ?)",
                    (position, self.now_ns, f'[{position},""]'),
                )
            for name, pending, waiting in (("a", "[[1,4],[9,20]]", 16), ("b", "[[1,20]]", 20)):
                place = (name, pending, waiting)
                database.execute(
                    "INSERT INTO destination (name, through, pending, waiting) VALUES (?, 20, ?, ?)", place
                )
        self.model.waiting["a"] -= set(range(5, 9))

    def image(self) -> tuple[bytes, bytes]:
        """Database and log at one instant. The writer's thread may be in the middle of a statement, and a checkpoint
        between two reads would leave something that no crash can: read until nothing has changed meanwhile."""
        while True:
            once, again = (
                (self.path.read_bytes(), self.path.with_name(f"{self.path.name}-wal").read_bytes()) for _ in range(2)
            )
            if once == again:
                return once

    def teardown(self) -> None:
        if hasattr(self, "task") and not self.task.done():
            self.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)

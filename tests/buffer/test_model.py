"""The buffer against a plain list: any sequence of appending, reading, acknowledging, setting aside, dropping,
restarting and crashing must leave both saying the same."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drivers.model import Point, PointGroup, Reading
from drivers.settings import Priority
from gateway.buffer import Buffer, retries
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability
from gateway.health import BufferHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

DESTINATIONS = ("a", "b")
START_NS = 1_800_000_000_000_000_000
GROUP = PointGroup("device", 1.0, (Point("number"), Point("text")))
SMALL_BYTES = 1_000_000


@dataclass
class Model:
    """What should be true."""

    numbers: dict[int, int] = field(default_factory=dict)
    """position → the number that was appended."""
    taken_ns: dict[int, int] = field(default_factory=dict)
    priority: dict[int, Priority] = field(default_factory=dict)
    waiting: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in DESTINATIONS})
    durable: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in DESTINATIONS})
    """`waiting` as it was when everything was last known to be durable."""
    set_aside: set[tuple[str, int]] = field(default_factory=set)

    @property
    def held(self) -> set[int]:
        return set().union(*self.waiting.values())


class BufferMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="buffer-model-"))
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
                destinations=DESTINATIONS,
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

    def peek(self, destination: str, **bounds: int) -> list[int]:
        stored = self.do(self.buffer.peek(destination, **({"after": 0, "limit": 10**6} | bounds)))
        for one in stored:
            assert one.reading.values[0] == self.model.numbers[one.position]
            assert one.reading.observed_at_ns == self.model.taken_ns[one.position]
        return [one.position for one in stored]

    @initialize(durability=st.sampled_from(list(Durability)))
    def start(self, durability: Durability) -> None:
        self.durability = durability
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "task") and not self.task.done():
            self.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)

    @rule(
        count=st.integers(1, 40),
        fat=st.booleans(),
        priority=st.sampled_from(list(Priority)),
        flush=st.booleans(),
    )
    def append(self, count: int, fat: bool, priority: Priority, flush: bool) -> None:
        for _ in range(count):
            self.appended += 1
            self.last += 1
            self.now_ns += 1000
            text = "x" * 4000 if fat else ""
            self.buffer.append(Reading(GROUP, self.now_ns, (self.appended, text)), priority=priority)
            self.model.numbers[self.last] = self.appended
            self.model.taken_ns[self.last] = self.now_ns
            self.model.priority[self.last] = priority
            for waiting in self.model.waiting.values():
                waiting.add(self.last)
        if flush:
            self.flush()

    @rule()
    def flush(self) -> None:
        self.do(self.buffer.flush())
        assert self.buffer.last_committed == self.last
        self.settle()

    @rule(
        destination=st.sampled_from(DESTINATIONS),
        after=st.integers(0, 300),
        span=st.none() | st.integers(0, 100),
        limit=st.integers(1, 60),
    )
    def look(self, destination: str, after: int, span: int | None, limit: int) -> None:
        self.flush()
        bounds = {"after": after, "limit": limit} | ({} if span is None else {"until": after + span})
        until = self.last if span is None else after + span
        wanted = sorted(one for one in self.model.waiting[destination] if after < one <= until)
        assert self.peek(destination, **bounds) == wanted[:limit]

    # How much was dropped depends on timing: nothing is drawn from what is there, picks are drawn and mapped onto it.

    @rule(
        destination=st.sampled_from(DESTINATIONS), picks=st.lists(st.integers(0, 999)), share=st.sampled_from([0, 1, 2])
    )
    def acknowledge(self, destination: str, picks: list[int], share: int) -> None:
        self.flush()
        peeked = self.peek(destination)
        some = [peeked[pick % len(peeked)] for pick in picks] if peeked else []
        chosen = [*some, *peeked[: len(peeked) * share // 2], 10**9, 0]

        async def acknowledge() -> None:
            self.buffer.acknowledge(destination, chosen)

        self.do(acknowledge())
        self.model.waiting[destination] -= set(chosen)

    @rule(destination=st.sampled_from(DESTINATIONS), pick=st.integers(0, 999))
    def set_aside(self, destination: str, pick: int) -> None:
        self.flush()
        peeked = self.peek(destination)
        if peeked:
            position = peeked[pick % len(peeked)]
            self.do(self.buffer.set_aside(destination, position, "refused"))
            self.model.waiting[destination].discard(position)
            self.model.set_aside.add((destination, position))
            self.settle()

    @rule(destination=st.sampled_from(DESTINATIONS))
    def send_again(self, destination: str) -> None:
        """What was set aside, as far as it is not older than the buffer keeps; asked for beside a running buffer."""
        self.flush()
        limit_ns = self.now_ns - 1000 * 10**9
        refused = {position for name, position in self.model.set_aside if name == destination}
        back = {position for position in refused if self.model.taken_ns[position] >= limit_ns}
        (asked,) = self.do(asyncio.to_thread(retries.request, self.path, [destination], since_ns=limit_ns))
        assert (asked.readings, asked.too_old) == (len(back), len(refused - back))
        self.until(lambda: retries.is_taken(self.path))
        self.model.waiting[destination] |= back
        self.model.set_aside -= {(destination, position) for position in back}
        self.settle()

    @rule()
    def restart(self) -> None:
        self.close()
        self.open()
        assert self.buffer.last_committed == self.last

    @rule()
    def grow_old(self) -> None:
        """A pause, after which the oldest may be beyond `max_age`: those that were there two pauses ago."""
        self.close()
        self.now_ns += 400 * 10**9
        limit_ns = self.now_ns - 1000 * 10**9
        self.open()
        expired = {one for one in self.model.held if self.model.taken_ns[one] < limit_ns}
        self.until(lambda: self.health.dropped["max-age"] >= len(expired))
        assert self.health.dropped["max-age"] == len(expired)
        for waiting in self.model.waiting.values():
            waiting.difference_update(expired)
        self.flush()

    def append_fat(self, count: int) -> None:
        for _ in range(count // 3):
            for priority in (Priority.HIGH, Priority.LOW, Priority.NORMAL):
                self.append(count=1, fat=True, priority=priority, flush=False)
        self.do(self.buffer.flush())

    @rule(fat=st.sampled_from([0, 60, 150, 300]))
    def squeeze(self, fat: int) -> None:
        """A restart with little room: the lowest priorities go first, the oldest first within each."""
        self.append_fat(fat)
        self.close()
        before = self.model.held
        self.open(max_bytes=SMALL_BYTES)
        self.append(count=1, fat=False, priority=Priority.HIGH, flush=True)
        self.close()
        lost = self.health.dropped["max-bytes"]
        self.open()
        left = set(self.peek("a")) | set(self.peek("b"))
        gone = (before | {self.last}) - left
        assert len(gone) == lost
        if fat >= 150:
            assert gone
        for priority in Priority:
            victims = {one for one in gone if self.model.priority[one] is priority}
            kept = {one for one in left if self.model.priority[one] is priority}
            assert max(victims, default=0) < min(kept, default=10**9)
        ranks = [Priority.LOW, Priority.NORMAL, Priority.HIGH]
        if gone:
            highest_lost = max(ranks.index(self.model.priority[one]) for one in gone)
            assert all(ranks.index(self.model.priority[one]) >= highest_lost for one in left)
        for waiting in self.model.waiting.values():
            waiting.difference_update(gone)
        self.settle()

    @rule()
    def squeeze_in_flight(self) -> None:
        """Readings are dropped while they are being sent; their acknowledgements come all the same."""
        self.close()
        self.open(max_bytes=SMALL_BYTES)
        self.append_fat(60)
        in_flight = self.peek("a")
        self.append_fat(150)
        self.until(lambda: self.health.dropped["max-bytes"])

        async def compare_and_acknowledge() -> None:
            stored = await self.buffer.peek("a", after=0, limit=10**6)
            assert len(stored) == self.buffer.backlog("a")
            self.buffer.acknowledge("a", in_flight)

        self.do(compare_and_acknowledge())
        self.close()
        self.open()
        self.model.waiting["a"] -= set(in_flight)
        for name, waiting in self.model.waiting.items():
            left = set(self.peek(name))
            assert len(left) == self.buffer.backlog(name)
            assert left <= waiting
            self.model.waiting[name] = left
        self.settle()

    def image(self) -> tuple[bytes, bytes]:
        """Database and log at one instant. The writer's thread may be in the middle of a statement, and a checkpoint
        between two reads would leave something that no crash can: read until nothing has changed meanwhile."""
        while True:
            once, again = (
                (self.path.read_bytes(), self.path.with_name(f"{self.path.name}-wal").read_bytes()) for _ in range(2)
            )
            if once == again:
                return once

    @rule()
    def crash(self) -> None:
        """Go on from what the disk holds right now. Acknowledgements of the last moment may come again; what was
        reported committed may not be missing."""
        reported = self.buffer.last_committed
        self.crashes += 1
        copy = self.directory / f"{self.crashes}.db"
        for suffix, content in zip(("", "-wal"), self.image(), strict=True):
            Path(f"{copy}{suffix}").write_bytes(content)
        maybe = {name: set(waiting) for name, waiting in self.model.waiting.items()}
        certain = {name: set(waiting) for name, waiting in self.model.durable.items()}
        self.leave.set()
        self.do(asyncio.wait_for(self.task, 20))
        self.path = copy
        self.open()
        assert reported <= self.buffer.last_committed <= self.last
        self.last = self.buffer.last_committed
        self.appended = max((self.model.numbers[one] for one in self.model.numbers if one <= self.last), default=0)
        for name in DESTINATIONS:
            actual = set(self.peek(name))
            assert {one for one in maybe[name] if one <= self.last} <= actual <= certain[name] | maybe[name]
            self.model.waiting[name] = actual
        self.settle()

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "buffer"):
            return
        committed = self.buffer.last_committed
        for name, waiting in self.model.waiting.items():
            assert self.buffer.backlog(name) == sum(1 for one in waiting if one <= committed)
        assert self.health.readings == len(self.model.held)

    @rule()
    def ask_the_database(self) -> None:
        self.flush()

        def facts() -> tuple[set[int], set[tuple[str, int]]]:
            with closing(sqlite3.connect(self.path)) as database:
                rows = {row[0] for row in database.execute("SELECT id FROM reading")}
                return rows, set(database.execute("SELECT destination, position FROM set_aside").fetchall())

        self.until(lambda: facts() == (self.model.held, self.model.set_aside))


BufferMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBuffer = BufferMachine.TestCase

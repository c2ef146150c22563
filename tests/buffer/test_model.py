"""The buffer against a plain list: any sequence of appending, reading, acknowledging, setting aside, dropping and
thinning, of destinations that come and go, of restarts and crashes must leave both saying the same, whatever version of
the database it began with."""

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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drivers.model import Point, PointGroup, Reading
from drivers.settings import Priority
from gateway.buffer import Buffer, retries
from gateway.buffer.schema import migrate, versions
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability, Start, WhenFull
from gateway.health import BufferHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

MEMORY = Path("/dev/shm")

DESTINATIONS = ("a", "b", "c")
START_NS = 1_800_000_000_000_000_000
GROUP = PointGroup("device", 1.0, (Point("number"), Point("text")))
EVENTS = PointGroup("portal", 0.0, GROUP.points, events=True)
SMALL_BYTES = 1_000_000
TEXTS = ("", "x" * 500, "x" * 4000)
INHERITED = 20
"""Readings in a database of an older version."""
PLACES = st.integers(0, 2)
"""Which of the destinations that there are."""


@dataclass
class Model:
    """What should be true."""

    numbers: dict[int, int] = field(default_factory=dict)
    """position → the number that was appended."""
    taken_ns: dict[int, int] = field(default_factory=dict)
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

    def append(self, position: int, number: int, taken_ns: int, priority: Priority) -> None:
        self.numbers[position] = number
        self.taken_ns[position] = taken_ns
        self.priority[position] = priority
        for waiting in self.waiting.values():
            waiting.add(position)


class BufferMachine(RuleBasedStateMachine):
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

    def peek(self, destination: str, **bounds: int) -> list[int]:
        stored = self.do(self.buffer.peek(destination, **({"after": 0, "limit": 10**6} | bounds)))
        for one in stored:
            assert one.reading.values[0] == self.model.numbers[one.position]
            assert one.reading.observed_at_ns == self.model.taken_ns[one.position]
        return [one.position for one in stored]

    def left(self) -> set[int]:
        """What somebody still finds."""
        return set().union(*(self.peek(name) for name in self.model.waiting))

    @initialize(durability=st.sampled_from(list(Durability)), version=st.sampled_from([None, *versions()]))
    def start(self, durability: Durability, version: int | None) -> None:
        self.durability = durability
        if version is not None:
            self.inherit(version)
        self.open()
        self.flush()

    def inherit(self, version: int) -> None:
        """A database that an older gateway has left, with readings for both, some of which one has already."""
        migrate(self.path, to=version)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("INSERT INTO state VALUES ('epoch', 'inherited'), ('held', ?)", (f"20 {INHERITED}",))
            points = '[{"name":"number","unit":""},{"name":"text","unit":""}]'
            database.execute("INSERT INTO point_group VALUES (1, 'device', 1.0, 'normal', ?)", (points,))
            for position in range(1, INHERITED + 1):
                self.appended, self.last, self.now_ns = position, position, self.now_ns + 1000
                self.model.append(position, position, self.now_ns, Priority.NORMAL)
                database.execute(
                    "INSERT INTO reading VALUES (?, 1, ?, ?, NULL)", (position, self.now_ns, f'[{position},""]')
                )
            for name, pending, waiting in (("a", "[[1,4],[9,20]]", 16), ("b", "[[1,20]]", 20)):
                database.execute("INSERT INTO destination VALUES (?, 20, ?, ?)", (name, pending, waiting))
        self.model.waiting["a"] -= set(range(5, 9))

    def teardown(self) -> None:
        if hasattr(self, "task") and not self.task.done():
            self.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)

    @rule(
        count=st.integers(1, 40),
        text=st.sampled_from(TEXTS),
        priority=st.sampled_from(list(Priority)),
        event=st.booleans(),
        flush=st.booleans(),
    )
    def append(self, count: int, text: str, priority: Priority, event: bool, flush: bool) -> None:
        for _ in range(count):
            self.appended += 1
            self.last += 1
            self.now_ns += 1000
            group = EVENTS if event else GROUP
            self.buffer.append(Reading(group, self.now_ns, (self.appended, text)), priority=priority)
            self.model.append(self.last, self.appended, self.now_ns, priority)
            if event:
                self.model.events.add(self.last)
        if flush:
            self.flush()

    @rule()
    def flush(self) -> None:
        self.do(self.buffer.flush())
        assert self.buffer.last_committed == self.last
        self.settle()

    @rule(
        place=PLACES,
        after=st.integers(0, 300),
        span=st.none() | st.integers(0, 100),
        limit=st.integers(1, 60),
    )
    def look(self, place: int, after: int, span: int | None, limit: int) -> None:
        self.flush()
        destination = self.model.name(place)
        bounds = {"after": after, "limit": limit} | ({} if span is None else {"until": after + span})
        until = self.last if span is None else after + span
        wanted = sorted(one for one in self.model.waiting[destination] if after < one <= until)
        assert self.peek(destination, **bounds) == wanted[:limit]

    # How much was dropped depends on timing: nothing is drawn from what is there, picks are drawn and mapped onto it.

    @rule(place=PLACES, picks=st.lists(st.integers(0, 999)), share=st.sampled_from([0, 1, 2]))
    def acknowledge(self, place: int, picks: list[int], share: int) -> None:
        self.flush()
        destination = self.model.name(place)
        peeked = self.peek(destination)
        some = [peeked[pick % len(peeked)] for pick in picks] if peeked else []
        chosen = [*some, *peeked[: len(peeked) * share // 2], 10**9, 0]

        async def acknowledge() -> None:
            self.buffer.acknowledge(destination, chosen)

        self.do(acknowledge())
        self.model.waiting[destination] -= set(chosen)

    @rule(place=PLACES, pick=st.integers(0, 999))
    def set_aside(self, place: int, pick: int) -> None:
        self.flush()
        destination = self.model.name(place)
        peeked = self.peek(destination)
        if peeked:
            position = peeked[pick % len(peeked)]
            self.do(self.buffer.set_aside(destination, position, "refused"))
            self.model.waiting[destination].discard(position)
            self.model.set_aside.add((destination, position))
            self.settle()

    @rule(place=PLACES)
    def send_again(self, place: int) -> None:
        """What was set aside, as far as it is not older than the buffer keeps; asked for beside a running buffer."""
        self.flush()
        destination = self.model.name(place)
        limit_ns = self.now_ns - 1000 * 10**9
        refused = {position for name, position in self.model.set_aside if name == destination}
        back = {position for position in refused if self.model.taken_ns[position] >= limit_ns}
        (asked,) = self.do(asyncio.to_thread(retries.request, self.path, [destination], since_ns=limit_ns))
        assert (asked.readings, asked.too_old) == (len(back), len(refused - back))
        self.until(lambda: retries.is_taken(self.path))
        self.model.waiting[destination] |= back
        self.model.set_aside -= {(destination, position) for position in back}
        self.settle()

    @rule(name=st.sampled_from(DESTINATIONS), start=st.sampled_from(list(Start)))
    def attach(self, name: str, start: Start) -> None:
        self.flush()
        self.do(self.buffer.attach(name, start=start))
        held = self.model.held if start is Start.OLDEST else set()
        self.model.waiting.setdefault(name, held)
        self.settle()

    @precondition(lambda self: len(self.model.waiting) > 1)
    @rule(place=PLACES)
    def detach(self, place: int) -> None:
        """What only it was waiting for is lost, and counted."""
        self.flush()
        name = self.model.name(place)
        alone = self.model.waiting.pop(name) - self.model.held
        before = self.health.dropped["destination-removed"]

        async def detach() -> None:
            self.buffer.detach(name)

        self.do(detach())
        self.until(lambda: self.health.dropped["destination-removed"] == before + len(alone))
        self.flush()

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
                self.append(count=1, text=TEXTS[-1], priority=priority, event=False, flush=False)
        self.do(self.buffer.flush())

    @rule(fat=st.sampled_from([0, 60, 150, 300]))
    def squeeze(self, fat: int) -> None:
        """A restart with little room: the lowest priorities go first, the oldest first within each."""
        self.append_fat(fat)
        self.close()
        before = self.model.held
        self.open(max_bytes=SMALL_BYTES)
        self.append(count=1, text="", priority=Priority.HIGH, event=False, flush=True)
        self.close()
        lost = self.health.dropped["max-bytes"]
        self.open()
        left = self.left()
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

    @rule(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3), count=st.sampled_from([60, 300, 600]))
    def thin(self, texts: list[str], count: int) -> None:
        """A restart with little room, and with `thin`: events stay, and so does the first of what is polled, until
        nothing is left to thin."""
        self.close()
        before = self.model.held
        self.open(max_bytes=SMALL_BYTES, when_full=WhenFull.THIN)
        first = self.last + 1
        for number in range(count):
            priority = (Priority.LOW, Priority.NORMAL, Priority.LOW)[number % 3]
            text = texts[number % len(texts)]
            self.append(count=1, text=text, priority=priority, event=number % 7 == 0, flush=number % 50 == 0)
        self.close()
        thinned, dropped = self.health.dropped["thinned"], self.health.dropped["max-bytes"]
        self.open()
        left = self.left()
        gone = (before | set(range(first, self.last + 1))) - left
        assert len(gone) == thinned + dropped
        if not dropped:
            assert not gone & self.model.events
            for priority in Priority:
                polled = {one for one in gone | left if self.model.priority[one] is priority} - self.model.events
                assert not polled or min(polled) in left
            assert not gone or max(gone) <= self.last - len(left) // 8
        for waiting in self.model.waiting.values():
            waiting.difference_update(gone)
        self.settle()

    @rule()
    def squeeze_in_flight(self) -> None:
        """Readings are dropped while they are being sent; their acknowledgements come all the same."""
        name = self.model.name(0)
        self.close()
        self.open(max_bytes=SMALL_BYTES)
        self.append_fat(60)
        in_flight = self.peek(name)
        self.append_fat(150)
        self.until(lambda: self.health.dropped["max-bytes"])

        async def compare_and_acknowledge() -> None:
            stored = await self.buffer.peek(name, after=0, limit=10**6)
            assert len(stored) == self.buffer.backlog(name)
            self.buffer.acknowledge(name, in_flight)

        self.do(compare_and_acknowledge())
        self.close()
        self.open()
        self.model.waiting[name] -= set(in_flight)
        for each, waiting in self.model.waiting.items():
            left = set(self.peek(each))
            assert len(left) == self.buffer.backlog(each)
            assert left <= waiting
            self.model.waiting[each] = left
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
        for name, waiting in maybe.items():
            actual = set(self.peek(name))
            assert {one for one in waiting if one <= self.last} <= actual <= certain[name] | waiting
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
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBuffer = BufferMachine.TestCase

"""The buffer against a plain list: any sequence of appending, reading, acknowledging, setting aside, dropping and
thinning, of destinations that come and go, of restarts and crashes must leave both saying the same, whatever version of
the database it began with."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from drivers.model import Reading
from drivers.settings import Priority
from gateway.buffer import retries
from gateway.buffer.schema import versions
from gateway.config import Durability, Start, WhenFull
from tests.buffer.model import DESTINATIONS, EVENTS, GROUP, SIZES, SMALL_BYTES, Beside

PLACES = st.integers(0, 2)
"""Which of the destinations that there are."""


class BufferMachine(Beside):
    @initialize(durability=st.sampled_from(list(Durability)), version=st.sampled_from([None, *versions()]))
    def start(self, durability: Durability, version: int | None) -> None:
        self.durability = durability
        if version is not None:
            self.inherit(version)
        self.open()
        self.flush()

    @rule(
        count=st.integers(1, 40),
        size=st.sampled_from(SIZES),
        priority=st.sampled_from(list(Priority)),
        event=st.booleans(),
        flush=st.booleans(),
    )
    def append(self, count: int, size: int, priority: Priority, event: bool, flush: bool) -> None:
        for _ in range(count):
            self.appended += 1
            self.last += 1
            self.now_ns += 1000
            group = EVENTS if event else GROUP
            self.buffer.append(Reading(group, self.now_ns, (self.appended, "x" * size)), priority=priority)
            self.model.append(self.last, self.appended, self.now_ns, priority, event=event)
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
        expired = {one for one in self.model.held if self.model.held_since_ns[one] < limit_ns}
        self.until(lambda: self.health.dropped["max-age"] >= len(expired))
        assert self.health.dropped["max-age"] == len(expired)
        for waiting in self.model.waiting.values():
            waiting.difference_update(expired)
        self.flush()

    def append_fat(self, count: int) -> None:
        for _ in range(count // 3):
            for priority in (Priority.HIGH, Priority.LOW, Priority.NORMAL):
                self.append(count=1, size=SIZES[-1], priority=priority, event=False, flush=False)
        self.do(self.buffer.flush())

    @rule(fat=st.sampled_from([0, 60, 150, 300]))
    def squeeze(self, fat: int) -> None:
        """A restart with little room: the lowest priorities go first, the oldest first within each."""
        self.append_fat(fat)
        self.close()
        before = self.model.held
        self.open(max_bytes=SMALL_BYTES)
        self.append(count=1, size=0, priority=Priority.HIGH, event=False, flush=True)
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

    @rule(sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=3), count=st.sampled_from([60, 300, 450]))
    def thin(self, sizes: list[int], count: int) -> None:
        """A restart with little room, and with `thin`: events stay, and so does the first of what is polled, until
        nothing is left to thin."""
        self.close()
        before = self.model.held
        self.open(max_bytes=SMALL_BYTES, when_full=WhenFull.THIN)
        first = self.last + 1
        for number in range(count):
            priority = (Priority.LOW, Priority.NORMAL, Priority.LOW)[number % 3]
            self.append(
                count=1,
                size=sizes[number % len(sizes)],
                priority=priority,
                event=number % 7 == 0,
                flush=number % 50 == 0,
            )
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
        self.lose_ages(copy)
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

"""Who waits for what, beside plain sets that say the same, step by step."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.buffer.backlogs import Backlog, Backlogs
from gateway.buffer.ranges import Ranges
from gateway.config import Start

NAMES = st.sampled_from(["a", "b", "c"])
PICKS = st.sets(st.integers(0, 30), min_size=1, max_size=4)


def chosen(candidates: Collection[int], picks: set[int]) -> list[int]:
    """As many of these as there are picks, or all."""
    ordered = sorted(candidates)
    return sorted({ordered[pick % len(ordered)] for pick in picks}) if ordered else []


class BacklogsMachine(RuleBasedStateMachine):
    """Does to backlogs what the buffer does to them, in any order.

    `rows` are those of the database, `waiting` who waits for which, `orphaned` what only those waited for that left,
    `handed_out` what destinations may still acknowledge, though it be dropped.
    """

    @initialize()
    def open(self) -> None:
        self.backlogs = Backlogs({name: Backlog(Ranges(), 0) for name in ("a", "b")}, held=0, done=Ranges())
        self.last = 0
        self.rows: set[int] = set()
        self.waiting: dict[str, set[int]] = {"a": set(), "b": set()}
        self.orphaned: set[int] = set()
        self.handed_out: dict[str, set[int]] = {"a": set(), "b": set()}
        self.set_aside: dict[str, set[int]] = {"a": set(), "b": set(), "c": set()}

    @rule(count=st.integers(1, 4))
    def commit(self, count: int) -> None:
        if not self.waiting:
            return
        new = set(range(self.last + 1, self.last + count + 1))
        self.backlogs.committed(self.last + 1, self.last + count)
        self.last += count
        self.rows |= new
        for waiting in self.waiting.values():
            waiting.update(new)

    @rule(name=NAMES, after=st.integers(0, 20))
    def peek(self, name: str, after: int) -> None:
        backlog = self.backlogs[name]
        for position in range(after + 1, self.last + 1):
            if position not in backlog.pending or position in self.backlogs.dropping:
                continue
            if position in self.rows:
                backlog.handed_out.add(position)
                self.handed_out[name].add(position)
            else:
                backlog.pending.discard(position)

    @rule(name=NAMES, picks=PICKS)
    def acknowledge(self, name: str, picks: set[int]) -> None:
        positions = chosen(self.handed_out.get(name, ()), picks)
        self.backlogs.acknowledge(name, positions)
        if name in self.waiting:
            self.waiting[name].difference_update(positions)
            self.handed_out[name].difference_update(positions)

    @rule(name=NAMES)
    def hand_back(self, name: str) -> None:
        if name in self.waiting:
            self.backlogs[name].handed_back()
            self.handed_out[name].clear()

    @rule(name=NAMES, picks=PICKS)
    def refuse(self, name: str, picks: set[int]) -> None:
        if name not in self.waiting:
            return
        positions = chosen(self.handed_out[name] & self.waiting[name], picks)
        self.backlogs.acknowledge(name, positions)
        self.waiting[name].difference_update(positions)
        self.handed_out[name].difference_update(positions)
        self.set_aside[name].update(positions)

    @rule(name=NAMES, picks=PICKS)
    def put_back(self, name: str, picks: set[int]) -> None:
        positions = chosen(self.set_aside[name], picks)
        waited = self._waited_for()
        self.backlogs.put_back(name, [(position, position in self.rows) for position in positions])
        self.set_aside[name].difference_update(positions)
        self.rows.update(positions)
        if name in self.waiting:
            self.waiting[name].update(positions)
            self.orphaned.difference_update(positions)
        else:
            self.orphaned.update(set(positions) - waited)

    @rule(picks=PICKS)
    def drop(self, picks: set[int]) -> None:
        positions = chosen(self.rows, picks)  # perhaps some that another has dropped
        lost = self.backlogs.drop(positions)
        for name, waiting in self.waiting.items():  # one of them may have left before, and joined again
            left_behind = self.orphaned if name in self.backlogs.orphaned_by else set()
            assert (waiting | left_behind) & set(positions) == set(lost.get(name, ()))
        self._lose(set(positions))

    @rule(most=st.integers(1, 20))
    def settle(self, most: int) -> None:
        self.rows -= self.backlogs.dropping
        self.backlogs.deleted(sorted(self.backlogs.dropping))
        for first, last in self.backlogs.done.head(most):
            self.rows.difference_update(range(first, last + 1))
            self.backlogs.done.remove(first, last)
        if self.rows:
            self.backlogs.nothing_before(min(self.rows))

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        if name not in self.waiting or len(self.waiting) == 1:
            return
        waiting = self.waiting.pop(name)
        del self.handed_out[name]
        assert self.backlogs.leave(name)[0] == len(waiting)
        self.orphaned |= waiting - self._waited_for()

    @rule(name=NAMES, start=st.sampled_from(Start))
    def join(self, name: str, start: Start) -> None:
        self.backlogs.join(name, start)
        if name not in self.waiting:
            self.waiting[name] = self._wanted() if start is Start.OLDEST else set()
            self.handed_out[name] = set()
            if start is Start.OLDEST:
                self.orphaned.clear()

    @rule(most=st.integers(1, 6))
    def lose_orphans(self, most: int) -> None:
        if self.backlogs.dropping:
            return
        spans = self.backlogs.orphaned.head(most)
        lost = {position for first, last in spans for position in range(first, last + 1)} & self.rows
        self.backlogs.lose_orphans(spans, len(lost))
        self.orphaned -= lost

    @rule(picks=PICKS)
    def repair(self, picks: set[int]) -> None:
        self.rows &= set(range(1, self.last + 1)) & self._wanted()
        self.rows.difference_update(chosen(self.rows, picks))
        before = self._wanted()
        lost, lost_for = self.backlogs.found(Ranges((position, position) for position in sorted(self.rows)))
        assert lost == len(before - self.rows)
        shares = {name: len(waiting - self.rows) for name, waiting in self.waiting.items() if waiting - self.rows}
        assert lost_for == shares
        self._lose(before - self.rows)

    @invariant()
    def both_say_the_same(self) -> None:
        backlogs, there = self.backlogs, self.rows - self.backlogs.dropping
        for name, backlog in backlogs:
            assert {position for position in there if position in backlog.pending} == self.waiting[name]
            assert backlog.waiting == len(self.waiting[name])
        assert {position for position in there if position in backlogs.orphaned} == self.orphaned
        assert backlogs.held == len(self._wanted())
        assert {position for position in there if position in backlogs.done} == there - self._wanted()

    def _waited_for(self) -> set[int]:
        return set(chain.from_iterable(self.waiting.values()))

    def _wanted(self) -> set[int]:
        return self._waited_for() | self.orphaned

    def _lose(self, positions: set[int]) -> None:
        for waiting in (*self.waiting.values(), self.orphaned):
            waiting.difference_update(positions)


TestBacklogs = BacklogsMachine.TestCase
TestBacklogs.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)

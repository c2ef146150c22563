"""What has arrived of one epoch and of one device, and what that means for the gaps. No I/O, no clock."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from gateway.audit.content import Arrival, Contents, Copy
from gateway.audit.verdict import DeviceVerdict, EpochVerdict
from gateway.buffer.ranges import Ranges

_CONTRADICTIONS_NAMED = 20
_MARK_EVERY_S = 0.5


@dataclass(slots=True)
class EpochRecord:
    """One epoch of one gateway. Times are those of the ledger's clock."""

    gateway: str
    epoch: str
    grace_s: float
    contents: Contents
    received: Ranges = field(default_factory=Ranges)
    begin: int | None = None
    begin_open_until_s: float = 0.0
    highest: int = 0
    passed: int = 0
    """The greatest position that the history lane of this connection has sent."""
    heard_at_s: float = 0.0
    history_at_s: float = -math.inf
    marks: deque[tuple[float, int, int]] = field(default_factory=deque)
    """(when, highest, passed), about twice a second, for the grace."""
    counts: dict[Copy, int] = field(default_factory=lambda: dict.fromkeys(Copy, 0))
    named: list[str] = field(default_factory=list)
    out_of_order: int = 0

    def connected(self, now_s: float) -> None:
        """Its history lane begins anew, with the oldest that is not acknowledged."""
        self.passed = 0
        self.history_at_s = now_s
        self.marks.clear()

    def take(self, one: Arrival, now_s: float, *, in_array: bool) -> Copy | None:
        """How a copy compares; None for a reading that has not come before."""
        if one.historical:
            self.history_at_s = now_s
            self.passed = max(self.passed, one.position)
        else:
            self._begin(one.position, now_s, in_array=in_array)
        self.highest = max(self.highest, one.position)
        self.heard_at_s = now_s
        if self.marks and now_s - self.marks[-1][0] < _MARK_EVERY_S:
            self.marks[-1] = self.marks[-1][0], self.highest, self.passed
        else:
            self.marks.append((now_s, self.highest, self.passed))
            while len(self.marks) > 1 and self.marks[1][0] <= now_s - self.grace_s:
                self.marks.popleft()
        if self.received.add(one.position, one.position):
            self.contents.remember(one)
            return None
        copy = self.contents.compare(one)
        self.counts[copy] += 1
        if copy is Copy.CONTRADICTING and len(self.named) < _CONTRADICTIONS_NAMED:
            self.named.append(f"{one.epoch}-{one.position}")
        return copy

    def _begin(self, position: int, now_s: float, *, in_array: bool) -> None:
        """The audit begins with the first live reading. In arrays the order holds for each device only, so what came
        just before the audit may lie beyond it: then it begins with the greatest of the first moment."""
        if self.begin is None:
            self.begin = position
            self.begin_open_until_s = now_s + 1.0 if in_array else now_s
        elif now_s < self.begin_open_until_s:
            self.begin = max(self.begin, position)

    def verdict(
        self, now_s: float, *, expected: tuple[Ranges, int] | None, connections: int, away: bool, behind: bool
    ) -> EpochVerdict:
        """`behind`: the gateway has said that history is to come, and not yet that all of it has been sent."""
        wanted = Ranges() if expected is None else expected[0].copy()
        first = self.begin if expected is None else expected[1] + 1
        if first is not None:
            wanted.add(first, self.highest)
        first = wanted.first if wanted.first is not None else self.highest + 1
        gaps = wanted.copy()
        for low, high in self.received:
            gaps.remove(low, high)
        last = max(self.highest, max((high for _, high in wanted), default=0))
        settled = last if math.isinf(now_s) else self._settled(now_s, away=away, behind=behind)
        earlier = self.received.count_within(1, first - 1)
        return EpochVerdict(
            gateway=self.gateway,
            epoch=self.epoch,
            first=first,
            last=last,
            readings=self.received.count,
            earlier=earlier,
            duplicates=sum(self.counts.values()),
            unchecked=self.counts[Copy.UNCHECKED],
            corrected=self.counts[Copy.CORRECTED],
            contradictions=tuple(self.named),
            contradicting=self.counts[Copy.CONTRADICTING],
            out_of_order=self.out_of_order,
            connections=connections,
            missing=tuple(gaps.within(1, settled)),
            open=tuple(gaps.within(settled + 1, last)),
        )

    def _settled(self, now_s: float, *, away: bool, behind: bool) -> int:
        """Up to here a gap is missing: nothing more can be on its way."""
        if away:
            return 0
        before_s = now_s - self.grace_s
        behind = behind or self.history_at_s > before_s
        if not behind and self.heard_at_s <= before_s:
            return self.highest
        highest = passed = 0
        for when_s, highest_then, passed_then in self.marks:
            if when_s > before_s:
                break
            highest, passed = highest_then, passed_then
        return min(highest, passed) if behind else highest


class DeviceRecord:
    """One device of one gateway, by its topic."""

    def __init__(self, one: Arrival, topic: str) -> None:
        self.topic = topic
        self.gateway, self.device = one.gateway, one.device
        self.readings = {False: 0, True: 0}
        self.duplicates = self.contradictions = self.out_of_order = 0
        self.first = self.last = one
        self.first_ts_ms = self.last_ts_ms = one.ts_ms
        self._lane: dict[tuple[str, bool], tuple[int, int]] = {}

    def take(self, one: Arrival, copy: Copy | None, *, connection: int) -> bool:
        """Whether it came in order; a copy always does."""
        if copy is not None:
            self.duplicates += 1
            self.contradictions += copy is Copy.CONTRADICTING
            return True
        self.readings[one.historical] += 1
        if one.epoch != self.last.epoch or one.position > self.last.position:
            self.last = one
        if one.epoch == self.first.epoch and one.position < self.first.position:
            self.first = one
        self.first_ts_ms = min(self.first_ts_ms, one.ts_ms)
        self.last_ts_ms = max(self.last_ts_ms, one.ts_ms)
        lane = one.epoch, one.historical
        before = self._lane.get(lane)
        if before is not None and before[0] == connection and one.position < before[1]:
            self.out_of_order += 1
            return False
        self._lane[lane] = connection, one.position
        return True

    def verdict(self) -> DeviceVerdict:
        return DeviceVerdict(
            gateway=self.gateway,
            device=self.device,
            topic=self.topic,
            readings=sum(self.readings.values()),
            live=self.readings[False],
            historical=self.readings[True],
            duplicates=self.duplicates,
            contradictions=self.contradictions,
            out_of_order=self.out_of_order,
            first_id=f"{self.first.epoch}-{self.first.position}",
            last_id=f"{self.last.epoch}-{self.last.position}",
            first_ts_ms=self.first_ts_ms,
            last_ts_ms=self.last_ts_ms,
        )

"""The ledger of what a subscriber receives: bytes in, verdict out. No I/O but a clock.

What is judged
    Within an epoch, everything from the first live reading that was heard (or from where `expect` says) up to the
    greatest position that has arrived must arrive. A gap counts as missing once something beyond it came at least
    `grace_s` ago, and the history lane, if it is running, has passed it as long ago. While the gateway is offline every
    gap is open: its buffer may hold it.
What is not
    History from before the first live reading: what else belongs there may have come before the audit began. Order
    over connections: what was in flight when one was lost comes again in the next. What was set aside and is sent
    again comes late, and is counted as out of order.

A connection of the gateway begins with its status `online` on a topic `…/<gateway>/status`. Memory: a few ranges of
positions for each epoch, the digests of the last `remembered` readings, one record for each device.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.audit.content import Arrival, Contents, Copy, arrival
from gateway.audit.verdict import DeviceVerdict, EpochVerdict, Span, Verdict
from gateway.buffer.ranges import Ranges

GRACE_S = 10.0
REMEMBERED = 100_000
_CONTRADICTIONS_NAMED = 20
_MARK_EVERY_S = 0.5


class Ledger:
    """May be shared between threads. `grace_s` and the clock's seconds are those of one monotonic clock."""

    def __init__(
        self,
        *,
        grace_s: float = GRACE_S,
        remembered: int = REMEMBERED,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interruptions = 0
        """How often the subscriber itself lost its connection."""
        self.forgotten = 0
        """How often the broker had forgotten the subscriber's session after that: what came meanwhile is lost."""
        self.messages = 0
        self._grace_s = grace_s
        self._remembered = remembered
        self._clock_s = clock_s
        self._foreign = 0
        self._epochs: dict[tuple[str, str], _Epoch] = {}
        self._devices: dict[tuple[str, str], _Device] = {}
        self._expected: dict[str, tuple[Ranges, int]] = {}
        self._connections: dict[str, int] = {}
        self._offline: set[str] = set()
        self._changed = threading.Condition()

    def note(self, topic: str, payload: bytes | bytearray) -> None:
        """Take one message: a reading, an array of them, or the status of a gateway, whose topic says whose it is.
        Others are counted and passed over. Never raises."""
        try:
            body = orjson.loads(payload)
        except ValueError:
            body = None
        with self._changed:
            self.messages += 1
            if not (self._note_readings(body) or self._note_status(topic, body)):
                self._foreign += 1
            self._changed.notify_all()

    def expect(self, epoch: str, positions: Iterable[Span], *, after: int) -> None:
        """Of this epoch these must arrive, and everything after the position `after`, whatever is heard first."""
        with self._changed:
            self._expected[epoch] = Ranges(positions), after

    def verdict(self, *, now_s: float | None = None) -> Verdict:
        """As of `now_s`, by default now. With `math.inf` nothing more is waited for: every gap is missing."""
        with self._changed:
            now_s = self._clock_s() if now_s is None else now_s
            return Verdict(
                epochs=tuple(
                    one.verdict(
                        now_s,
                        expected=self._expected.get(one.epoch),
                        connections=self._connections.get(one.gateway, 0),
                        away=one.gateway in self._offline,
                    )
                    for one in self._heard()
                ),
                devices=tuple(one.verdict() for one in self._devices.values()),
                foreign=self._foreign,
            )

    def missing(self, epoch: str, first: int, last: int) -> int:
        """How many positions from `first` to `last` have not arrived."""
        with self._changed:
            arrived = sum(
                final - low + 1
                for one in self._heard()
                if one.epoch == epoch
                for low, final in one.received.within(first, last)
            )
        return last - first + 1 - arrived

    def wait_for(self, epoch: str, first: int, last: int, *, but: int, timeout_s: float) -> None:
        """Block until all positions from `first` to `last` `but` so many have arrived, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.missing(epoch, first, last) <= but, timeout_s)

    def _heard(self) -> list[_Epoch]:
        return list(self._epochs.values())

    def _note_readings(self, body: Any) -> bool:
        found = [arrival(item) for item in body] if isinstance(body, list) else [arrival(body)]
        readings = [one for one in found if one is not None]
        now_s = self._clock_s()
        for one in readings:
            epoch = self._epochs.get((one.gateway, one.epoch))
            if epoch is None:
                epoch = _Epoch(one.gateway, one.epoch, self._grace_s, Contents(kept=self._remembered))
                self._epochs[one.gateway, one.epoch] = epoch
            device = self._devices.get((one.gateway, one.device))
            if device is None:
                device = self._devices[one.gateway, one.device] = _Device(one)
            copy = epoch.take(one, now_s, in_array=isinstance(body, list))
            if not device.take(one, copy, connection=self._connections.get(one.gateway, 0)):
                epoch.out_of_order += 1
        return bool(readings)

    def _note_status(self, topic: str, body: Any) -> bool:
        if not isinstance(body, dict) or not isinstance(body.get("online"), bool):
            return False
        gateway = topic.removesuffix("/status").rpartition("/")[2]
        if not body["online"]:
            self._offline.add(gateway)
            return True
        self._offline.discard(gateway)
        self._connections[gateway] = self._connections.get(gateway, 0) + 1
        for one in self._heard():
            if one.gateway == gateway:
                one.connected(self._clock_s())
        return True


@dataclass(slots=True)
class _Epoch:
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
        self, now_s: float, *, expected: tuple[Ranges, int] | None, connections: int, away: bool
    ) -> EpochVerdict:
        wanted = Ranges() if expected is None else expected[0].copy()
        first = self.begin if expected is None else expected[1] + 1
        if first is not None:
            wanted.add(first, self.highest)
        first = wanted.first if wanted.first is not None else self.highest + 1
        gaps = wanted.copy()
        for low, high in self.received:
            gaps.remove(low, high)
        last = max(self.highest, max((high for _, high in wanted), default=0))
        settled = last if math.isinf(now_s) else self._settled(now_s, away=away)
        earlier = sum(high - low + 1 for low, high in self.received.within(1, first - 1))
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

    def _settled(self, now_s: float, *, away: bool) -> int:
        """Up to here a gap is missing: nothing more can be on its way."""
        if away:
            return 0
        before_s = now_s - self.grace_s
        if max(self.heard_at_s, self.history_at_s) <= before_s:
            return self.highest
        highest = passed = 0
        for when_s, highest_then, passed_then in self.marks:
            if when_s > before_s:
                break
            highest, passed = highest_then, passed_then
        return highest if self.history_at_s <= before_s else min(highest, passed)


class _Device:
    def __init__(self, one: Arrival) -> None:
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

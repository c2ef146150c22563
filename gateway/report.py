"""Report by exception: of what was read, keep what is worth storing and sending."""

from __future__ import annotations

from decimal import Decimal
from math import inf

from drivers.model import PointGroup, Quality, Reading, Value
from drivers.settings import Report

_ROUNDING = 1 + 1e-9
"""1.01 - 1.00 is a little more than 0.01 in binary; a move of exactly the deadband must not count as more."""


def merged(state: Reading | None, part: Reading) -> Reading:
    """The state after `part`, in which a value that is None and has no quality has not changed.

    That is `part` itself where it left nothing out, or nothing is known besides.
    """
    if state is None or not _leaves_something_out(part):
        return part
    values = list(part.values)
    quality = dict(part.quality)
    for index, value in enumerate(part.values):
        if value is None and index not in part.quality:
            values[index] = state.values[index]
            if index in state.quality:
                quality[index] = state.quality[index]
    return Reading(part.group, part.observed_at_ns, tuple(values), quality)


class Reporter:
    """The filter of one group. It remembers what was last reported of each point.

    A point is reported when it moved by more than its deadband since it was last *reported* (so a slow drift does not
    escape), when its quality changed, and, with all of its group, at least every `heartbeat_s`. A group of events is
    not filtered at all.
    """

    def __init__(self, group: PointGroup, *, report: Report, heartbeat_s: float) -> None:
        self._keeps_all = report is Report.EVERY_READ or group.events
        # A tick comes sometimes earlier and sometimes later: the one that is nearest to the heartbeat is meant.
        self._due_after_s = max(0.0, heartbeat_s - group.period_s / 2)
        self._thresholds = tuple(point.deadband * _ROUNDING for point in group.points)
        self._values: list[Value] = [None] * len(group.points)
        self._quality: dict[int, Quality] = {}
        self.all_due_s = -inf
        """When, in monotonic seconds, the whole group is to be reported, changed or not. Kept for filtered groups."""

    def reportable(self, reading: Reading, *, now_s: float) -> Reading | None:
        """What of `reading` to keep: the reading itself, a sparser one, or None. `now_s` is monotonic."""
        return reading if self._keeps_all else self._filtered(reading, now_s)

    def reportable_part(self, part: Reading, state: Reading, *, now_s: float) -> Reading | None:
        """The same for a reading that came unasked and may leave out what has not changed; `state` is `merged` with it.

        What it left out is not reported with it, heartbeat or not: it was not observed at that instant, which may be
        long ago. Whoever calls repeats the state when `all_due_s` has come, also where everything that comes is kept.
        """
        if part.group.events:
            return part
        kept = self._filtered(state, now_s) if state is part else self._changes(state)
        return part if self._keeps_all else kept

    def _filtered(self, reading: Reading, now_s: float) -> Reading | None:
        if now_s < self.all_due_s:
            return self._changes(reading)
        self.all_due_s = now_s + self._due_after_s
        self._values = list(reading.values)
        self._quality = dict(reading.quality)
        return reading

    def _changes(self, reading: Reading) -> Reading | None:
        changed = self._changed(reading)
        if not changed:
            return None
        for index in changed:
            self._values[index] = reading.values[index]
        quality = {index: reading.quality[index] for index in changed if index in reading.quality}
        self._quality = dict(reading.quality)
        if len(changed) == len(reading.values):
            return reading
        values: list[Value] = [None] * len(reading.values)
        for index in changed:
            values[index] = reading.values[index]
        return Reading(reading.group, reading.observed_at_ns, tuple(values), quality)

    def _changed(self, reading: Reading) -> list[int]:
        changed = [
            index
            for index, (value, reported, threshold) in enumerate(
                zip(reading.values, self._values, self._thresholds, strict=True)
            )
            if value != reported and (not threshold or _moved(value, reported, threshold))
        ]
        if reading.quality or self._quality:
            requalified = {
                index
                for index in reading.quality.keys() | self._quality.keys()
                if reading.quality.get(index) != self._quality.get(index)
            }
            return sorted(requalified.union(changed))
        return changed


def _leaves_something_out(reading: Reading) -> bool:
    return None in reading.values and any(
        value is None and index not in reading.quality for index, value in enumerate(reading.values)
    )


def _moved(value: Value, reported: Value, threshold: float) -> bool:
    if isinstance(value, int | float) and isinstance(reported, int | float):
        return abs(value - reported) > threshold
    if isinstance(value, int | float | Decimal) and isinstance(reported, int | float | Decimal):
        return abs(float(value) - float(reported)) > threshold
    return True

"""Report by exception: of what was read, keep what is worth storing and sending."""

from __future__ import annotations

from drivers.model import PointGroup, Quality, Reading, Value
from drivers.settings import Report

_ROUNDING = 1 + 1e-9
"""1.01 - 1.00 is a little more than 0.01 in binary; a move of exactly the deadband must not count as more."""


class Reporter:
    """The filter of one group. It remembers what was last reported of each point.

    A point is reported when it moved by more than its deadband since it was last *reported* (so a slow drift does not
    escape), when its quality changed, and, with all of its group, at least every `heartbeat_s`.
    """

    def __init__(self, group: PointGroup, *, report: Report, heartbeat_s: float) -> None:
        self._every_read = report is Report.EVERY_READ
        self._heartbeat_s = heartbeat_s
        self._thresholds = tuple(point.deadband * _ROUNDING for point in group.points)
        self._values: list[Value] = [None] * len(group.points)
        self._quality: dict[int, Quality] = {}
        self._all_reported_s: float | None = None

    def reportable(self, reading: Reading, *, now_s: float) -> Reading | None:
        """What of `reading` to keep: the reading itself, a sparser one, or None. `now_s` is monotonic."""
        if self._every_read:
            return reading
        if self._all_reported_s is None or now_s - self._all_reported_s >= self._heartbeat_s:
            self._all_reported_s = now_s
            self._values = list(reading.values)
            self._quality = dict(reading.quality)
            return reading
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


def _moved(value: Value, reported: Value, threshold: float) -> bool:
    if isinstance(value, int | float) and isinstance(reported, int | float):
        return abs(value - reported) > threshold
    return True

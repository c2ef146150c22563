"""When to read what: absolute deadlines, staggered, never drifting, never queued. Pure; the clock is the caller's."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from drivers.model import PointGroup

_GOLDEN_RATIO = 0.6180339887498949
_LONGEST_STAGGER_S = 1.0
_SLOTS = 10
"""Ticks fall on this many instants of a period, the same ones for every link. What starts together is awake together:
a processor that sleeps between any two reads spends most of its time waking up."""


def stagger(index: int) -> float:
    """A fraction in [0, 1) for the device with this index; any run of indices is spread evenly (golden ratio)."""
    return index * _GOLDEN_RATIO % 1.0


@dataclass(frozen=True, slots=True)
class Due:
    """A group to be read now: how late it is already, and how many of its ticks have gone by unread."""

    group: PointGroup
    lateness_s: float
    missed: int


class Schedule:
    """The deadlines of the poll groups that share one link, in seconds of a monotonic clock.

    Tick `n` of a group is at `first + n * period`, and `first` is within the first second; a late read does not move
    the next one. A tick that passes while another read holds the link is missed: counted and dropped.
    """

    def __init__(self, groups: Iterable[tuple[PointGroup, float]], *, now_s: float) -> None:
        """`groups` pairs each group with its stagger, a fraction of its period (of one second, if that is shorter).

        A stagger is rounded down to a tenth.
        """
        self._fractions = dict(groups)
        self._first_s: dict[PointGroup, float] = {}
        self._heap = [
            (self._begin(group, now_s), order, 0, group)  # due, order, tick, group
            for order, group in enumerate(self._fractions)
        ]
        heapq.heapify(self._heap)

    @property
    def next_s(self) -> float:
        """The earliest deadline."""
        return self._heap[0][0]

    def take(self, now_s: float) -> Due:
        """The group with the earliest deadline, which must have come (`next_s <= now_s`); sets its next deadline."""
        due_s, order, tick, group = self._heap[0]
        lateness_s = max(0.0, now_s - due_s)
        missed = int(lateness_s / group.period_s)
        tick += missed + 1
        heapq.heapreplace(self._heap, (self._first_s[group] + tick * group.period_s, order, tick, group))
        return Due(group, lateness_s, missed)

    def skip_to(self, now_s: float) -> None:
        """Drop, uncounted, every tick before `now_s`: nothing could be read then (the link was down).

        What was due meanwhile is due again within a second, also when its period is an hour.
        """
        self._heap = [
            (due_s, order, tick, group) if due_s >= now_s else (self._begin(group, now_s), order, 0, group)
            for due_s, order, tick, group in self._heap
        ]
        heapq.heapify(self._heap)

    def _begin(self, group: PointGroup, now_s: float) -> float:
        """Let tick 0 of the group be at the next instant of its slot, and return when that is."""
        interval_s = min(group.period_s, _LONGEST_STAGGER_S)
        self._first_s[group] = first_s = _first_s(interval_s, self._fractions[group], now_s)
        return first_s


def _first_s(interval_s: float, fraction: float, now_s: float) -> float:
    """The next instant of a slot: a whole number of intervals since the clock's zero, and some tenths of one."""
    slot_s = int(fraction * _SLOTS) / _SLOTS * interval_s
    return ceil((now_s - slot_s) / interval_s) * interval_s + slot_s

"""Readings that were handed over and are not committed yet: the bounded queue between acquisition and the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from drivers.model import Reading
from drivers.settings import Priority
from gateway.buffer.eras import Era
from gateway.config import WhenFull

MOST_VALUES = 1_000_000
"""About 35 MB. Ten seconds of the heaviest load, minutes of the usual one, for as long as the disk does not take
any."""

_OVERHEAD = 8  # values that a reading itself weighs

Entry = tuple[Reading, Priority, Era]


class Intake:
    """A queue in order of arrival, bounded by the number of values in it."""

    def __init__(self, when_full: WhenFull, *, most_values: int = MOST_VALUES) -> None:
        self._when_full = when_full
        self._most_values = most_values
        self._entries: deque[Entry] = deque()
        self._values = 0
        self.appended = 0
        """Readings ever accepted."""
        self.left = 0
        """Readings that have left again: taken or dropped. Everything has left when it equals `appended`."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, reading: Reading, priority: Priority, era: Era) -> Sequence[Reading]:
        """Accept a reading. Returns those that had to be dropped for it (perhaps itself)."""
        weight = len(reading.values) + _OVERHEAD
        if self._values + weight > self._most_values and self._when_full is WhenFull.DROP_NEWEST:
            return (reading,)
        self._entries.append((reading, priority, era))
        self._values += weight
        self.appended += 1
        return () if self._values <= self._most_values else self._shed()

    @property
    def first(self) -> Entry:
        """The oldest. Raises IndexError when there is none."""
        return self._entries[0]

    def pop(self) -> Entry:
        """Remove and return the oldest. Raises IndexError when there is none."""
        entry = self._entries.popleft()
        self._values -= len(entry[0].values) + _OVERHEAD
        self.left += 1
        return entry

    def empty(self) -> list[Entry]:
        """Remove and return everything."""
        return [self.pop() for _ in range(len(self._entries))]

    def _shed(self) -> list[Reading]:
        """Drop a sixteenth of the values at once (so that a full queue costs little per reading), the oldest of the
        lowest priority first."""
        surplus = self._values - (self._most_values - self._most_values // 16)
        dropped: list[Reading] = []
        for priority in Priority:
            kept: deque[Entry] = deque()
            for entry in self._entries:
                if surplus > 0 and entry[1] is priority:
                    weight = len(entry[0].values) + _OVERHEAD
                    surplus -= weight
                    self._values -= weight
                    dropped.append(entry[0])
                else:
                    kept.append(entry)
            self._entries = kept
            if surplus <= 0:
                break
        self.left += len(dropped)
        return dropped

"""Readings that were handed over and are not committed yet: the bounded queue between acquisition and the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from drivers.model import Reading
from drivers.settings import Priority
from gateway.buffer.eras import Era
from gateway.buffer.weight import memory_bytes
from gateway.config import WhenFull

MOST_BYTES = 35_000_000
"""Ten seconds of the heaviest load, minutes of the usual one, for as long as the disk does not take any."""


class Entry(NamedTuple):
    """A reading in the queue. `memory_bytes` is what it weighs there."""

    reading: Reading
    priority: Priority
    era: Era
    memory_bytes: int


class Intake:
    """A queue in order of arrival, bounded by the memory that it takes."""

    def __init__(self, when_full: WhenFull, *, most_bytes: int = MOST_BYTES) -> None:
        self._when_full = when_full
        self._most_bytes = most_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self.appended = 0
        """Readings ever accepted."""
        self.left = 0
        """Readings that have left again: taken or dropped. Everything has left when it equals `appended`."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, reading: Reading, priority: Priority, era: Era) -> Sequence[Reading]:
        """Accept a reading. Returns those that had to be dropped for it (perhaps itself)."""
        entry = Entry(reading, priority, era, memory_bytes(reading))
        if self._bytes + entry.memory_bytes > self._most_bytes and self._when_full is WhenFull.DROP_NEWEST:
            return (reading,)
        self._entries.append(entry)
        self._bytes += entry.memory_bytes
        self.appended += 1
        return () if self._bytes <= self._most_bytes else self._shed()

    @property
    def first(self) -> Entry:
        """The oldest. Raises IndexError when there is none."""
        return self._entries[0]

    def pop(self) -> Entry:
        """Remove and return the oldest. Raises IndexError when there is none."""
        entry = self._entries.popleft()
        self._bytes -= entry.memory_bytes
        self.left += 1
        return entry

    def empty(self) -> list[Entry]:
        """Remove and return everything."""
        return [self.pop() for _ in range(len(self._entries))]

    def _shed(self) -> list[Reading]:
        """Drop a sixteenth at once (so that a full queue costs little per reading), the oldest of the
        lowest priority first."""
        surplus = self._bytes - (self._most_bytes - self._most_bytes // 16)
        dropped: list[Reading] = []
        for priority in Priority:
            kept: deque[Entry] = deque()
            for entry in self._entries:
                if surplus > 0 and entry.priority is priority:
                    surplus -= entry.memory_bytes
                    self._bytes -= entry.memory_bytes
                    dropped.append(entry.reading)
                else:
                    kept.append(entry)
            self._entries = kept
            if surplus <= 0:
                break
        self.left += len(dropped)
        return dropped

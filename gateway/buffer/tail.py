"""The readings committed last, kept in memory so that sending what was just read does not touch the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from drivers.model import Reading
from gateway.buffer.model import StoredReading
from gateway.buffer.weight import memory_bytes

MOST_BYTES = 8_000_000
"""A few seconds of the heaviest load."""


class Tail:
    """A gapless run of positions `[first, end)` ending at the newest; dropped ones leave an empty slot."""

    def __init__(self, following: int, *, most_bytes: int = MOST_BYTES) -> None:
        self._slots: list[StoredReading | None] = []
        self._dead = 0  # leading slots already given up; cut off now and then, so that giving one up is O(1)
        self._most_bytes = most_bytes
        self._bytes = 0
        self._first = following + 1

    @property
    def first(self) -> int:
        """The first position in memory; everything before it is in the database only."""
        return self._first + self._dead

    @property
    def end(self) -> int:
        return self._first + len(self._slots)

    def extend(self, readings: Iterable[Reading]) -> None:
        """Add readings at the positions from `end` on; the oldest make room."""
        position = self.end
        for reading in readings:
            self._slots.append(StoredReading(position, reading))
            self._bytes += memory_bytes(reading)
            position += 1
        while self._bytes > self._most_bytes:
            self._give_up_first()
        self._compact()

    def forget_before(self, position: int) -> None:
        """Nobody will ask for anything before `position` again."""
        while self.first < position and self._dead < len(self._slots):
            self._give_up_first()
        self._compact()

    def forget(self, positions: Iterable[int]) -> None:
        """These were dropped."""
        for position in positions:
            if self.first <= position < self.end:
                slot = self._slots[position - self._first]
                if slot is not None:
                    self._bytes -= memory_bytes(slot.reading)
                    self._slots[position - self._first] = None

    def unhide(self, positions: Iterable[int]) -> None:
        """These are in the database again: where there is an empty slot, it no longer counts as in memory."""
        hidden = [one for one in positions if self.first <= one < self.end and not self._slots[one - self._first]]
        if hidden:
            self.forget_before(max(hidden) + 1)

    def within(self, first: int, last: int) -> Iterator[StoredReading]:
        """What is in memory between the two positions, both included."""
        slots: Sequence[StoredReading | None] = self._slots
        for index in range(max(first, self.first) - self._first, min(last + 1, self.end) - self._first):
            slot = slots[index]
            if slot is not None:
                yield slot

    def _give_up_first(self) -> None:
        slot = self._slots[self._dead]
        if slot is not None:
            self._bytes -= memory_bytes(slot.reading)
            self._slots[self._dead] = None
        self._dead += 1

    def _compact(self) -> None:
        if self._dead * 2 > len(self._slots):
            del self._slots[: self._dead]
            self._first += self._dead
            self._dead = 0

"""A set of positions kept as a few ranges.

Positions are taken in long runs, so a set of millions is usually two or three pairs of integers. Every operation is a
binary search plus, when a range appears or vanishes, one move within a short list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A mutable set of integers, stored as sorted, disjoint, non-touching, inclusive ranges.

    Iterating yields `(first, last)` pairs in ascending order. `count` is the number of integers.
    """

    __slots__ = ("_firsts", "_lasts", "count")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.count = 0
        for first, last in pairs:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __contains__(self, position: int) -> bool:
        index = bisect_right(self._firsts, position) - 1
        return index >= 0 and self._lasts[index] >= position

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    @property
    def first(self) -> int | None:
        """The smallest member; None when empty."""
        return self._firsts[0] if self._firsts else None

    @property
    def pieces(self) -> int:
        """How many ranges the set consists of."""
        return len(self._firsts)

    def copy(self) -> Ranges:
        twin = Ranges()
        twin._firsts, twin._lasts, twin.count = self._firsts[:], self._lasts[:], self.count
        return twin

    def clear(self) -> None:
        self._firsts.clear()
        self._lasts.clear()
        self.count = 0

    def add(self, first: int, last: int) -> int:
        """Add every integer of `[first, last]`; an empty range (`last < first`) adds nothing. Returns how many were
        new."""
        if last < first:
            return 0
        low = bisect_left(self._lasts, first - 1)  # the first range that touches the new one, or lies after it
        high = bisect_right(self._firsts, last + 1)  # one past the last range that touches it
        before = sum(self._lasts[index] - self._firsts[index] + 1 for index in range(low, high))
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        added = last - first + 1 - before
        self.count += added
        return added

    def remove(self, first: int, last: int) -> int:
        """Remove every integer of `[first, last]`. Returns how many were there."""
        if last < first:
            return 0
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return 0
        before = sum(self._lasts[index] - self._firsts[index] + 1 for index in range(low, high))
        keep = [
            pair for pair in ((self._firsts[low], first - 1), (last + 1, self._lasts[high - 1])) if pair[0] <= pair[1]
        ]
        self._firsts[low:high] = [pair[0] for pair in keep]
        self._lasts[low:high] = [pair[1] for pair in keep]
        removed = before - sum(pair[1] - pair[0] + 1 for pair in keep)
        self.count -= removed
        return removed

    def head(self, most: int) -> list[tuple[int, int]]:
        """The first ranges, up to `most` integers and a few hundred ranges."""
        chosen: list[tuple[int, int]] = []
        for first, last in self:
            chosen.append((first, min(last, first + most - 1)))
            most -= chosen[-1][1] - first + 1
            if most <= 0 or len(chosen) >= 256:
                break
        return chosen

    def subtract(self, other: Ranges) -> None:
        """Remove every member of `other`."""
        for first, last in other:
            self.remove(first, last)

    def discard(self, position: int) -> bool:
        """Remove one integer. Returns whether it was there. The hot path: one call per acknowledgement."""
        index = bisect_right(self._firsts, position) - 1
        if index < 0 or self._lasts[index] < position:
            return False
        first, last = self._firsts[index], self._lasts[index]
        if first == last:
            del self._firsts[index], self._lasts[index]
        elif position == first:
            self._firsts[index] = position + 1
        elif position == last:
            self._lasts[index] = position - 1
        else:
            self._lasts[index] = position - 1
            self._firsts.insert(index + 1, position + 1)
            self._lasts.insert(index + 1, last)
        self.count -= 1
        return True

    def within(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The parts of the ranges that lie inside `[first, last]`, ascending."""
        for index in range(bisect_left(self._lasts, first), len(self._firsts)):
            if self._firsts[index] > last or first > last:
                return
            yield max(first, self._firsts[index]), min(last, self._lasts[index])

    def count_within(self, first: int, last: int) -> int:
        """How many members lie inside `[first, last]`."""
        return sum(high - low + 1 for low, high in self.within(first, last))

    def count_common(self, other: Ranges) -> int:
        """How many integers are in both."""
        return sum(self.count_within(*span) for span in other)


def union(sets: Iterable[Ranges]) -> Ranges:
    """Everything that is in one of them."""
    return Ranges(pair for one in sets for pair in one)

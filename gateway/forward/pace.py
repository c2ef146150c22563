"""How much goes into one message, and how fast. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.buffer import StoredReading

BURST_S = 1.0


class TokenBucket:
    """At most `per_second` of something, of which the bucket holds one second's worth. The caller brings the clock."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._empty_s = float("-inf")  # when it was, or will be, empty

    def delay_s(self, amount: int, *, now_s: float) -> float:
        """Take `amount`; how long from `now_s` until it may go. More than the bucket holds goes, and is owed."""
        empty_s = max(self._empty_s, now_s - BURST_S)
        self._empty_s = empty_s + amount / self._per_second
        return max(0.0, empty_s - now_s)


def messages(stored: Sequence[StoredReading], *, batch: int) -> Iterator[Sequence[StoredReading]]:
    """Cut `stored` into messages of at most `batch` readings, each of one device and in order."""
    if batch == 1:
        for item in stored:
            yield (item,)
        return
    filling: dict[str, list[StoredReading]] = {}
    for item in stored:
        device = item.reading.group.device
        message = filling.setdefault(device, [])
        message.append(item)
        if len(message) == batch:
            yield filling.pop(device)
    yield from filling.values()


def values_in(message: Sequence[StoredReading]) -> int:
    """How many values the readings of a message have; one that has none is not free and counts as one."""
    return sum(max(1, len(item.reading.values) - item.reading.values.count(None)) for item in message)

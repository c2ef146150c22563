"""How much goes into one message, and how fast. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.buffer import StoredReading


class Pace:
    """At most `per_second` of something, of which a tenth of a second may come at once. The caller brings the clock."""

    def __init__(self, per_second: float, *, burst_s: float = 0.1) -> None:
        self._per_second = per_second
        self._burst_s = burst_s
        self._next_s = float("-inf")

    def delay_s(self, amount: int, *, now_s: float) -> float:
        """Book `amount`; how long from `now_s` until it may go."""
        start_s = max(self._next_s, now_s - self._burst_s)
        self._next_s = start_s + amount / self._per_second
        return max(0.0, start_s - now_s)


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
    """How many values the readings of a message have."""
    return sum(len(item.reading.values) - item.reading.values.count(None) for item in message)

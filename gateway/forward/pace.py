"""How much goes into one message, and how fast. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from gateway.buffer import StoredReading

BURST_S = 1.0
"""How many seconds' worth a full token bucket holds."""
QUEUE_S = 0.02
"""How much longer than expected an answer may take before history is held back."""
MOST_LEARNED_S = 0.06
"""How much longer than the quickest an answer may be expected to take."""
FORGET_ROUNDS = 128
FIRST_WINDOW, LEAST_WINDOW, MOST_WINDOW = 32, 8, 1000
MESSAGE_VALUES = 100
"""A message costs as much as this many values in a message do."""
TURN_VALUES = 2_000
"""How much a lane sends before it lets others run; about a millisecond."""
CHUNK_VALUES, CHUNK_READINGS = 10_000, 100
"""How much is taken from the buffer at once, at most."""


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


class HistoryWindow:
    """How many messages of history may be unacknowledged, so that live ones do not queue behind them.

    Like LEDBAT (RFC 6817) it watches how much longer answers take than the quickest did: that time is spent in a queue,
    here or in the broker. Once in each round trip it shrinks when the queue is long and grows when it is short.

    While the window is at its least, it is not history that makes answers slow. So there it learns what they take on
    this line and how much that varies, as TCP does (RFC 6298, 2), within bounds, and forgets the variation again in
    some `FORGET_ROUNDS` round trips. The caller brings the clock.
    """

    def __init__(self) -> None:
        self.messages = FIRST_WINDOW
        self._quickest_s = self._typical_s = float("inf")
        self._deviation_s = 0.0
        self._next_s = float("-inf")

    def answered(self, waited_s: float, *, now_s: float) -> None:
        """A message, of history or not, was acknowledged after this time."""
        self._quickest_s = min(self._quickest_s, waited_s)
        self._typical_s = min(self._typical_s, waited_s + 2 * self._deviation_s)
        if now_s < self._next_s:
            return
        self._next_s = now_s + waited_s
        if self.messages == LEAST_WINDOW:
            self._deviation_s += (abs(waited_s - self._typical_s) - self._deviation_s) / 4
            self._typical_s += (waited_s - self._typical_s) / 8
        else:
            self._deviation_s -= self._deviation_s / FORGET_ROUNDS
        expected_s = min(self._typical_s + 2 * self._deviation_s, self._quickest_s + MOST_LEARNED_S)
        if waited_s - expected_s > QUEUE_S:
            self.messages = max(LEAST_WINDOW, self.messages * 2 // 3)
        else:
            self.messages = min(MOST_WINDOW, self.messages + self.messages // 4 + 1)


def turn_is_over(sent_values: int, sent_messages: int) -> bool:
    """Whether a lane has sent enough for now."""
    return sent_values + sent_messages * MESSAGE_VALUES >= TURN_VALUES


def chunk_after(stored: Sequence[StoredReading]) -> int:
    """How many readings to take from the buffer at once, when the last ones were these."""
    if not stored:
        return CHUNK_READINGS
    return max(1, min(CHUNK_READINGS, CHUNK_VALUES * len(stored) // values_in(stored)))


def messages(
    stored: Sequence[StoredReading], *, batch: int, alone: Container[int] = ()
) -> Iterator[Sequence[StoredReading]]:
    """Cut `stored` into messages of at most `batch` readings, each of one device and in order.

    The positions in `alone` get a message each.
    """
    if batch == 1:
        for item in stored:
            yield (item,)
        return
    filling: dict[str, list[StoredReading]] = {}
    for item in stored:
        device = item.reading.group.device
        if item.position in alone:
            if device in filling:
                yield filling.pop(device)
            yield (item,)
            continue
        message = filling.setdefault(device, [])
        message.append(item)
        if len(message) == batch:
            yield filling.pop(device)
    yield from filling.values()


def values_in(message: Sequence[StoredReading]) -> int:
    """How many values the readings of a message have; one that has none is not free and counts as one."""
    return sum(max(1, len(item.reading.values) - item.reading.values.count(None)) for item in message)

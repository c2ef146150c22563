"""What a history window does to the live readings on the same line, in a simulation."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.forward.pace import HistoryWindow

LIVE_PER_S = 50
TURN_S, TURN_MESSAGES = 0.002, 20
SECONDS = 20.0

Way = Callable[[float], float]
"""How long a message and its answer are on the way, by the time; they do not overtake each other."""


@dataclass
class Gateway:
    """One that has more history than it can send, and live readings now and then."""

    window: HistoryWindow | None = field(default_factory=HistoryWindow)
    in_flight: deque[tuple[float, float, bool]] = field(default_factory=deque)
    history_in_flight: int = 0
    history_sent: int = 0
    live_waited_s: list[float] = field(default_factory=list)

    def take(self, *, now_s: float) -> None:
        while self.in_flight and self.in_flight[0][0] <= now_s:
            _, sent_s, is_history = self.in_flight.popleft()
            if is_history:
                self.history_in_flight -= 1
                self.history_sent += 1
            elif now_s > SECONDS / 2:
                self.live_waited_s.append(now_s - sent_s)
            if self.window is not None:
                self.window.answered(now_s - sent_s, now_s=now_s)

    def send(self, answered_s: float, *, now_s: float, is_history: bool) -> None:
        answered_s = max(answered_s, self.in_flight[-1][0]) if self.in_flight else answered_s
        self.in_flight.append((answered_s, now_s, is_history))
        self.history_in_flight += is_history

    def room(self) -> int:
        if self.window is None:
            return 0
        return min(TURN_MESSAGES, max(0, self.window.messages - self.history_in_flight))

    @property
    def live_ms(self) -> float:
        """What live readings waited on average, once all had settled."""
        return 1e3 * sum(self.live_waited_s) / len(self.live_waited_s)


def drained(*, broker_per_s: int, way: Way, gateways: int = 1, history: bool = True) -> list[Gateway]:
    """Gateways that drain for a while into a broker that takes so many messages a second, one after the other."""
    draw = random.Random(1)
    all_of_them = [Gateway() if history else Gateway(window=None) for _ in range(gateways)]
    now_s = busy_s = 0.0
    while now_s < SECONDS:
        for gateway in draw.sample(all_of_them, gateways):
            gateway.take(now_s=now_s)
            live = draw.random() < LIVE_PER_S * TURN_S
            for is_history in [False] * live + [True] * gateway.room():
                busy_s = max(busy_s, now_s) + 1 / broker_per_s
                gateway.send(busy_s + way(now_s), now_s=now_s, is_history=is_history)
        now_s += TURN_S
    return all_of_them


def steady(seconds: float) -> Way:
    return lambda _now_s: seconds


def uneven(low_s: float, high_s: float, *, every_s: float = 0.05) -> Way:
    """As on a mobile line, which serves one subscriber after the other."""
    waits = [random.Random(slot).uniform(low_s, high_s) for slot in range(int(SECONDS / every_s) + 1)]
    return lambda now_s: waits[int(now_s / every_s)]


@pytest.mark.parametrize(("broker_per_s", "way_s"), [(5000, 0.001), (500, 0.05)], ids=["near", "thin"])
def test_history_fills_a_steady_line_and_adds_little_to_what_live_readings_wait(broker_per_s, way_s):
    (gateway,) = drained(broker_per_s=broker_per_s, way=steady(way_s))
    assert gateway.history_sent / SECONDS > 0.8 * (broker_per_s - LIVE_PER_S)
    assert gateway.live_ms < 1e3 * way_s + 30


def test_history_uses_a_line_whose_answers_vary_and_adds_nearly_nothing_to_what_live_readings_wait():
    way = uneven(0.05, 0.15)
    (alone,) = drained(broker_per_s=5000, way=way, history=False)
    (gateway,) = drained(broker_per_s=5000, way=way)
    assert gateway.history_sent / SECONDS > 500
    assert gateway.live_ms < alone.live_ms + 10


def test_a_line_that_has_become_longer_is_used_again():
    (gateway,) = drained(broker_per_s=5000, way=lambda now_s: 0.05 if now_s < 1 else 0.11)
    assert gateway.history_sent / SECONDS > 2000


@pytest.mark.parametrize("way", [steady(0.002), uneven(0.05, 0.15)], ids=["near", "uneven"])
def test_gateways_that_drain_together_do_not_learn_from_each_other_to_fill_a_queue(way):
    (alone,) = drained(broker_per_s=2000, way=way, history=False)
    together = drained(broker_per_s=2000, way=way, gateways=8)
    assert sum(gateway.history_sent for gateway in together) / SECONDS > 800
    assert max(gateway.live_ms for gateway in together) < alone.live_ms + 150

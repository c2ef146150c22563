from __future__ import annotations

from gateway.backoff import Backoff


def ceilings(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(first_s=1.0, longest_s=10.0, draw=lambda _low, high: high)
    assert ceilings(backoff, 6) == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_is_full_from_zero_to_the_ceiling() -> None:
    draws: list[tuple[float, float]] = []
    backoff = Backoff(first_s=1.0, longest_s=10.0, draw=lambda low, high: draws.append((low, high)) or low)  # type: ignore[func-returns-value]
    ceilings(backoff, 2)
    assert draws == [(0.0, 1.0), (0.0, 2.0)]


def test_ten_thousand_failures_overflow_nothing() -> None:
    backoff = Backoff(first_s=1.0, longest_s=60.0, draw=lambda _low, high: high)
    assert ceilings(backoff, 10_000)[-1] == 60.0


def test_success_starts_over() -> None:
    backoff = Backoff(first_s=1.0, longest_s=60.0, draw=lambda _low, high: high)
    ceilings(backoff, 5)
    backoff.reset()
    assert (backoff.failures, backoff.next_s()) == (0, 1.0)

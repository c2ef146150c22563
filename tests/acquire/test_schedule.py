from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Point, PointGroup
from gateway.schedule import Schedule, stagger


def group(period_s: float, device: str = "belt") -> PointGroup:
    return PointGroup(device, period_s, (Point("speed"),))


def test_deadlines_are_absolute_so_a_late_read_does_not_move_the_next_one() -> None:
    schedule = Schedule([(group(1.0), 0.5)], now_s=100.0)
    assert schedule.next_s == 100.5
    schedule.take(100.95)
    assert schedule.next_s == 101.5


def test_ticks_that_passed_unread_are_counted_and_dropped() -> None:
    schedule = Schedule([(group(0.5), 0.0)], now_s=0.0)
    due = schedule.take(1.75)
    assert (due.missed, due.lateness_s) == (3, 1.75)
    assert schedule.next_s == 2.0


def test_groups_come_in_the_order_of_their_deadlines() -> None:
    fast, slow = group(0.25), group(1.0)
    schedule = Schedule([(slow, 0.1), (fast, 0.3)], now_s=0.0)
    order = [schedule.take(schedule.next_s).group for _ in range(6)]
    assert order == [fast, slow, fast, fast, fast, fast]


def test_a_long_period_does_not_delay_the_first_read_beyond_a_second() -> None:
    schedule = Schedule([(group(3600.0), 0.99)], now_s=0.0)
    assert schedule.next_s <= 1.0


def test_after_an_outage_the_grid_is_kept_and_nothing_counts_as_missed() -> None:
    schedule = Schedule([(group(1.0), 0.5)], now_s=0.0)
    schedule.skip_to(60.2)
    assert schedule.next_s == 60.5
    assert schedule.take(60.5).missed == 0


def test_after_an_outage_a_long_period_that_was_due_is_read_within_a_second() -> None:
    schedule = Schedule([(group(3600.0), 0.5)], now_s=0.0)
    schedule.skip_to(5.0)
    assert schedule.next_s == 5.5
    schedule.take(5.5)
    schedule.skip_to(60.0)
    assert schedule.next_s == 3605.5


def test_skipping_leaves_future_deadlines_alone() -> None:
    schedule = Schedule([(group(1.0), 0.5)], now_s=0.0)
    schedule.skip_to(0.1)
    assert schedule.next_s == 0.5


@given(first=st.integers(0, 100_000), now_s=st.floats(0.0, 1e6))
def test_a_hundred_devices_in_a_row_start_ten_at_a_time(first: int, now_s: float) -> None:
    starts = Counter(
        round(Schedule([(group(1.0), stagger(index))], now_s=now_s).next_s % 1.0, 6) % 1.0
        for index in range(first, first + 100)
    )
    assert len(starts) == 10
    assert max(starts.values()) <= 12


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_links_that_start_at_different_times_share_their_instants(one_s: float, other_s: float) -> None:
    one, other = (Schedule([(group(0.5), 0.3)], now_s=now_s).next_s for now_s in (one_s, other_s))
    assert abs((one - other) / 0.5 - round((one - other) / 0.5)) < 1e-6


@given(
    periods=st.lists(st.floats(0.01, 10.0), min_size=1, max_size=5),
    waits=st.lists(st.floats(0.0, 30.0), max_size=50),
)
def test_every_tick_is_either_taken_or_counted_as_missed(periods: list[float], waits: list[float]) -> None:
    groups = [group(period) for period in periods]
    schedule = Schedule([(g, 0.0) for g in groups], now_s=0.0)
    ticks = dict.fromkeys(groups, 0)
    now_s = 0.0
    for wait_s in waits:
        now_s = max(now_s, schedule.next_s) + wait_s
        due = schedule.take(now_s)
        ticks[due.group] += 1 + due.missed
        assert schedule.next_s - now_s <= max(periods) + 1e-9
    for g in groups:
        assert ticks[g] <= now_s / g.period_s + 1 + 1e-6

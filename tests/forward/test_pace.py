from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import StoredReading
from gateway.forward.pace import (
    FIRST_WINDOW,
    LEAST_WINDOW,
    MOST_WINDOW,
    HistoryWindow,
    TokenBucket,
    chunk_after,
    messages,
    turn_is_over,
    values_in,
)

INFEED, OUTFEED = (PointGroup(device, 1.0, (Point("a"), Point("b"))) for device in ("infeed", "outfeed"))


def stored(*groups):
    return [StoredReading(position, Reading(group, 0, (1, None))) for position, group in enumerate(groups, 1)]


def test_one_seconds_worth_goes_at_once_and_then_the_rate_holds():
    bucket = TokenBucket(100)
    assert [round(bucket.delay_s(50, now_s=1000.0), 9) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_the_bucket_holds_no_more_than_one_seconds_worth():
    bucket = TokenBucket(100)
    bucket.delay_s(1, now_s=0.0)
    assert [round(bucket.delay_s(100, now_s=3600.0), 9) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_an_amount_larger_than_the_bucket_goes_and_is_owed():
    bucket = TokenBucket(100)
    assert bucket.delay_s(1000, now_s=0.0) == 0.0
    assert round(bucket.delay_s(1, now_s=0.0), 9) == 9.0


@given(
    rate=st.integers(1, 100_000),
    steps=st.lists(st.tuples(st.integers(1, 500), st.floats(0, 2)), min_size=1, max_size=100),
)
def test_nothing_ever_goes_faster_than_rate_and_burst_allow(rate, steps):
    bucket, now_s, gone, largest = TokenBucket(rate), 0.0, 0, 0
    for amount, idle_s in steps:
        now_s += idle_s
        now_s += bucket.delay_s(amount, now_s=now_s)
        assert gone <= rate * (now_s + 1.0) + largest + 1e-6
        gone += amount
        largest = max(largest, amount)


def test_without_a_batch_every_reading_is_a_message():
    items = stored(INFEED, INFEED, OUTFEED)
    assert [list(message) for message in messages(items, batch=1)] == [[item] for item in items]


def test_a_batch_takes_readings_of_one_device_in_order_and_does_not_wait_for_more():
    items = stored(INFEED, OUTFEED, INFEED, INFEED, OUTFEED, INFEED)
    cut = [[item.position for item in message] for message in messages(items, batch=3)]
    assert cut == [[1, 3, 4], [2, 5], [6]]


def test_values_are_counted_without_those_that_are_absent():
    assert values_in(stored(INFEED, OUTFEED)) == 2


def test_a_reading_without_values_counts_as_one():
    assert values_in([StoredReading(1, Reading(INFEED, 0, (None, None)))]) == 1


def answered(window, *waits_s, now_s=0.0):
    """Each answer comes as soon as it can after the one before."""
    for waited_s in waits_s:
        now_s += waited_s
        window.answered(waited_s, now_s=now_s)
    return now_s


@pytest.mark.parametrize("distance_s", [0.001, 0.3], ids=["near", "far"])
def test_history_takes_the_whole_window_of_a_broker_that_stays_as_quick_as_it_was(distance_s):
    window = HistoryWindow()
    answered(window, *[distance_s + 0.01, distance_s] * 20)
    assert window.messages == MOST_WINDOW


def test_history_gives_way_when_answers_take_longer_than_they_did_and_never_stops():
    window = HistoryWindow()
    now_s = answered(window, *[0.002] * 40)
    now_s = answered(window, 0.05, now_s=now_s)
    assert MOST_WINDOW / 2 < window.messages < MOST_WINDOW
    now_s = answered(window, *[0.1] * 40, now_s=now_s)
    assert window.messages == LEAST_WINDOW
    answered(window, *[0.002] * 80, now_s=now_s)
    assert window.messages == MOST_WINDOW


def test_answers_that_come_together_count_once():
    window = HistoryWindow()
    window.answered(0.001, now_s=10.0)
    before = window.messages
    for _ in range(100):
        window.answered(0.5, now_s=11.0)
    assert before > window.messages > before / 2 > FIRST_WINDOW / 4


def test_a_turn_ends_by_values_and_by_messages():
    assert not turn_is_over(1000, 1)
    assert turn_is_over(2000, 1)
    assert turn_is_over(20, 20)


def test_fewer_readings_are_taken_at_once_the_larger_they_are():
    wide = PointGroup("wide", 1.0, tuple(Point(f"p{n}") for n in range(1000)))
    assert chunk_after([StoredReading(1, Reading(wide, 0, (1,) * 1000))] * 10) == 10
    assert chunk_after([StoredReading(1, Reading(INFEED, 0, (1, 2)))] * 10) == 100
    assert chunk_after([]) == 100
    assert chunk_after([StoredReading(1, Reading(wide, 0, (1,) * 90000))]) == 1

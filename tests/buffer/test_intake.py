"""The queue in front of the disk, and the memory behind it."""

from __future__ import annotations

from drivers.model import Point, PointGroup, Reading
from drivers.settings import Priority
from gateway.buffer.eras import Era
from gateway.buffer.intake import Intake
from gateway.buffer.tail import Tail
from gateway.buffer.weight import memory_bytes
from gateway.config import WhenFull

GROUP = PointGroup("device", 1.0, (Point("a"), Point("b")))
ERA = Era("boot", 0, 0)
WEIGHT = memory_bytes(Reading(GROUP, 0, (0, 0)))


def reading(number: int) -> Reading:
    return Reading(GROUP, number, (number, number))


def test_readings_leave_in_the_order_of_arrival() -> None:
    intake = Intake(WhenFull.DROP_OLDEST)
    for number in range(5):
        intake.put(reading(number), Priority.NORMAL, ERA)
    taken = [intake.pop() for _ in range(3)] + intake.empty()
    assert [entry.reading.observed_at_ns for entry in taken] == [0, 1, 2, 3, 4]


def test_a_full_queue_drops_the_oldest_of_the_lowest_priority() -> None:
    intake = Intake(WhenFull.DROP_OLDEST, most_bytes=10 * WEIGHT)
    dropped: list[Reading] = []
    for number, priority in enumerate([Priority.HIGH, Priority.NORMAL, Priority.LOW] * 4):
        dropped += intake.put(reading(number), priority, ERA)
    assert [one.observed_at_ns for one in dropped] == [2, 5]
    kept = [entry.reading.observed_at_ns for entry in intake.empty()]
    assert kept == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]


def test_a_full_queue_refuses_the_newest_when_told_so() -> None:
    intake = Intake(WhenFull.DROP_NEWEST, most_bytes=10 * WEIGHT)
    dropped = [one.observed_at_ns for number in range(12) for one in intake.put(reading(number), Priority.LOW, ERA)]
    assert dropped == [10, 11]
    assert len(intake) == 10


def test_everything_that_was_accepted_leaves_once() -> None:
    intake = Intake(WhenFull.DROP_OLDEST, most_bytes=10 * WEIGHT)
    for number in range(50):
        intake.put(reading(number), Priority.NORMAL, ERA)
    intake.empty()
    assert intake.appended == intake.left == 50


def test_long_texts_take_more_room() -> None:
    intake, tail = Intake(WhenFull.DROP_OLDEST, most_bytes=100_000), Tail(0, most_bytes=100_000)
    long = [Reading(GROUP, number, ("x" * 8_000, number)) for number in range(50)]
    dropped = [one.observed_at_ns for reading in long for one in intake.put(reading, Priority.NORMAL, ERA)]
    tail.extend(long)
    assert 10 <= len(intake) <= 12
    assert len(dropped) + len(intake) == 50
    assert [one.position for one in tail.within(1, 50)] == list(range(tail.first, 51))
    assert 38 <= tail.first <= 40


def test_the_tail_keeps_the_newest_only() -> None:
    tail = Tail(10, most_bytes=3 * WEIGHT)
    tail.extend(reading(number) for number in range(5))
    assert (tail.first, tail.end) == (13, 16)
    assert [one.position for one in tail.within(1, 14)] == [13, 14]


def test_the_tail_forgets_what_was_dropped_and_what_nobody_needs() -> None:
    tail = Tail(0)
    tail.extend(reading(number) for number in range(8))
    tail.forget([1, 6, 99])
    tail.forget_before(4)
    assert [one.position for one in tail.within(1, 99)] == [4, 5, 7, 8]
    tail.forget_before(99)
    assert (tail.first, tail.end) == (9, 9)
    tail.extend([reading(8)])
    assert [one.position for one in tail.within(1, 99)] == [9]

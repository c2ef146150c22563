"""Devices with several poll groups of which some do not answer: who is read, who is told to be bad, what it costs."""

from __future__ import annotations

import itertools
import logging

import pytest

from drivers.model import Point, PointGroup, Reason
from gateway.acquire.breaker import FIRST_RETRY_S, Breaker
from tests.acquire.bench import Answer, Bench, answers, buggy, garbled, silent
from tests.plugins.virtual_time import VirtualTime


def during(fault: Answer, first_s: float, last_s: float) -> Answer:
    """A group that answers except in these seconds from the start."""
    return lambda now_s: fault(now_s) if first_s <= now_s - 1000.0 < last_s else 1.0


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log, without its reasons and figures."""
    return [record.getMessage().partition(":")[0].partition(" after ")[0] for record in caplog.records]


@pytest.mark.parametrize("fault", [garbled, silent, buggy])
@pytest.mark.parametrize("period_s", [0.25, 3.0])
def test_a_group_that_never_answers_costs_the_other_group_nothing(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture, fault: Answer, period_s: float
) -> None:
    bench = Bench({"belt/wrong": fault, "belt/right": answers}, periods_s={"belt/wrong": period_s})
    with caplog.at_level(logging.INFO, "gateway.acquire"):
        virtual_time.run(bench.run_for(599.9))
    health = bench.health["belt"]
    assert bench.bad_readings("belt/right") == []
    assert len(bench.times_s("belt/right")) in {600, 601}, "at every tick, and once while the unit was in doubt"
    assert len(bench.bad_readings("belt/wrong")) == 1
    assert len(bench.times_s("belt/wrong")) < 45, "it must be probed ever more rarely"
    assert (health.up, health.missed, health.reconnects, bench.sessions) == (True, 0, 0, 1)
    assert sorted(record.levelname for record in caplog.records) == ["INFO", "WARNING"], "up, and one group is not"


def test_a_group_that_answers_again_is_told_and_read_on_its_grid(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench({"belt/tired": during(silent, 100.0, 300.0), "belt/right": answers}, periods_s={"belt/right": 2.0})
    with caplog.at_level(logging.WARNING, "gateway.acquire"):
        virtual_time.run(bench.run_for(500.0))
    assert told(caplog) == ["belt", "belt every 1 s is read again"]
    last_ten = bench.times_s("belt/tired")[-10:]
    assert [b - a for a, b in itertools.pairwise(last_ten)] == pytest.approx([1.0] * 9)


def test_a_unit_that_dies_costs_one_timeout_for_each_group_and_then_one_probe_at_a_time(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    groups = {f"dying/{number}": during(silent, 100.0, 1e9) for number in range(5)}
    bench = Bench({"alive": answers, **groups}, periods_s={"dying/3": 60.0, "dying/4": 3600.0})
    with caplog.at_level(logging.WARNING, "gateway.acquire"):
        virtual_time.run(bench.run_for(700.0))
    timeouts = [(now_s - 1000.0, name) for now_s, name in bench.reads if name in groups and now_s >= 1100.0]
    assert sorted(name for _, name in timeouts[:5]) == sorted(groups)
    assert timeouts[4][0] < 110.0, "it must soon be known to be dead, also with a group that is read once an hour"
    assert len(timeouts) < 5 + 45
    assert bench.health["alive"].readings == 700
    assert bench.health["alive"].missed < 5
    assert [len(bench.bad_readings(name)) for name in groups] == [1] * 5
    assert told(caplog) == ["dying"] * 4 + ["dying is down"]


def test_a_unit_of_which_one_group_never_answers_is_found_to_be_back(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(
        {"belt/never": silent, "belt/back": during(silent, 100.0, 400.0), "other": answers},
        periods_s={"belt/never": 0.25},
    )
    with caplog.at_level(logging.WARNING, "gateway.acquire"):
        virtual_time.run(bench.run_for(899.9))
    back = [time_s for time_s in bench.times_s("belt/back") if time_s >= 400.0]
    assert back[0] < 400.0 + 2 * 60.0 + 2.0, "every second probe, and one a minute at least, is for this group"
    assert [b - a for a, b in itertools.pairwise(back[5:])] == pytest.approx([1.0] * (len(back) - 6), abs=0.6)
    assert told(caplog) == ["belt", "belt is down", "belt is up again"]
    assert bench.health["belt"].missed < 5


def test_one_wrong_answer_does_not_take_a_unit_down_of_which_another_group_never_answers(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench({"belt/never": silent, "belt/right": during(garbled, 100.0, 100.6)})
    with caplog.at_level(logging.WARNING, "gateway.acquire"):
        virtual_time.run(bench.run_for(200.0))
    assert len(bench.bad_readings("belt/right")) == 1
    assert told(caplog) == ["belt", "belt"]


def test_a_link_on_which_one_group_answers_is_not_connected_anew(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt/never": garbled, "belt/right": answers, "dead": silent}, periods_s={"belt/right": 10.0})
    virtual_time.run(bench.run_for(600.0))
    assert bench.sessions == 1
    assert not bench.health["dead"].up


def test_a_dead_unit_is_given_three_attempts_on_each_new_connection_however_many_groups_it_has(
    virtual_time: VirtualTime,
) -> None:
    bench = Bench({f"dead/{number}": silent for number in range(7)})
    virtual_time.run(bench.run_for(3600.0))
    assert bench.sessions > 5
    assert len(bench.reads) <= 7 + 3 * bench.sessions


GROUPS = [PointGroup("belt", period_s, (Point("speed"),)) for period_s in (1.0, 2.0)]


@pytest.fixture
def long_dead() -> Breaker:
    """That of a device of which both groups have been silent again and again."""
    breaker = Breaker(GROUPS)
    for _ in range(20):
        for group in GROUPS:
            breaker.failed(group, Reason.TIMEOUT, now_s=0.0)
    assert breaker.is_down
    assert not any(map(breaker.may_read, GROUPS))
    return breaker


def test_when_one_group_of_a_dead_unit_answers_all_are_read_again(long_dead: Breaker) -> None:
    long_dead.answered(GROUPS[0])
    assert all(map(long_dead.may_read, GROUPS))


def test_back_off_begins_anew_after_an_answer(long_dead: Breaker) -> None:
    for group in GROUPS:
        long_dead.answered(group)
    for group in GROUPS:
        long_dead.failed(group, Reason.TIMEOUT, now_s=0.0)
    assert long_dead.probe(GROUPS[0], now_s=FIRST_RETRY_S) is GROUPS[0]

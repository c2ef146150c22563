"""The supervisor of a link, against a driver that does as the test says, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from drivers.model import Point, PointGroup, Reading, Reason, all_bad
from tests.acquire.bench import Bench, answers, buggy, garbled, gone, owing, silent
from tests.plugins.virtual_time import VirtualTime


def test_a_device_is_read_on_its_grid_and_its_readings_are_appended(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt": answers})
    virtual_time.run(bench.run_for(9.5))
    assert [now_s for now_s, _ in bench.reads] == pytest.approx([1000.0 + n for n in range(10)])
    assert len(bench.appended) == 10
    assert bench.health["belt"].up
    assert (bench.health["belt"].readings, bench.health["belt"].values, bench.health["belt"].missed) == (10, 10, 0)


def test_a_read_that_takes_longer_than_its_period_misses_ticks_and_never_queues(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt": answers}, periods_s={"belt": 0.2})
    original = bench.read

    async def slow_read(group: PointGroup) -> Reading:
        await asyncio.sleep(0.5)
        return await original(group)

    bench.read = slow_read  # type: ignore[method-assign]
    virtual_time.run(bench.run_for(10.1))
    health = bench.health["belt"]
    assert health.readings == 20
    assert 48 <= health.readings + health.missed <= 51


def test_a_device_that_was_not_asked_has_missed_a_tick_and_not_failed(virtual_time: VirtualTime) -> None:
    """A frame that noise has spoilt, after which a late answer has to be waited for."""

    def spoilt_once(now_s: float) -> float:
        tick = round(now_s - 1000.0)
        return garbled(now_s) if tick == 3 else owing(now_s) if tick in (4, 5) else 1.0

    bench = Bench({"belt": spoilt_once})
    virtual_time.run(bench.run_for(9.5))
    health = bench.health["belt"]
    assert [reading.values for reading in bench.appended] == [(1.0,)] * 3 + [(None,)] + [(1.0,)] * 4
    assert (health.up, health.readings, health.missed, health.errors["bad-response"]) == (True, 7, 2, 1)
    assert health.errors["timeout"] == 0


def test_a_lost_link_turns_its_devices_bad_once_and_is_connected_again(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    outage = (1010.0, 1130.0)
    bench = Bench({"belt": lambda now_s: gone(now_s) if outage[0] <= now_s < outage[1] else 1.0})
    with caplog.at_level(logging.INFO, "gateway.acquire"):
        virtual_time.run(bench.run_for(300.0))
    assert [str(reading.quality[0]) for reading in bench.bad_readings("belt")] == ["bad:comm-failure"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "belt is up",
        "belt is down",
        caplog.records[-1].getMessage(),
    ]
    assert caplog.records[-1].getMessage().startswith("belt is up again after 1")
    assert "is it powered?" in caplog.records[1].getMessage()
    assert bench.open_sessions == 0
    assert bench.health["belt"].up
    assert bench.health["belt"].reconnects == bench.sessions - 1 < 30
    assert bench.health["belt"].missed == 0


def test_a_link_that_cannot_be_made_is_bad_and_backs_off(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt": answers}, connecting=lambda: gone(0.0) and None)
    virtual_time.run(bench.run_for(3600.0))
    health = bench.health["belt"]
    assert len(bench.bad_readings("belt")) == 1
    assert (health.up, health.reason) == (False, "comm-failure")
    assert "is it powered?" in health.detail
    assert 60 <= health.errors["comm-failure"] <= 250


def test_a_dead_unit_costs_the_others_its_timeout_then_ever_rarer_probes(virtual_time: VirtualTime) -> None:
    bench = Bench({"alive": answers, "dead": silent})
    virtual_time.run(bench.run_for(600.0))
    probes = [now_s for now_s, device in bench.reads if device == "dead"]
    assert len(probes) < 45, "a dead unit must be probed ever more rarely"
    assert bench.health["alive"].readings == 600
    assert bench.health["alive"].missed == 0
    assert bench.sessions == 1
    assert [str(reading.quality[0]) for reading in bench.bad_readings("dead")] == ["bad:timeout"]


def test_a_dead_unit_that_comes_back_is_read_on_its_grid_again(virtual_time: VirtualTime) -> None:
    bench = Bench({"alive": answers, "tired": lambda now_s: silent(now_s) if now_s < 1100 else 1.0})
    virtual_time.run(bench.run_for(300.0))
    assert bench.health["tired"].up
    last_ten = [now_s for now_s, device in bench.reads if device == "tired"][-10:]
    assert [b - a for a, b in itertools.pairwise(last_ten)] == pytest.approx([1.0] * 9)


def test_when_nothing_on_a_link_answers_the_link_is_connected_anew(virtual_time: VirtualTime) -> None:
    bench = Bench({"one": silent, "two": silent})
    virtual_time.run(bench.run_for(120.0))
    assert bench.sessions >= 2
    assert not bench.health["one"].up


def test_one_wrong_answer_is_one_bad_reading_and_the_device_stays_up(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt": lambda now_s: garbled(now_s) if 1004.5 < now_s < 1005.5 else 1.0})
    virtual_time.run(bench.run_for(9.5))
    assert len(bench.bad_readings("belt")) == 1
    assert bench.health["belt"].errors == {"bad-response": 1}
    assert bench.health["belt"].readings == 9
    assert bench.health["belt"].up


def test_wrong_answers_in_a_row_take_the_device_down(virtual_time: VirtualTime) -> None:
    bench = Bench({"alive": answers, "confused": garbled})
    virtual_time.run(bench.run_for(60.0))
    health = bench.health["confused"]
    assert (health.up, health.reason) == (False, "bad-response")
    assert len(bench.bad_readings("confused")) == 1
    assert health.errors["bad-response"] < 20


def test_a_link_that_answers_wrongly_for_an_hour_is_told_once(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench({"confused": garbled})
    virtual_time.run(bench.run_for(3600.0))
    assert bench.sessions > 10
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["confused", "confused is down"]


def test_a_bug_in_a_driver_faults_that_device_with_a_traceback_and_no_other(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench({"sound": answers, "faulty": buggy})
    virtual_time.run(bench.run_for(60.0))
    assert bench.health["sound"].readings == 60
    assert bench.health["faulty"].reason == "driver-fault"
    faults = [record for record in caplog.records if record.exc_info]
    assert len(faults) == 1
    assert "off by one" in faults[0].getMessage()


def test_a_bug_while_connecting_faults_the_link_and_does_not_end_the_supervisor(virtual_time: VirtualTime) -> None:
    bench = Bench({"belt": answers}, connecting=lambda: buggy(0.0) and None)
    virtual_time.run(bench.run_for(60.0))
    assert bench.health["belt"].reason == "driver-fault"


def test_a_lost_group_is_told_with_its_reason_for_every_point() -> None:
    group = PointGroup("belt", 1.0, (Point("speed"), Point("current")))
    reading = all_bad(group, 5, Reason.TIMEOUT)
    assert reading.values == (None, None)
    assert {index: str(quality) for index, quality in reading.quality.items()} == {0: "bad:timeout", 1: "bad:timeout"}

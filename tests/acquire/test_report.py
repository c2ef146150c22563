from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import ALL_GOOD, Point, PointGroup, Quality, Reading, Value, all_bad, bad, uncertain
from drivers.settings import Report
from gateway.report import Reporter, merged

GROUP = PointGroup("belt", 1.0, (Point("speed", deadband=0.01), Point("running"), Point("mode")))


def reading(*values: Value, quality: dict[int, Quality] | None = None) -> Reading:
    return Reading(GROUP, 1, values, quality or ALL_GOOD)


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(GROUP, report=Report.ON_CHANGE, heartbeat_s=60.0)


def test_the_first_reading_is_reported_whole(reporter: Reporter) -> None:
    first = reading(1.0, True, "auto")
    assert reporter.reportable(first, now_s=0.0) is first


def test_nothing_is_reported_while_nothing_changes(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    assert reporter.reportable(reading(1.0, True, "auto"), now_s=1.0) is None


def test_only_what_changed_is_reported(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    sparse = reporter.reportable(reading(1.0, False, "auto"), now_s=1.0)
    assert sparse is not None
    assert sparse.values == (None, False, None)
    assert not sparse.quality


def test_a_move_of_exactly_the_deadband_is_not_reported_and_one_beyond_is(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    assert reporter.reportable(reading(1.01, True, "auto"), now_s=1.0) is None
    assert reporter.reportable(reading(1.011, True, "auto"), now_s=2.0) is not None


def test_a_slow_drift_is_measured_from_what_was_last_reported(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    reported = [reporter.reportable(reading(1.0 + 0.004 * n, True, "auto"), now_s=n) for n in range(1, 7)]
    assert [r is not None for r in reported] == [False, False, True, False, False, True]


def test_all_of_the_group_is_reported_at_the_heartbeat(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    assert reporter.reportable(reading(1.0, True, "auto"), now_s=59.0) is None
    whole = reading(1.0, True, "auto")
    assert reporter.reportable(whole, now_s=60.0) is whole


@pytest.mark.parametrize(("period_s", "heartbeat_s", "ticks"), [(1.0, 60.0, 60), (60.0, 60.0, 1), (0.25, 1.0, 4)])
def test_a_tick_that_comes_early_does_not_put_the_heartbeat_off_to_the_next(
    period_s: float, heartbeat_s: float, ticks: int
) -> None:
    group = PointGroup("belt", period_s, GROUP.points)
    reporter = Reporter(group, report=Report.ON_CHANGE, heartbeat_s=heartbeat_s)
    late_s = [0.004, 0.001, 0.003, 0.0, 0.002]
    state = Reading(group, 1, (1.0, True, "auto"), ALL_GOOD)
    reported = [
        tick
        for tick in range(4 * ticks + 1)
        if reporter.reportable(state, now_s=tick * period_s + late_s[tick % len(late_s)]) is not None
    ]
    assert reported == [0, ticks, 2 * ticks, 3 * ticks, 4 * ticks]


def test_a_point_that_turns_bad_and_good_again_is_reported_both_times(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    turned_bad = reporter.reportable(reading(None, True, "auto", quality={0: bad("not-a-number")}), now_s=1.0)
    assert turned_bad is not None
    assert (turned_bad.values, turned_bad.quality) == ((None, None, None), {0: bad("not-a-number")})
    still_bad = reporter.reportable(reading(None, True, "auto", quality={0: bad("not-a-number")}), now_s=2.0)
    assert still_bad is None
    good = reporter.reportable(reading(1.0, True, "auto"), now_s=3.0)
    assert good is not None
    assert good.values == (1.0, None, None)


def test_a_change_of_quality_alone_reports_the_value_with_it(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    doubtful = reporter.reportable(reading(1.0, True, "auto", quality={0: uncertain("clock-unset")}), now_s=1.0)
    assert doubtful is not None
    assert doubtful.values == (1.0, None, None)
    assert str(doubtful.quality[0]) == "uncertain:clock-unset"


def test_a_lost_device_is_reported_once(reporter: Reporter) -> None:
    reporter.reportable(reading(1.0, True, "auto"), now_s=0.0)
    lost = all_bad(GROUP, 2, "timeout")
    assert reporter.reportable(lost, now_s=1.0) is lost
    assert reporter.reportable(all_bad(GROUP, 3, "timeout"), now_s=2.0) is None


def test_every_read_reports_what_was_read() -> None:
    reporter = Reporter(GROUP, report=Report.EVERY_READ, heartbeat_s=60.0)
    same = reading(1.0, True, "auto")
    assert [reporter.reportable(same, now_s=n) for n in range(3)] == [same] * 3


@pytest.mark.parametrize("report", Report)
def test_what_a_part_left_out_is_not_reported_at_its_instant_even_at_the_heartbeat(report: Report) -> None:
    reporter = Reporter(GROUP, report=report, heartbeat_s=60.0)
    lost = all_bad(GROUP, 10, "comm-failure")
    reporter.reportable_part(lost, lost, now_s=0.0)
    part = Reading(GROUP, 2, (None, None, "auto"))
    reported = reporter.reportable_part(part, merged(lost, part), now_s=60.0)
    assert reported == part
    assert reporter.all_due_s == 59.5  # half a period before the heartbeat


def test_a_part_that_leaves_nothing_out_is_the_whole_state(reporter: Reporter) -> None:
    state = reading(1.0, True, "auto")
    reporter.reportable_part(state, state, now_s=0.0)
    whole = reading(1.0, None, "auto", quality={1: bad("timeout")})
    assert merged(state, whole) is whole
    assert reporter.reportable_part(whole, whole, now_s=60.0) is whole
    assert reporter.all_due_s == 119.5


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["a", "b"])), min_size=1, max_size=60))
def test_a_receiver_that_applies_the_reports_always_has_the_current_values(
    reads: list[tuple[int, bool, str]],
) -> None:
    group = PointGroup("belt", 1.0, (Point("count"), Point("running"), Point("mode")))
    reporter = Reporter(group, report=Report.ON_CHANGE, heartbeat_s=10.0)
    known: list[Value] = [None, None, None]
    for now_s, values in enumerate(reads):
        reported = reporter.reportable(Reading(group, now_s, values), now_s=float(now_s))
        for index, value in enumerate(reported.values if reported else ()):
            known[index] = known[index] if value is None else value
        assert tuple(known) == values

"""The physics: what must hold for every line and every interference, and what one conveyor does."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulators.conveyor import Conveyor, ConveyorSpec, Jams
from simulators.hub import Hub, HubSpec, LineSpec
from simulators.machine import GAP_M, STEP_S, Parcel

ROUNDING_M = 1e-9

conveyor_lengths = st.lists(st.floats(1.2, 8.0), min_size=1, max_size=4)
interferences = st.lists(
    st.tuples(
        st.floats(0.0, 8.0),
        st.integers(0, 3),
        st.sampled_from(["jam", "jam briefly", "clear", "stop", "run", "slow", "fast"]),
    ),
    max_size=20,
)


def line(*lengths_m: float, seed: int = 1, jam_chance: float = 0.0, arrivals_per_hour: float = 3600.0) -> Hub:
    specs = [ConveyorSpec(f"c{index}", length_m, 1000) for index, length_m in enumerate(lengths_m)]
    built = LineSpec("line", specs, arrivals_per_hour=arrivals_per_hour, jams=Jams(jam_chance))
    return Hub(HubSpec([built]), seed=seed)


def run(hub: Hub, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        hub.step(STEP_S)


def run_until(hub: Hub, conveyor: Conveyor, fact: str) -> None:
    for _ in range(2000):
        if getattr(conveyor, fact):
            return
        hub.step(STEP_S)
    raise AssertionError(f"{conveyor.name} never became {fact} within 100 s")


def interfere(conveyor: Conveyor, how: str) -> None:
    match how:
        case "jam":
            conveyor.jam()
        case "jam briefly":
            conveyor.jam(clear_after_s=2.0)
        case "clear":
            conveyor.clear()
        case "stop" | "run":
            conveyor.run = how == "run"
        case "slow" | "fast":
            conveyor.setpoint_mm_s = 150 if how == "slow" else 2500


def along_the_line(hub: Hub) -> list[tuple[float, Parcel]]:
    """Every parcel with where its machine begins, from the dock to the chute."""
    starts_m, found = 0.0, []
    for conveyor in hub.conveyors.values():
        found += [(starts_m, parcel) for parcel in reversed(conveyor.parcels)]
        starts_m += conveyor.length_m
    return found + [(starts_m, parcel) for parcel in reversed(hub.lines[0].discharge.parcels)]


@settings(max_examples=60, deadline=None)
@given(conveyor_lengths, interferences, st.integers(0, 1000), st.floats(0.0, 0.3))
def test_parcels_keep_their_distance_their_order_and_their_number_whatever_happens(
    lengths_m: list[float], plan: list[tuple[float, int, str]], seed: int, jam_chance: float
) -> None:
    hub = line(*lengths_m, seed=seed, jam_chance=jam_chance)
    conveyors = list(hub.conveyors.values())
    for wait_s, which, how in plan:
        run(hub, wait_s)
        interfere(conveyors[which % len(conveyors)], how)
        parcels = along_the_line(hub)
        ids = [parcel.id for _, parcel in parcels]
        assert ids == list(range(hub.entered, hub.gone, -1))
        for (start_m, follower), (ahead_start_m, leader) in pairwise(parcels):
            assert ahead_start_m + leader.rear_m - (start_m + follower.front_m) >= GAP_M - ROUNDING_M
        for conveyor in conveyors:
            assert all(0 <= parcel.front_m <= conveyor.length_m for parcel in conveyor.parcels)
            assert conveyor.counters.arrivals - conveyor.counters.departures == len(conveyor.parcels)
            assert conveyor.current_a >= 0
            assert 0 <= conveyor.speed_m_s <= 2.5


@settings(max_examples=20, deadline=None)
@given(conveyor_lengths, interferences, st.integers(0, 1000))
@example([2.0, 3.0, 2.0], [(0.0, 1, "fast"), (0.0, 2, "stop"), (6.0, 0, "jam")], 0)
def test_a_line_whose_faults_are_cleared_empties_itself(
    lengths_m: list[float], plan: list[tuple[float, int, str]], seed: int
) -> None:
    hub = line(*lengths_m, seed=seed)
    conveyors = list(hub.conveyors.values())
    for wait_s, which, how in plan:
        run(hub, wait_s)
        interfere(conveyors[which % len(conveyors)], how)
    for conveyor in conveyors:
        for how in ("clear", "run", "fast"):
            interfere(conveyor, how)
    before = hub.entered
    run(hub, 60)
    assert hub.gone >= before


@given(st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_the_same_seed_gives_the_same_line(seed: int) -> None:
    first, second = (line(3.0, 2.0, seed=seed, jam_chance=0.1) for _ in range(2))
    for hub in (first, second):
        run(hub, 60)
    assert along_the_line(first) == along_the_line(second)
    assert [c.current_a for c in first.conveyors.values()] == [c.current_a for c in second.conveyors.values()]


def test_another_seed_gives_another_line() -> None:
    first, second = line(3.0, seed=1), line(3.0, seed=2)
    for hub in (first, second):
        run(hub, 20)
    assert along_the_line(first) != along_the_line(second)


def test_a_long_step_is_the_same_as_many_short_ones() -> None:
    long, short = line(3.0, 2.0), line(3.0, 2.0)
    long.step(10.0)
    run(short, 10.0)
    assert along_the_line(long) == along_the_line(short)


def test_the_belt_ramps_to_its_setpoint_and_stays_there() -> None:
    hub = line(3.0, arrivals_per_hour=1)
    belt = hub.conveyors["c0"]
    speeds = []
    for _ in range(40):
        hub.step(STEP_S)
        speeds.append(belt.speed_m_s)
    assert speeds == sorted(speeds)
    assert 0 < speeds[0] < 0.1
    assert belt.at_setpoint


def test_a_stopped_belt_comes_to_rest_and_feeds_nothing() -> None:
    hub = line(3.0, 3.0)
    belt = hub.conveyors["c0"]
    run(hub, 10)
    belt.run = False
    run(hub, 2)
    before = belt.counters.departures
    run(hub, 20)
    assert belt.speed_m_s == 0
    assert belt.counters.departures == before


def test_photo_eyes_are_blocked_exactly_while_a_parcel_covers_them() -> None:
    hub = line(4.0, 4.0, arrivals_per_hour=200)
    belt, after = hub.conveyors.values()
    seen = set()
    for _ in range(1200):
        hub.step(STEP_S)
        on_belt = [(parcel.rear_m, parcel.front_m) for parcel in belt.parcels]
        on_belt += [(4.0 + parcel.rear_m, 4.0 + parcel.front_m) for parcel in after.parcels]
        for blocked, eye_m in ((belt.entry_blocked, 0.15), (belt.exit_blocked, 3.85)):
            assert blocked == any(rear_m <= eye_m <= front_m for rear_m, front_m in on_belt)
            seen.add((eye_m, blocked))
    assert len(seen) == 4


def test_more_load_draws_more_current() -> None:
    def current_a(weight_kg: float) -> float:
        hub = line(4.0, arrivals_per_hour=1e-6)
        belt = hub.conveyors["c0"]
        run(hub, 5)
        belt.take(Parcel(id=100, length_m=0.4, weight_kg=weight_kg))
        run(hub, 2)
        return belt.current_a

    assert current_a(30.0) > current_a(1.0) + 0.2


def test_a_jam_is_seen_draws_current_trips_the_drive_and_stops_the_belt() -> None:
    hub = line(3.0, 3.0)
    belt = hub.conveyors["c0"]
    run(hub, 10)
    normal_a = belt.current_a
    belt.jam()
    run_until(hub, belt, "stuck")
    assert belt.exit_blocked
    run_until(hub, belt, "jammed")
    run_until(hub, belt, "tripped")
    assert belt.current_a > normal_a + 5
    run(hub, 5)
    assert belt.speed_m_s == 0
    assert math.isclose(belt.current_a, 0, abs_tol=0.01)
    assert belt.counters.jams == 1


def test_a_cleared_jam_lets_the_line_run_again() -> None:
    hub = line(3.0, 3.0)
    belt = hub.conveyors["c0"]
    belt.jam()
    run_until(hub, belt, "tripped")
    before = belt.counters.departures
    belt.clear()
    run(hub, 10)
    assert not belt.jammed
    assert not belt.tripped
    assert belt.counters.departures > before


def test_a_jam_can_clear_by_itself() -> None:
    hub = line(3.0)
    belt = hub.conveyors["c0"]
    belt.jam(clear_after_s=10)
    run_until(hub, belt, "jammed")
    run(hub, 10)
    assert not belt.jammed


def test_conveyors_before_a_jam_fill_up_and_rest_while_those_after_it_run_empty() -> None:
    hub = line(3.0, 3.0, 3.0)
    before, jammed, after = hub.conveyors.values()
    jammed.jam()
    run_until(hub, jammed, "tripped")
    run_until(hub, before, "accumulating")
    run(hub, 30)
    full = len(before.parcels)
    entered = hub.entered
    run(hub, 30)
    assert len(before.parcels) == full >= 3
    assert before.speed_m_s == 0
    assert hub.entered == entered
    assert after.parcels == []
    assert after.at_setpoint


def test_normal_load_never_trips_a_drive() -> None:
    hub = line(1.2, 2.0, 8.0, seed=3)
    for _ in range(12000):
        hub.step(STEP_S)
        assert not any(conveyor.tripped or conveyor.jammed for conveyor in hub.conveyors.values())


def test_a_power_cycle_forgets_the_counters_but_no_parcel() -> None:
    hub = line(3.0)
    belt = hub.conveyors["c0"]
    run(hub, 30)
    on_belt = len(belt.parcels)
    belt.power_cycle()
    assert (belt.counters.arrivals, belt.counters.departures, belt.counters.distance_m) == (0, 0, 0.0)
    assert len(belt.parcels) == on_belt

"""Scales as physics: how a load settles on the display, what is refused, and parcels weighed on the move."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulators.conveyor import ConveyorSpec
from simulators.faces import Load
from simulators.hub import Hub, HubSpec, LineSpec
from simulators.ledger import Entry, Event
from simulators.load_cell import STABLE_AFTER_S, CellSpec, LoadCell
from simulators.machine import STEP_S
from simulators.weighing import PlatformSpec, WeighBeltSpec

INTERVAL_KG = Decimal("0.005")


@pytest.fixture
def cell() -> LoadCell:
    return LoadCell("scale", CellSpec(Decimal(60), INTERVAL_KG), random=Random(1))


def rest(cell: LoadCell, load_kg: float, *, for_s: float = 3.0) -> LoadCell:
    for _ in range(round(for_s / STEP_S)):
        cell.step(load_kg, STEP_S)
    return cell


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 60), st.integers(0, 100))
@example(9.0, 69)  # the noise makes it unstable once more, just then
def test_a_load_at_rest_is_shown_within_an_interval_on_the_grid(load_kg: float, seed: int) -> None:
    cell = rest(LoadCell("scale", CellSpec(Decimal(60), INTERVAL_KG), random=Random(seed)), load_kg)
    if not cell.is_stable:
        rest(cell, load_kg, for_s=STABLE_AFTER_S + STEP_S)
    shown = cell.indication()
    assert shown.is_stable
    assert abs(float(shown.gross_kg) - load_kg) <= float(INTERVAL_KG)
    assert shown.gross_kg % INTERVAL_KG == 0
    assert shown.gross_kg.as_tuple().exponent == INTERVAL_KG.as_tuple().exponent


def test_a_load_that_comes_is_in_motion_before_it_is_stable(cell: LoadCell) -> None:
    rest(cell, 0.0)
    seen = []
    for _ in range(40):
        cell.step(12.34, STEP_S)
        seen.append(cell.indication())
    moving = [shown.is_stable for shown in seen].index(True)
    assert moving * STEP_S >= STABLE_AFTER_S
    assert all(shown.is_stable for shown in seen[moving:])
    assert len({shown.gross_kg for shown in seen[:moving]}) > 3
    assert abs(seen[moving].gross_kg - Decimal("12.340")) <= INTERVAL_KG


def test_overload_begins_nine_intervals_above_the_capacity_and_underload_twenty_below_zero(cell: LoadCell) -> None:
    for load_kg, load in ((60.03, Load.WITHIN), (60.06, Load.OVER), (-0.08, Load.WITHIN), (-0.12, Load.UNDER)):
        assert rest(cell, load_kg).indication().load is load


def test_tare_is_what_lies_there_and_net_the_rest(cell: LoadCell) -> None:
    assert rest(cell, 2.5).tare()
    tare_kg = cell.indication().tare_kg
    shown = rest(cell, 12.5).indication()
    assert abs(tare_kg - Decimal("2.5")) <= INTERVAL_KG
    assert shown.net_kg == shown.gross_kg - tare_kg
    cell.clear_tare()
    assert cell.indication().tare_kg == 0


@pytest.mark.parametrize("load_kg", [-0.05, 60.02])
def test_tare_is_refused_below_zero_and_above_the_capacity(cell: LoadCell, load_kg: float) -> None:
    assert not rest(cell, load_kg).tare()


def test_zero_takes_up_to_two_percent_of_the_capacity(cell: LoadCell) -> None:
    assert not rest(cell, 1.3).zero()
    assert rest(cell, 1.1).zero()
    assert abs(cell.indication().gross_kg) <= INTERVAL_KG
    assert abs(rest(cell, 11.1).indication().gross_kg - 10) <= INTERVAL_KG


def test_zero_and_tare_are_refused_in_motion(cell: LoadCell) -> None:
    rest(cell, 0.0)
    cell.step(1.0, STEP_S)
    assert not cell.zero()
    assert not cell.tare()


def test_a_power_cycle_forgets_zero_and_tare(cell: LoadCell) -> None:
    assert rest(cell, 1.0).zero()
    assert rest(cell, 3.0).tare()
    cell.power_cycle()
    shown = cell.indication()
    assert shown.tare_kg == 0
    assert abs(shown.gross_kg - 3) <= INTERVAL_KG


def weigh_line(*, speed_mm_s: int = 1000, seed: int = 1) -> tuple[Hub, list[Entry]]:
    belts = [
        ConveyorSpec("infeed", 3.0, 1000),
        ConveyorSpec("single", 3.0, 1000, release_gap_m=0.6),
        WeighBeltSpec("weigher", 2.0, speed_mm_s),
        ConveyorSpec("after", 4.0, 1200),
    ]
    hub = Hub(HubSpec([LineSpec("line", belts, arrivals_per_hour=3600)]), seed=seed)
    entries: list[Entry] = []
    hub.ledger.tell(entries.append)
    return hub, entries


def run(hub: Hub, seconds: float, *, after_each: Callable[[], None] = lambda: None) -> None:
    for _ in range(round(seconds / STEP_S)):
        hub.step(STEP_S)
        after_each()


def test_parcels_are_weighed_on_the_move_to_two_intervals() -> None:
    hub, entries = weigh_line()
    run(hub, 300)
    weighed = [entry.details for entry in entries if entry.event is Event.WEIGHED]
    assert len(weighed) > 100
    for details in weighed:
        assert details["shown_kg"] is not None
        assert abs(Decimal(str(details["shown_kg"])) - Decimal(str(details["weight_kg"]))) <= 2 * INTERVAL_KG


def test_one_parcel_at_a_time_lies_on_the_weigh_belt() -> None:
    hub, _ = weigh_line()
    weigher, after = hub.conveyors["weigher"], hub.conveyors["after"]

    def alone() -> None:
        assert len(weigher.parcels) <= 1
        assert not (weigher.parcels and after.tail_m < 0)

    run(hub, 120, after_each=alone)


def test_the_cell_carries_what_of_each_parcel_is_on_the_belt() -> None:
    hub, _ = weigh_line()
    weigher, cell, after = hub.conveyors["weigher"], hub.scales["weigher"], hub.conveyors["after"]
    seen = set()
    came_before: set[int] = set()

    def balanced() -> None:
        """A parcel that has come within this very step counts from the next one on."""
        on_belt = [p for p in weigher.parcels if p.id in came_before]
        came_before.update(p.id for p in weigher.parcels)
        here = [(p, min(p.front_m, p.length_m) / p.length_m) for p in on_belt]
        here += [(p, -p.rear_m / p.length_m) for p in after.parcels if p.rear_m < 0]
        seen.update("partly" if share < 1 else "wholly" for _, share in here)
        assert cell.load_kg == pytest.approx(sum(p.weight_kg * share for p, share in here))

    run(hub, 60, after_each=balanced)
    assert seen == {"partly", "wholly"}


def test_a_belt_that_is_too_fast_to_weigh_shows_nothing() -> None:
    hub, entries = weigh_line(speed_mm_s=2500)
    hub.conveyors["after"].setpoint_mm_s = 2500
    run(hub, 120)
    weighed = [entry.details["shown_kg"] for entry in entries if entry.event is Event.WEIGHED]
    assert None in weighed


@pytest.mark.parametrize("gap_m", [0.3, 0.6])
def test_a_singulator_keeps_parcels_apart(gap_m: float) -> None:
    belts = [
        ConveyorSpec("infeed", 3.0, 1000),
        ConveyorSpec("single", 3.0, 1000, release_gap_m=gap_m),
        ConveyorSpec("after", 6.0, 1000),
    ]
    hub = Hub(HubSpec([LineSpec("line", belts, arrivals_per_hour=7200)]), seed=1)
    after = hub.conveyors["after"]
    gaps: list[float] = []

    def measure() -> None:
        if after.counters.arrivals > len(gaps):
            ahead_m = after.parcels[-2].rear_m if len(after.parcels) > 1 else 6.0
            gaps.append(ahead_m - after.parcels[-1].front_m)

    run(hub, 120, after_each=measure)
    assert len(gaps) > 50
    step_m = 1.0 * STEP_S
    assert min(gaps) >= gap_m - step_m
    assert min(gaps) < gap_m + step_m


def test_loads_on_a_platform_come_and_go_and_are_in_the_ledger() -> None:
    hub = Hub(HubSpec(platforms=[PlatformSpec("counter", loads_per_hour=600)]), seed=3)
    entries: list[Entry] = []
    hub.ledger.tell(entries.append)
    run(hub, 600)
    events = [entry.event for entry in entries]
    assert events[::2] == [Event.LOADED] * len(events[::2])
    assert events[1::2] == [Event.UNLOADED] * len(events[1::2])
    assert len(events) > 20
    for entry in entries[1::2]:
        assert abs(Decimal(str(entry.details["shown_kg"])) - Decimal(str(entry.details["weight_kg"]))) <= INTERVAL_KG


def test_what_a_person_puts_on_a_scale_lies_there_besides_the_twins_own() -> None:
    hub, _ = weigh_line()
    hub.conveyors["infeed"].run = False
    cell = hub.scales["weigher"]
    cell.extra_kg = 5.0
    run(hub, 5)
    assert abs(cell.indication().gross_kg - 5) <= INTERVAL_KG

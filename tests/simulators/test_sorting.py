"""Sorters as physics: which chute a parcel goes to, what happens when one is full, and when the belt moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.conveyor import ConveyorSpec, Jams
from simulators.faces import PackCommand, PackState
from simulators.hub import Hub, HubSpec, LineSpec
from simulators.ledger import Entry, Event
from simulators.machine import GAP_M, STEP_S, Parcel
from simulators.portal import PortalBeltSpec
from simulators.sorter import STARVED_AFTER_S, Sorter, SorterSpec
from simulators.weighing import WeighBeltSpec

CHUTES = ("A", "B", "C", "rest")


def sorted_line(
    *,
    chutes: Sequence[str] = CHUTES,
    chute_capacity: int = 1000,
    emptied_after_s: float = 30.0,
    destinations: Sequence[str] = (),
    dead_tag_chance: float = 0.0,
    jam_chance: float = 0.0,
    arrivals_per_hour: float = 1200.0,
    seed: int = 1,
) -> tuple[Hub, Sorter, list[Entry]]:
    """A line with one of every machine."""
    belts = [
        ConveyorSpec("infeed", 3.0, 1000),
        ConveyorSpec("single", 3.0, 1000, release_gap_m=0.5),
        WeighBeltSpec("weigher", 2.0, 1000),
        PortalBeltSpec("portal", 3.0, 1000),
        ConveyorSpec("feeder", 3.0, 1200),
    ]
    sorter = SorterSpec("sorter", chutes, chute_capacity=chute_capacity, emptied_after_s=emptied_after_s)
    line = LineSpec(
        "line",
        belts,
        sorter,
        arrivals_per_hour=arrivals_per_hour,
        destinations=destinations,
        dead_tag_chance=dead_tag_chance,
        jams=Jams(jam_chance),
    )
    hub = Hub(HubSpec([line]), seed=seed)
    entries: list[Entry] = []
    hub.ledger.tell(entries.append)
    return hub, hub.sorters["sorter"], entries


def run(hub: Hub, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        hub.step(STEP_S)


def by_event(entries: list[Entry], event: Event) -> list[Entry]:
    return [entry for entry in entries if entry.event is event]


def test_every_parcel_that_was_read_reaches_the_chute_of_its_destination() -> None:
    hub, sorter, entries = sorted_line()
    run(hub, 600)
    wanted = {entry.parcel: entry.details["destination"] for entry in by_event(entries, Event.ENTERED)}
    got = {entry.parcel: entry.details["chute"] for entry in by_event(entries, Event.SORTED)}
    assert len(got) > 100
    assert got == {parcel: wanted[parcel] for parcel in got}
    assert len(got) == sorter.sorted_count
    assert {reason for entry in by_event(entries, Event.MISSORTED) for reason in [entry.details["reason"]]} <= {
        "unread"
    }


def test_unread_parcels_go_to_the_last_chute() -> None:
    hub, sorter, entries = sorted_line(dead_tag_chance=1.0)
    run(hub, 120)
    assert sorter.missorted_count > 10
    assert sorter.chutes == {"A": 0, "B": 0, "C": 0, "rest": sorter.missorted_count}
    assert {entry.details["reason"] for entry in by_event(entries, Event.MISSORTED)} == {"unread"}
    assert sorter.last_destination == "rest"


def test_destinations_without_a_chute_go_to_the_last_one() -> None:
    hub, sorter, entries = sorted_line(destinations=["X"])
    run(hub, 120)
    assert sorter.chutes["rest"] == sorter.missorted_count > 10
    assert {entry.details["reason"] for entry in by_event(entries, Event.MISSORTED)} <= {"unknown", "unread"}


def test_the_last_chute_can_be_a_destination_too() -> None:
    hub, sorter, _ = sorted_line(destinations=["rest"])
    run(hub, 120)
    assert sorter.sorted_count > 10


def test_a_line_without_a_portal_knows_the_destination_of_every_parcel() -> None:
    line = LineSpec("line", [ConveyorSpec("infeed", 3.0, 1000)], SorterSpec("sorter", CHUTES), dead_tag_chance=1.0)
    hub = Hub(HubSpec([line]), seed=1)
    run(hub, 120)
    assert hub.sorters["sorter"].sorted_count > 10
    assert hub.sorters["sorter"].missorted_count == 0


def test_parcels_for_a_full_chute_go_to_the_last_one_until_somebody_empties_it() -> None:
    hub, sorter, entries = sorted_line(chutes=("A", "rest"), chute_capacity=5, emptied_after_s=20)
    while not sorter.full_chutes:
        hub.step(STEP_S)
    assert sorter.full_chutes == ["A"]
    full_at_s = hub.time_s
    run(hub, 25)
    (emptied,) = by_event(entries, Event.EMPTIED)
    assert emptied.t_s == pytest.approx(full_at_s + 20, abs=2 * STEP_S)
    assert emptied.details == {"chute": "A", "parcels": 5}
    assert {entry.details["reason"] for entry in by_event(entries, Event.MISSORTED)} == {"full"}


def test_a_sorter_whose_last_chute_is_full_is_blocked_until_it_is_emptied() -> None:
    hub, sorter, _ = sorted_line(chutes=("A", "rest"), destinations=["X"], chute_capacity=3, emptied_after_s=1e6)
    while not sorter.blocked:
        hub.step(STEP_S)
    run(hub, 60)
    assert sorter.state is PackState.EXECUTE
    assert sorter.speed_m_s == 0
    assert sorter.chutes["rest"] == 3
    sorter.empty("rest")
    run(hub, 10)
    assert sorter.chutes["rest"] > 3


def test_a_sorter_is_starved_when_nothing_comes_while_it_executes() -> None:
    hub, sorter, _ = sorted_line(arrivals_per_hour=1e-6)
    hub.conveyors["infeed"].run = False
    run(hub, STARVED_AFTER_S + 1)
    assert sorter.starved
    assert sorter.command(PackCommand.STOP)
    assert not sorter.starved


@pytest.mark.parametrize("command", [PackCommand.STOP, PackCommand.HOLD, PackCommand.SUSPEND, PackCommand.ABORT])
def test_a_sorter_that_does_not_execute_stands_and_takes_nothing(command: PackCommand) -> None:
    hub, sorter, entries = sorted_line()
    run(hub, 60)
    assert sorter.command(command)
    hub.step(STEP_S)
    there, received = [parcel.id for parcel in sorter.parcels], sorter.chutes
    run(hub, 60)
    assert sorter.speed_m_s == 0
    assert ([parcel.id for parcel in sorter.parcels], sorter.chutes) == (there, received)
    assert by_event(entries, Event.STATE)[-1].details["state"] == sorter.state.name


def test_a_sorter_that_was_stopped_is_reset_and_started() -> None:
    hub, sorter, _ = sorted_line()
    for command in (PackCommand.STOP, PackCommand.RESET, PackCommand.START):
        assert sorter.command(command)
        run(hub, 3)
    assert sorter.state is PackState.EXECUTE
    before = sorter.sorted_count
    run(hub, 60)
    assert sorter.sorted_count > before


def test_the_speed_follows_the_setpoint_up_to_the_design_speed() -> None:
    hub, sorter, _ = sorted_line()
    assert not sorter.set_speed(sorter.design_speed_m_s + 0.01)
    assert not sorter.set_speed(-0.01)
    for speed_m_s in (2.0, 0.5):
        assert sorter.set_speed(speed_m_s)
        run(hub, 5)
        assert sorter.speed_m_s == speed_m_s


interferences = st.lists(
    st.tuples(
        st.floats(0.0, 10.0),
        st.sampled_from(
            ["stop", "reset", "start", "hold", "unhold", "abort", "clear", "slow", "fast", "empty", "jam", "free"]
        ),
    ),
    max_size=15,
)


def interfere(hub: Hub, sorter: Sorter, how: str) -> None:
    match how:
        case "slow" | "fast":
            sorter.set_speed(0.2 if how == "slow" else 2.0)
        case "empty":
            for chute in CHUTES:
                sorter.empty(chute)
        case "jam":
            hub.conveyors["feeder"].jam()
        case "free":
            hub.conveyors["feeder"].clear()
        case command:
            sorter.command(PackCommand[command.upper()])


def along_the_line(hub: Hub, sorter: Sorter) -> list[tuple[float, Parcel]]:
    """Every parcel with where its machine begins, from the dock to the chutes."""
    starts_m, found = 0.0, []
    for belt in hub.conveyors.values():
        found += [(starts_m, parcel) for parcel in reversed(belt.parcels)]
        starts_m += belt.length_m
    return found + [(starts_m, parcel) for parcel in reversed(sorter.parcels)]


@settings(max_examples=40, deadline=None)
@given(interferences, st.integers(0, 1000), st.sampled_from([2, 1000]))
def test_no_parcel_is_lost_doubled_or_overtaken_whatever_happens(
    plan: list[tuple[float, str]], seed: int, chute_capacity: int
) -> None:
    hub, sorter, entries = sorted_line(
        chute_capacity=chute_capacity, emptied_after_s=15, dead_tag_chance=0.05, jam_chance=0.01, seed=seed
    )
    for wait_s, how in plan:
        run(hub, wait_s)
        interfere(hub, sorter, how)
        parcels = along_the_line(hub, sorter)
        ids = [parcel.id for _, parcel in parcels]
        assert ids == sorted(ids, reverse=True)
        gone = [entry.parcel for entry in entries if entry.event in {Event.SORTED, Event.MISSORTED}]
        assert sorted(gone + ids, key=int) == list(range(1, hub.entered + 1))
        assert hub.gone == len(gone) == sorter.sorted_count + sorter.missorted_count
        for (start_m, follower), (ahead_start_m, leader) in pairwise(parcels):
            assert ahead_start_m + leader.rear_m - (start_m + follower.front_m) >= GAP_M - 1e-9
        assert all(chute.held <= chute.capacity for chute in sorter.held.values())
        assert all(0 <= parcel.front_m <= len(CHUTES) + 1e-6 for parcel in sorter.parcels)


def test_the_ledger_tells_the_story_of_every_parcel_in_order() -> None:
    hub, _, entries = sorted_line()
    run(hub, 300)
    story: dict[int, list[Event]] = {}
    for entry in entries:
        if entry.parcel is not None:
            story.setdefault(entry.parcel, []).append(entry.event)
    whole = [Event.ENTERED, Event.WEIGHED, Event.PASSED]
    finished = [events for events in story.values() if events[-1] in {Event.SORTED, Event.MISSORTED}]
    assert len(finished) > 50
    assert all(events[:-1] == whole for events in finished)
    assert [entry.t_s for entry in entries] == sorted(entry.t_s for entry in entries)
    assert all(entry.epc is not None and len(entry.epc) == 12 for entry in entries if entry.parcel is not None)

"""The judge of the chaos run finds what it is there to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.chaos.judge import Arrivals, Owed, contradictions, missing
from tests.chaos.plan import EVERY_S, Kind, plan
from tests.chaos.report import Episode, unexplained
from tests.chaos.witness import Stand, Stay, Witness, content


def online(arrivals: Arrivals) -> None:
    arrivals.take("hub/s/g/status", b'{"online":true}')


def reading(position: int, *, device: str = "d", historical: bool = False, **other: Any) -> dict[str, Any]:
    told = {"id": f"abc-{position}", "ts_ms": 1000 + position, "device": device, "values": {"speed": position}}
    return told | {"historical": historical} | other


def take(arrivals: Arrivals, *readings: dict[str, Any]) -> None:
    for one in readings:
        arrivals.take("hub/s/g/d", json.dumps(one).encode())


def connected() -> Arrivals:
    arrivals = Arrivals()
    online(arrivals)
    return arrivals


def test_a_reading_that_did_not_arrive_is_missing():
    arrivals = connected()
    take(arrivals, reading(1), reading(3))
    assert missing(Owed({1, 2, 3}), arrivals) == {2}


def test_a_reading_that_the_destination_refused_is_not_missing():
    arrivals = connected()
    take(arrivals, reading(1))
    assert missing(Owed({1, 2, 3}, set_aside={2}), arrivals) == {3}


def test_every_reading_of_an_array_counts():
    arrivals = connected()
    arrivals.take("hub/s/g/d", json.dumps([reading(1), reading(2)]).encode())
    assert sorted(arrivals.contents) == [1, 2]
    assert arrivals.faults == []


def test_a_copy_in_the_next_connection_may_be_historical():
    arrivals = connected()
    take(arrivals, reading(1), reading(2))
    online(arrivals)
    take(arrivals, reading(2, historical=True), reading(3))
    assert arrivals.faults == []
    assert arrivals.duplicates == 1


def test_a_copy_that_says_something_else_is_a_fault():
    arrivals = connected()
    take(arrivals, reading(1))
    online(arrivals)
    take(arrivals, reading(1, values={"speed": 7}))
    assert len(arrivals.faults) == 1
    assert "came again as another" in arrivals.faults[0]


def test_a_copy_at_another_time_is_a_fault_unless_the_clock_was_not_set():
    arrivals = connected()
    nothing = {"values": {}, "quality": {"speed": "bad:timeout"}}
    take(arrivals, reading(1), reading(2, quality={"speed": "uncertain:clock-unset"}), reading(3, **nothing))
    online(arrivals)
    take(arrivals, *(reading(one, ts_ms=7, **more) for one, more in ((1, {}), (2, {}), (3, nothing))))
    assert len(arrivals.faults) == 1
    assert arrivals.faults[0].startswith("1 came again as another")
    assert arrivals.corrected == 2


def test_a_copy_in_the_same_connection_is_a_fault():
    arrivals = connected()
    take(arrivals, reading(1), reading(1, historical=True))
    assert arrivals.faults == ["1 of d came twice in connection 1"]


def test_ids_of_a_device_that_go_back_within_a_lane_are_a_fault():
    arrivals = connected()
    take(arrivals, reading(5), reading(4))
    assert arrivals.faults == ["4 of d came after 5 in the live lane of connection 1"]


def test_what_had_been_refused_may_come_late_but_only_that():
    arrivals = Arrivals(refused=frozenset({"e"}))
    online(arrivals)
    take(arrivals, *(reading(one, historical=True) for one in (5, 4)))
    take(arrivals, *(reading(one, historical=True, device="e") for one in (7, 6)))
    assert arrivals.faults == ["4 of d came after 5 in the history lane of connection 1"]
    assert arrivals.late == 1


def test_lanes_devices_and_connections_are_ordered_each_for_itself():
    arrivals = connected()
    take(arrivals, reading(5), reading(1, historical=True), reading(4, device="e"), reading(2, historical=True))
    online(arrivals)
    take(arrivals, reading(3), reading(6))
    assert arrivals.faults == []


def test_what_differs_from_the_database_is_a_contradiction():
    arrivals = connected()
    take(arrivals, reading(1), reading(2))
    committed = {1: content("d", 1001, {"speed": 1}, {}), 2: content("d", 1002, {"speed": 3}, {})}
    assert len([*contradictions(committed, arrivals)]) == 1


def test_what_a_destination_has_acknowledged_follows_from_what_it_waits_for():
    assert Stand(through=9, pending=[(3, 4), (8, 8)]).acknowledged(2) == {2, 5, 6, 7, 9}


def test_a_destination_that_came_and_went_has_acknowledged_what_it_waited_for_no_more():
    stay = Stay(joined_after=5, owes=[(2, 3)], last=Stand(through=9, pending=[(3, 3), (8, 9)]))
    assert stay.acknowledged() == {2, 6, 7}


def test_what_was_dropped_for_one_destination_does_not_explain_what_another_misses():
    witness = Witness(Path("none.db"))
    dropped = Episode("max-bytes", 3, 0, 9, 1, 9, shares={"a": (2, 1, 5), "b": (3, 1, 9)})
    assert [*unexplained({"a": {1, 5}, "b": {1, 5, 9}}, [dropped], witness)] == []
    (beyond,) = unexplained({"a": {1, 9}, "b": set()}, [dropped], witness)
    assert beyond == "a: no drop covers 1 missing readings, such as [9]"
    (too_many, _) = unexplained({"c": {1}}, [dropped], witness)
    assert too_many == "c: 1 readings are missing and 0 were dropped, such as [1]"
    assert [*unexplained({"c": {1, 9}}, [Episode("damaged", 2, 0, 9, 1, 9)], witness)] == []


def test_a_seed_gives_the_same_faults_again_and_each_kind_at_least_once():
    assert plan(60, seed=7) == plan(60, seed=7) != plan(60, seed=8)
    assert {fault.kind for fault in plan(20, seed=1)} == {*Kind} == {*EVERY_S}
    assert all(0 < fault.at_s <= 600 for fault in plan(600, seed=7))

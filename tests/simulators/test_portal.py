"""RFID portals as physics: who answers, how strongly, and what the line reads."""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import mean

import pytest

from simulators.conveyor import ConveyorSpec
from simulators.faces import Sighting
from simulators.hub import Hub, HubSpec, LineSpec
from simulators.ledger import Entry, Event
from simulators.machine import STEP_S
from simulators.portal import CHANNELS, DoorSpec, Portal, PortalBeltSpec, Tag

ROUNDS = 400
EPC = bytes.fromhex("3114257BF4499602D2000000")


def portal(*tags: Tag, antennas: int = 2, strays: int = 0) -> Portal:
    return Portal("portal", antennas=antennas, passing=lambda: tags, strays=strays, random=Random(1))


def sightings(portal: Portal, *antennas: int, rounds: int = ROUNDS) -> list[Sighting]:
    return [sighting for _ in range(rounds) for sighting in portal.inventory(antennas)]


@pytest.mark.parametrize("antennas", [1, 2, 4])
def test_a_tag_in_the_middle_is_seen_by_every_antenna_in_every_round(antennas: int) -> None:
    numbers = range(1, antennas + 1)
    seen = sightings(portal(Tag(EPC, 0.0), antennas=antennas), *numbers)
    assert Counter(sighting.antenna for sighting in seen) == dict.fromkeys(numbers, ROUNDS)
    assert {sighting.epc for sighting in seen} == {EPC}
    assert {sighting.channel for sighting in seen} == set(range(1, CHANNELS + 1))


def test_the_signal_falls_and_misses_rise_with_the_distance() -> None:
    strengths, counts = [], []
    for away_m in (0.0, 1.5, 3.0, 3.7):
        seen = sightings(portal(Tag(EPC, away_m), antennas=1), 1)
        strengths.append(mean(sighting.rssi_dbm for sighting in seen))
        counts.append(len(seen))
    assert strengths == sorted(strengths, reverse=True)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == ROUNDS
    assert 0 < counts[-1] < ROUNDS


def test_a_tag_far_off_is_never_seen() -> None:
    assert not sightings(portal(Tag(EPC, 12.0)), 1, 2)


def test_only_the_antennas_that_are_asked_see_and_those_that_are_not_there_see_nothing() -> None:
    assert {sighting.antenna for sighting in sightings(portal(Tag(EPC, 0.0)), 2, 3)} == {2}


def test_a_stray_answers_now_and_then() -> None:
    stray = portal(strays=3)
    seen = sightings(stray, 1, 2)
    assert 0 < len(seen) < ROUNDS * 6 / 2
    assert {sighting.epc for sighting in seen} <= set(stray.standing)


def test_a_tag_that_is_placed_stands_until_it_is_removed() -> None:
    stood = portal()
    stood.place(EPC, away_m=0.0)
    assert len(sightings(stood, 1)) == ROUNDS
    assert stood.remove(EPC)
    assert not sightings(stood, 1)
    assert not stood.remove(EPC)


def portal_line(*, dead_tag_chance: float = 0.003) -> tuple[Hub, list[Entry]]:
    belts = [ConveyorSpec("infeed", 3.0, 1000), PortalBeltSpec("portal", 3.0, 1000)]
    hub = Hub(HubSpec([LineSpec("line", belts, dead_tag_chance=dead_tag_chance)]), seed=1)
    entries: list[Entry] = []
    hub.ledger.tell(entries.append)
    return hub, entries


def test_the_tags_of_parcels_are_seen_while_they_pass() -> None:
    hub, entries = portal_line()
    seen: Counter[bytes] = Counter()
    for _ in range(round(120 / STEP_S)):
        hub.step(STEP_S)
        seen.update(sighting.epc for sighting in hub.portals["portal"].inventory((1, 2)))
    passed = {entry.epc for entry in entries if entry.event is Event.PASSED}
    assert len(passed) > 20
    assert len(passed - set(seen)) <= 1
    assert min(seen[epc] for epc in passed if epc in seen) > 10


def test_a_dead_tag_is_neither_seen_nor_read() -> None:
    hub, entries = portal_line(dead_tag_chance=1.0)
    for _ in range(round(60 / STEP_S)):
        hub.step(STEP_S)
        assert not hub.portals["portal"].inventory((1, 2))
    assert {entry.details["read"] for entry in entries if entry.event is Event.PASSED} == {False}


def test_whoever_asks_a_portal_does_not_change_the_line() -> None:
    asked, left_alone = portal_line(), portal_line()
    for _ in range(round(60 / STEP_S)):
        for hub, _ in (asked, left_alone):
            hub.step(STEP_S)
        asked[0].portals["portal"].inventory((1, 2))
    assert asked[1] == left_alone[1]


def test_pallets_go_through_a_door_and_their_tags_are_in_the_ledger() -> None:
    hub = Hub(HubSpec(doors=[DoorSpec("door", pallets_per_hour=600)]), seed=1)
    entries: list[Entry] = []
    hub.ledger.tell(entries.append)
    seen = set()
    for _ in range(round(300 / STEP_S)):
        hub.step(STEP_S)
        seen.update(sighting.epc.hex().upper() for sighting in hub.portals["door"].inventory((1, 2, 3, 4)))
    gated = [entry.details["epcs"] for entry in entries]
    assert len(gated) > 10
    listed = {epc for epcs in gated if isinstance(epcs, list) for epc in epcs}
    assert listed <= seen

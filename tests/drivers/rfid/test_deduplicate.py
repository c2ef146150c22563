"""Many sightings of a tag that stays are one reading."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rfid.deduplicate import Deduplicator, ReportTags
from drivers.rfid.sighting import Sighting

A, B = "3114257BF4499602D2000000", "3034257BF7194E4000001A85"


def _seen(
    epc: str = A, *, antenna: int | None = 1, rssi: float | None = -50, count: int = 1, at_s: float = 0.0
) -> Sighting:
    time_ns = round(at_s * 1e9)
    return Sighting(epc, 96, None, antenna, rssi, count, time_ns, time_ns)


def _told(mode: ReportTags, *seen: tuple[float, Sighting], until_s: float, window_s: float = 5.0) -> list[Sighting]:
    stays = Deduplicator(window_s=window_s, report_tags=mode)
    told = [each for now_s, sighting in seen for each in stays.see(sighting, now_s=now_s)]
    return [*told, *stays.end_stays(now_s=until_s)]


def test_a_pallet_that_stands_in_the_portal_is_one_reading_not_ten_thousand() -> None:
    seen = [(each / 1000, _seen(at_s=each / 1000)) for each in range(10_000)]
    assert _told(ReportTags.ARRIVAL, *seen, until_s=20.0) == [seen[0][1]]
    (departure,) = _told(ReportTags.DEPARTURE, *seen, until_s=20.0)
    assert (departure.seen_count, departure.first_seen_ns, departure.last_seen_ns) == (10_000, 0, 9_999_000_000)


def test_both_tells_arrival_at_once_and_departure_with_all_that_was_seen() -> None:
    stays = Deduplicator(window_s=5.0, report_tags=ReportTags.BOTH)
    assert list(stays.see(_seen(rssi=-60, count=2), now_s=0.0)) == [_seen(rssi=-60, count=2)]
    assert list(stays.see(_seen(rssi=-40, count=3, at_s=1), now_s=1.0)) == []
    assert list(stays.see(_seen(rssi=None, count=1, at_s=2), now_s=2.0)) == []
    assert list(stays.end_stays(now_s=6.9)) == []
    assert list(stays.end_stays(now_s=7.0)) == [Sighting(A, 96, None, 1, -40, 6, 0, 2_000_000_000)]
    assert len(stays) == 0


def test_a_tag_that_comes_back_after_the_window_has_arrived_anew() -> None:
    first, again = (0.0, _seen()), (5.0, _seen(at_s=5))
    assert _told(ReportTags.ARRIVAL, first, again, until_s=5.0) == [first[1], again[1]]


def test_the_window_counts_from_when_the_tag_was_last_seen() -> None:
    seen = [(4.0 * each, _seen(at_s=4.0 * each)) for each in range(10)]
    assert len(_told(ReportTags.ARRIVAL, *seen, until_s=100.0)) == 1


@pytest.mark.parametrize("mode", ReportTags)
def test_reports_that_come_late_together_are_one_stay_by_the_clock_of_the_reader(mode: ReportTags) -> None:
    stays = Deduplicator(window_s=2.0, report_tags=mode)
    told = [*stays.see(_seen(at_s=0.0), now_s=0.0, is_timed=True)]
    for at_s in (1.5, 3.0, 4.5):  # the network holds them back for a while
        told += stays.see(_seen(at_s=at_s), now_s=1.9, is_timed=True)
    assert [each.seen_count for each in told] == ([] if mode is ReportTags.DEPARTURE else [1])


def test_an_arrival_is_not_told_again_because_the_network_was_cut_for_longer_than_the_window() -> None:
    stays = Deduplicator(window_s=1.0, report_tags=ReportTags.ARRIVAL)
    assert len(stays.see(_seen(at_s=0.0), now_s=0.0, is_timed=True)) == 1
    for at_s in (0.5, 1.0, 1.5, 2.0):
        assert not stays.see(_seen(at_s=at_s), now_s=2.5, is_timed=True)


@pytest.mark.parametrize(("mode", "told"), [(ReportTags.ARRIVAL, 2), (ReportTags.DEPARTURE, 1), (ReportTags.BOTH, 3)])
def test_passes_that_are_told_at_once_are_two_by_the_clock_of_the_reader(mode: ReportTags, told: int) -> None:
    stays = Deduplicator(window_s=1.0, report_tags=mode)
    found = [each for at_s in (0.0, 3.5) for each in stays.see(_seen(at_s=at_s), now_s=4.0, is_timed=True)]
    assert len(found) == told


def test_a_clock_that_is_set_back_neither_ends_a_stay_nor_makes_it_endless() -> None:
    stays = Deduplicator(window_s=1.0, report_tags=ReportTags.ARRIVAL)
    told = [
        len(stays.see(_seen(at_s=at_s), now_s=now_s, is_timed=True))
        for now_s, at_s in ((0.0, 3600.0), (0.5, 0.5), (1.0, 1.0), (3.0, 3.0))
    ]
    assert told == [1, 0, 0, 1]


def test_a_reader_that_tells_when_it_first_saw_a_tag_each_time_is_measured_by_when_it_last_did() -> None:
    stays = Deduplicator(window_s=1.0, report_tags=ReportTags.ARRIVAL)
    seen = [_seen(at_s=at_s)._replace(first_seen_ns=0) for at_s in (0.0, 0.9, 1.8, 5.0)]
    assert [len(stays.see(each, now_s=each.last_seen_ns / 1e9, is_timed=True)) for each in seen] == [1, 0, 0, 1]


def test_antennas_and_tags_are_told_apart() -> None:
    seen = [(0.0, _seen()), (0.0, _seen(antenna=2)), (0.0, _seen(B)), (0.0, _seen(antenna=None))]
    assert len(_told(ReportTags.ARRIVAL, *seen, *seen, until_s=1.0)) == 4


def test_departures_are_told_oldest_first_and_their_time_is_known() -> None:
    stays = Deduplicator(window_s=5.0, report_tags=ReportTags.DEPARTURE)
    assert stays.next_end_s == inf
    stays.see(_seen(A), now_s=0.0)
    stays.see(_seen(B), now_s=1.0)
    assert stays.next_end_s == 5.0
    stays.see(_seen(A), now_s=2.0)
    assert stays.next_end_s == 6.0
    assert [each.epc for each in stays.end_stays(now_s=10.0)] == [B, A]


def test_who_tells_arrivals_only_has_nothing_to_wait_for() -> None:
    stays = Deduplicator(window_s=5.0, report_tags=ReportTags.ARRIVAL)
    stays.see(_seen(), now_s=0.0)
    assert stays.next_end_s == inf


@pytest.mark.parametrize(("mode", "told"), [(ReportTags.ARRIVAL, 0), (ReportTags.DEPARTURE, 2), (ReportTags.BOTH, 2)])
def test_a_lost_connection_ends_every_stay(mode: ReportTags, told: int) -> None:
    stays = Deduplicator(window_s=5.0, report_tags=mode)
    stays.see(_seen(A), now_s=0.0)
    stays.see(_seen(B), now_s=0.0)
    assert len(stays.end_all()) == told
    assert len(stays) == 0


def test_beyond_the_most_the_one_not_seen_for_longest_is_ended_early_and_counted() -> None:
    stays = Deduplicator(window_s=5.0, report_tags=ReportTags.DEPARTURE, most=2)
    stays.see(_seen("AA"), now_s=0.0)
    stays.see(_seen("BB"), now_s=0.1)
    stays.see(_seen("AA"), now_s=0.2)
    assert [each.epc for each in stays.see(_seen("CC"), now_s=0.3)] == ["BB"]
    assert (len(stays), stays.ended_early) == (2, 1)


@given(
    st.lists(st.tuples(st.floats(0, 4), st.sampled_from([A, B]), st.sampled_from([1, 2])), max_size=60),
    st.sampled_from([1, 2, 100]),
)
def test_every_sighting_is_counted_in_exactly_one_departure(steps: list[tuple[float, str, int]], most: int) -> None:
    stays = Deduplicator(window_s=2.0, report_tags=ReportTags.DEPARTURE, most=most)
    now_s, told = 0.0, []
    for wait_s, epc, antenna in steps:
        now_s += wait_s
        told += stays.see(_seen(epc, antenna=antenna, at_s=now_s), now_s=now_s)
        assert len(stays) <= most
    told += stays.end_stays(now_s=now_s + 2.0)
    assert sum(each.seen_count for each in told) == len(steps)
    assert len(stays) == 0

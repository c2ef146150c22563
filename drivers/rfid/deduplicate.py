"""Many sightings of a tag that stays, made one. Pure: whoever calls brings the time.

A stay is the time in which one antenna sees one tag again and again; it has ended when the tag was not seen for a
window. Tags are told apart by their bits, not by what these mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from math import inf

from drivers.rfid.sighting import Sighting

MOST_STAYS = 20_000
"""At once and for one device; about 10 MB. The one not seen for the longest is ended early beyond that."""


class ReportTags(StrEnum):
    """When a stay is reported."""

    ARRIVAL = "arrival"
    DEPARTURE = "departure"
    BOTH = "both"


class _Stay:
    __slots__ = ("seen", "seen_at_s")

    def __init__(self, seen: Sighting, seen_at_s: float) -> None:
        self.seen = seen
        self.seen_at_s = seen_at_s


class Deduplicator:
    """The stays at the antennas of one device. Times in seconds are monotonic and never go back."""

    def __init__(self, *, window_s: float, report_tags: ReportTags, most: int = MOST_STAYS) -> None:
        self._window_s = window_s
        self._tells_arrival = report_tags is not ReportTags.DEPARTURE
        self._tells_departure = report_tags is not ReportTags.ARRIVAL
        self._most = most
        self._stays: OrderedDict[tuple[str, int | None], _Stay] = OrderedDict()
        """The one seen last is last."""
        self.ended_early = 0
        """Stays that ended because there were too many; their tags count as new when they are seen again."""

    def __len__(self) -> int:
        return len(self._stays)

    @property
    def next_end_s(self) -> float:
        """When the next stay that is to be reported ends, unless its tag is seen again; infinity when none does."""
        if not self._tells_departure or not self._stays:
            return inf
        return next(iter(self._stays.values())).seen_at_s + self._window_s

    def see(self, seen: Sighting, *, now_s: float) -> Sequence[Sighting]:
        """What is to be reported now that this was seen: mostly nothing."""
        told = self.end_stays(now_s=now_s)
        key = (seen.epc, seen.antenna)
        stay = self._stays.get(key)
        if stay is not None:
            stay.seen = _together(stay.seen, seen)
            stay.seen_at_s = now_s
            self._stays.move_to_end(key)
            return told
        self._stays[key] = _Stay(seen, now_s)
        if len(self._stays) > self._most:
            self.ended_early += 1
            told = [*told, *self._end_oldest()]
        return [*told, seen] if self._tells_arrival else told

    def end_stays(self, *, now_s: float) -> Sequence[Sighting]:
        """End those whose window has passed; the ones that are to be reported, oldest first."""
        told: list[Sighting] = []
        while self._stays and next(iter(self._stays.values())).seen_at_s + self._window_s <= now_s:
            told += self._end_oldest()
        return told

    def end_all(self) -> Sequence[Sighting]:
        """End all of them, because what happens is not seen any more."""
        told: list[Sighting] = []
        while self._stays:
            told += self._end_oldest()
        return told

    def _end_oldest(self) -> Sequence[Sighting]:
        _, stay = self._stays.popitem(last=False)
        return (stay.seen,) if self._tells_departure else ()


def _together(before: Sighting, seen: Sighting) -> Sighting:
    strongest = [rssi for rssi in (before.rssi, seen.rssi) if rssi is not None]
    return Sighting(
        before.epc,
        before.size_bits,
        before.afi,
        before.antenna,
        max(strongest, default=None),
        before.seen_count + seen.seen_count,
        min(before.first_seen_ns, seen.first_seen_ns),
        max(before.last_seen_ns, seen.last_seen_ns),
    )

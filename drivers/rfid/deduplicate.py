"""Many sightings of a tag that stays, made one. Pure: whoever calls brings the time.

A stay is the time in which one antenna sees one tag again and again; it has ended when the tag was not seen for a
window: by the clock of the reader where that is believed, so that a network that holds reports back neither splits a
stay nor joins two. Only a departure, which is told because nothing comes, is told by when nothing came here. Tags are
told apart by their bits, not by what these mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from math import inf

from drivers.rfid.sighting import Sighting

MOST_STAYS = 20_000
"""At once and for one device; about 10 MB. The one not seen for the longest is ended early beyond that."""
_HELD_BACK_S = 30.0
"""A network that holds reports back for longer is noticed by their reader's silence."""


class ReportTags(StrEnum):
    """When a stay is reported."""

    ARRIVAL = "arrival"
    DEPARTURE = "departure"
    BOTH = "both"


class _Stay:
    __slots__ = ("last_seen_ns", "seen", "seen_at_s")

    def __init__(self, seen: Sighting, seen_at_s: float) -> None:
        self.seen = seen
        self.last_seen_ns = seen.last_seen_ns
        """Of the last sighting, which is not the latest where the clock was set back."""
        self.seen_at_s = seen_at_s

    def see(self, seen: Sighting, seen_at_s: float) -> None:
        self.seen = _together(self.seen, seen)
        self.last_seen_ns = seen.last_seen_ns
        self.seen_at_s = seen_at_s

    def absence_s(self, seen: Sighting) -> float:
        """For how long its tag had not been seen. A reader may count from the first report, not from the one before."""
        since_ns = seen.first_seen_ns if seen.first_seen_ns > self.last_seen_ns else seen.last_seen_ns
        return (since_ns - self.last_seen_ns) / 1e9


class Deduplicator:
    """The stays at the antennas of one device. Times in seconds are monotonic and never go back."""

    def __init__(self, *, window_s: float, report_tags: ReportTags, most: int = MOST_STAYS) -> None:
        self._window_s = window_s
        self._tells_arrival = report_tags is not ReportTags.DEPARTURE
        self._tells_departure = report_tags is not ReportTags.ARRIVAL
        self._kept_s = window_s if self._tells_departure else window_s + _HELD_BACK_S
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

    def see(self, seen: Sighting, *, now_s: float, is_timed: bool = False) -> Sequence[Sighting]:
        """What is to be reported now that this was seen: mostly nothing.

        `is_timed`: its times are those at which the reader saw it, not that at which it was told.
        """
        told = self.end_stays(now_s=now_s)
        key = (seen.epc, seen.antenna)
        stay = self._stays.get(key)
        if stay is not None:
            self._stays.move_to_end(key)
            if (stay.absence_s(seen) if is_timed else now_s - stay.seen_at_s) < self._window_s:
                stay.see(seen, now_s)
                return told
            if self._tells_departure:
                told = [*told, stay.seen]
        self._stays[key] = _Stay(seen, now_s)
        if len(self._stays) > self._most:
            self.ended_early += next(iter(self._stays.values())).seen_at_s + self._window_s > now_s
            told = [*told, *self._end_oldest()]
        return [*told, seen] if self._tells_arrival else told

    def end_stays(self, *, now_s: float) -> Sequence[Sighting]:
        """End those whose window has passed; the ones that are to be reported, oldest first."""
        told: list[Sighting] = []
        while self._stays and next(iter(self._stays.values())).seen_at_s + self._kept_s <= now_s:
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

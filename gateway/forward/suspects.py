"""Readings that may be why a broker hangs up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

MOST_HANG_UPS = 5
MOST_WITHOUT_OTHERS = 3


class Suspects:
    """What was in flight when the connections to one destination ended, one after the other.

    A broker may hang up on a message instead of refusing it, and nobody but the broker knows on which one. So a reading
    that was in flight at two ends in a row is suspected, and from then on sent alone. An end at one that is alone
    counts against it, if other readings were accepted in that connection; after `MOST_HANG_UPS` it is hopeless. After
    `MOST_WITHOUT_OTHERS` it is `deferred`: sent only once others have been accepted, unless there are none. Any other
    end clears everybody of what counts against them: this broker hangs up at other times as well.
    """

    def __init__(self) -> None:
        self._in_flight: AbstractSet[int] = frozenset()
        self._suspected: set[int] = set()
        self._counted: Counter[int] = Counter()
        self._without_others: Counter[int] = Counter()
        self._deferred: set[int] = set()

    def __contains__(self, position: object) -> bool:
        """Whether it is to be sent alone."""
        return position in self._suspected

    @property
    def deferred(self) -> AbstractSet[int]:
        """To be sent after others only."""
        return self._deferred

    def forget(self, positions: Iterable[int]) -> None:
        """These have been accepted, or set aside."""
        if self._suspected:
            for position in positions:
                self._suspected.discard(position)
                self._deferred.discard(position)
                self._counted.pop(position, None)
                self._without_others.pop(position, None)

    def ended(self, in_flight: AbstractSet[int], *, others_accepted: bool) -> int | None:
        """A connection in which the broker has answered is over; the reading that is hopeless now, if any."""
        if len(in_flight) != 1:
            self._counted.clear()
            self._without_others.clear()
            self._suspected |= self._in_flight & in_flight
            self._in_flight = frozenset(in_flight)
            return None
        (alone,) = in_flight
        self._suspected.add(alone)
        if not others_accepted:
            self._without_others[alone] += 1
            if self._without_others[alone] == MOST_WITHOUT_OTHERS:
                self._deferred.add(alone)
            return None
        self._counted[alone] += 1
        if self._counted[alone] < MOST_HANG_UPS:
            return None
        self.forget([alone])
        return alone

"""How long readings have been in the buffer.

Their times do not tell: a value that does not change has an old one, and devices have clocks of their own. So now and
then a milestone is noted: up to this position everything had been committed when the boot clock said so much. A reading
is at least as old as the first milestone that is not before it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from gateway.buffer.timekeeping import Timekeeper
from gateway.clock import Clock

_SHARE = 200  # of `max_age`: from one to the next
_SHORTEST_NS = 1_000_000_000
_KEPT = 1_000


class Milestone(NamedTuple):
    """Everything up to `position` had been committed at this time of the boot clock of this boot."""

    position: int
    boot_id: str
    boot_ns: int


_NOWHERE = Milestone(0, "", 0)


class Milestones:
    """Of one buffer, ascending. The latest commit is remembered as well; now and then it becomes one of them."""

    def __init__(
        self,
        known: Sequence[Milestone],
        *,
        latest: Sequence[Milestone],
        last: int,
        clock: Clock,
        timekeeper: Timekeeper,
        max_age_ns: int,
    ) -> None:
        """`last`: the highest position committed, perhaps after `latest`, which is none in a new buffer."""
        self._known = list(known)
        self._latest = latest[0] if latest else _NOWHERE
        self._clock = clock
        self._timekeeper = timekeeper
        self._max_age_ns = max_age_ns
        self._every_ns = max(_SHORTEST_NS, max_age_ns // _SHARE)
        self.unsaved = bool(self._known)
        """Whether they are to be written down: they have changed, or the database may have lost them."""

        self.note()
        if last > self._latest.position:
            self.reached(last)

    @property
    def facts(self) -> dict[str, str]:
        """Rows of `state`, as `decode_milestones` takes them; the long one only when it has changed."""
        facts = {"latest": _encode([self._latest] if self._latest.position else [])}
        return {**facts, "milestones": _encode(self._known)} if self.unsaved else facts

    def reached(self, position: int) -> None:
        """Everything up to there has just been committed."""
        self._latest = Milestone(position, self._clock.boot_id, self._clock.boot_ns())
        self.note()

    def note(self) -> None:
        """To be called now and then: the latest commit becomes a milestone when it is time for another."""
        newest, latest = self._known[-1] if self._known else _NOWHERE, self._latest
        if latest.position <= newest.position:
            return
        is_of_this_boot = newest.boot_id == latest.boot_id == self._clock.boot_id
        if not is_of_this_boot or self._clock.boot_ns() - newest.boot_ns >= self._every_ns:
            self._known.append(latest)
            del self._known[:-_KEPT]
            self.unsaved = True

    def forget_before(self, position: int) -> None:
        """Nothing is held before `position`."""
        passed = bisect_left(self._known, position, key=attrgetter("position"))
        if passed:
            del self._known[:passed]
            self.unsaved = True

    def aged(self) -> int:
        """Everything up to this position is older than `max_age`; 0 when nothing is known to be."""
        position = 0
        for one in self._known:
            age_ns = self._timekeeper.since_ns(one.boot_id, one.boot_ns)
            if age_ns is not None:  # if it is, that goes with what follows
                if age_ns <= self._max_age_ns:
                    break
                position = one.position
        return position

    def age_ns(self, position: int) -> int:
        """How old the reading there is at least."""
        ages_ns = (
            self._timekeeper.since_ns(one.boot_id, one.boot_ns) for one in self._known if one.position >= position
        )
        return next((age_ns for age_ns in ages_ns if age_ns is not None), 0)


def _encode(milestones: Sequence[Milestone]) -> str:
    return json.dumps(milestones, separators=(",", ":"))


def decode_milestones(text: str) -> list[Milestone]:
    """Raises TypeError or ValueError for what was never written like this."""
    found = [Milestone(int(position), str(boot_id), int(boot_ns)) for position, boot_id, boot_ns in json.loads(text)]
    if found != sorted(found, key=attrgetter("position")):
        raise ValueError(f"{text!r} is not in order")
    return found

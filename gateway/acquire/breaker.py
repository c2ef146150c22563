"""When to read a device that does not answer, or not as it should. Pure; the clock is the caller's.

Each poll group has a breaker of its own. It opens when a read of the group times out or meets a bug, or when
`FAILURES_IN_A_ROW` of them were answered wrongly: the group is given up, and probed ever more rarely at its ticks,
while the other groups are read as ever. It closes when the group answers.

One dead unit must not stall a line, however many groups it has:

- A group that was just given up puts its device in doubt. Until any group has answered, the ticks of those given up are
  used to read the others, so that a dead unit is known to be dead after one timeout for each group, also when one is
  read once an hour. No group is given up that was not asked.
- When every group is given up the device is down, and its groups share one probe and one back-off. The probe asks them
  in turn, at whichever tick comes, so that a group that is always refused does not hide that the unit is back. Once
  one has answered, all may be read again.
- A device that was lost with its link is down from the first group that is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.model import PointGroup, Reason
from gateway.backoff import Backoff

FAILURES_IN_A_ROW = 3
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0


def _backoff() -> Backoff:
    return Backoff(first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)


@dataclass(slots=True)
class _Bad:
    """A group that has failed, or was lost with its link, since it last answered."""

    since_s: float
    failures: int = 0
    """In a row, while it was read at every tick."""
    probe_at_s: float | None = None
    """When to ask it again; None while it is not given up."""
    backoff: Backoff = field(default_factory=_backoff)


class Breaker:
    """The breakers of the groups of one device."""

    def __init__(self, groups: Sequence[PointGroup]) -> None:
        self._groups = groups
        self._bad: dict[PointGroup, _Bad] = {}  # in the order of their last failures
        self._in_doubt = False
        self._is_lost = False
        self._probe_at_s: float | None = None
        self._backoff = _backoff()
        self._failures = 0  # since any group has answered

    @property
    def is_down(self) -> bool:
        """Whether the whole device is given up."""
        return self._probe_at_s is not None

    @property
    def is_exhausted(self) -> bool:
        """Whether it is down and has been tried often enough to suspect the link."""
        return self.is_down and self._failures >= FAILURES_IN_A_ROW

    def is_bad(self, group: PointGroup) -> bool:
        """Whether the group has failed, or was lost, since it last answered."""
        return group in self._bad

    def may_read(self, group: PointGroup) -> bool:
        """Whether the group is read at every tick."""
        return not self._bad or not (self.is_down or self._is_given_up(group))

    def probe(self, group: PointGroup, *, now_s: float) -> PointGroup | None:
        """What to read at a tick of a group that is not read at every tick: it, another in its stead, or nothing."""
        if self._probe_at_s is not None:
            return next(iter(self._bad)) if now_s >= self._probe_at_s else None
        if self._in_doubt:
            return next(other for other in self._groups if not self._is_given_up(other))
        probe_at_s = self._bad[group].probe_at_s
        return group if probe_at_s is not None and now_s >= probe_at_s else None

    def answered(self, group: PointGroup) -> float | None:
        """Returns since when this group was bad if it alone had been given up, and None otherwise."""
        if not self._bad:
            return None
        found = self._bad.pop(group, None)
        since_s = found.since_s if found is not None and found.probe_at_s is not None and not self.is_down else None
        if self.is_down:
            self._close()
        self._in_doubt = self._is_lost = False
        self._failures = 0
        self._backoff.reset()
        return since_s

    def failed(self, group: PointGroup, reason: Reason, *, now_s: float) -> None:
        """A read of `group` has failed for this reason."""
        bad = self._bad.pop(group, None) or _Bad(now_s)
        self._bad[group] = bad
        bad.failures += 1
        self._failures += 1
        if reason in (Reason.TIMEOUT, Reason.DRIVER_FAULT) or bad.failures >= FAILURES_IN_A_ROW:
            self._in_doubt = self._in_doubt or bad.probe_at_s is None
            bad.probe_at_s = now_s + bad.backoff.next_s()
            if self._is_lost or all(map(self._is_given_up, self._groups)):
                self._in_doubt = False
                self._probe_at_s = now_s + self._backoff.next_s()

    def lost(self, *, now_s: float) -> None:
        """The link went, and every group with it. The next session may read them at once."""
        for group in self._groups:
            self._bad.setdefault(group, _Bad(now_s))
        self._close()
        self._in_doubt = False
        self._is_lost = True
        self._failures = 0

    def _is_given_up(self, group: PointGroup) -> bool:
        return group in self._bad and self._bad[group].probe_at_s is not None

    def _close(self) -> None:
        self._probe_at_s = None
        for bad in self._bad.values():
            bad.failures = 0
            bad.probe_at_s = None

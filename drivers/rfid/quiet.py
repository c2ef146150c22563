"""Says the same thing at most once a minute, whatever a device repeats."""

from __future__ import annotations

_MOST_THINGS = 64


class Quiet:
    """Remembers what was said lately. Times are monotonic seconds."""

    def __init__(self, *, interval_s: float = 60.0) -> None:
        self._interval_s = interval_s
        self._said_at_s: dict[object, float] = {}

    def may_say(self, what: object, *, now_s: float) -> bool:
        """Whether `what` was not said for the interval; then it counts as said now."""
        said_at_s = self._said_at_s.pop(what, None)
        may = said_at_s is None or now_s - said_at_s >= self._interval_s
        self._said_at_s[what] = now_s if said_at_s is None or may else said_at_s
        if len(self._said_at_s) > _MOST_THINGS:
            del self._said_at_s[next(iter(self._said_at_s))]
        return may

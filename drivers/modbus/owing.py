"""Answers that may still come, on a link where nothing would tell them from the next ones.

Pure; the clock is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Owing:
    """Outlives connections: what a unit says late on a line, the next connection to that line hears."""

    _until: dict[int, float] = field(default_factory=dict)

    def owes(self, unit: int, now: float) -> bool:
        """Whether this unit may still answer an earlier request."""
        if self._until.get(unit, 0.0) > now:
            return True
        self._until.pop(unit, None)
        return False

    def unanswered(self, unit: int, *, until: float) -> None:
        """A request to this unit had no proper answer; one may come until then."""
        self._until[unit] = until

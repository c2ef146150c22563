"""The least time between an answer and the next request. Pure; the clock is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pacing:
    """Outlives connections: a device that needs a pause needs it after a reconnect too."""

    link_pause_s: float = 0.0
    """Between any answer and any request on the link."""
    unit_pauses_s: Mapping[int, float] = field(default_factory=dict)
    """Between an answer of a unit and the next request to the same unit."""
    _link_free: float = 0.0
    _unit_free: dict[int, float] = field(default_factory=dict)

    def wait_s(self, unit: int, now: float) -> float:
        """How long a request to this unit has to wait; not positive when it may go out."""
        return max(self._link_free, self._unit_free.get(unit, 0.0)) - now

    def ended(self, unit: int, now: float) -> None:
        """A request to this unit has been answered, or given up."""
        if self.link_pause_s:
            self._link_free = now + self.link_pause_s
        if pause_s := self.unit_pauses_s.get(unit, 0.0):
            self._unit_free[unit] = now + pause_s

"""What every machine of the line agrees on: parcels, distances and how one machine hands over to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SHORTEST_PARCEL_M = 0.2
LONGEST_PARCEL_M = 0.6
GAP_M = 0.1
"""What stays free between two parcels: the rollers under one that comes nearer idle (zero-pressure accumulation)."""

STEP_S = 0.05
"""The longest step that is calculated at once: at the highest belt speed a parcel moves less than its own length."""


@dataclass(slots=True)
class Parcel:
    """A box on its way. `front_m` is its leading edge, counted from the entry of the machine that holds it."""

    id: int
    length_m: float
    weight_kg: float
    front_m: float = 0.0
    epc: bytes = bytes(12)
    destination: str = ""
    tag_gain_db: float = 0.0
    """How much better (worse if negative) its tag answers than an ordinary one."""
    is_read: bool = False
    """Whether the line's control has read its tag."""

    @property
    def rear_m(self) -> float:
        return self.front_m - self.length_m

    def covers(self, position_m: float) -> bool:
        """Whether the parcel lies over a point of the machine that holds it."""
        return self.rear_m <= position_m <= self.front_m


class Machine(Protocol):
    """Something that parcels pass through."""

    @property
    def name(self) -> str: ...

    @property
    def tail_m(self) -> float:
        """The rear of the last parcel, from the machine's entry; infinite when empty, negative while a parcel is still
        partly on the machine before."""
        ...

    def accepts(self, parcel: Parcel) -> bool:
        """Whether `parcel` may cross into this machine now."""
        ...

    def take(self, parcel: Parcel) -> None:
        """Own `parcel` from now on; its `front_m` already counts from this machine's entry."""
        ...

    def step(self, dt_s: float) -> None:
        """Let `dt_s` (at most `STEP_S`) pass. Called from the end of the line to its beginning."""
        ...

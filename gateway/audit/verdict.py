"""What the ledger says of all that has arrived so far. Frozen facts."""

from __future__ import annotations

from dataclasses import dataclass

Span = tuple[int, int]
"""First and last position, both included."""


@dataclass(frozen=True, slots=True)
class DeviceVerdict:
    """One device: what arrived. Nothing can be missing by device, because positions are counted over all of them."""

    gateway: str
    device: str
    topic: str
    readings: int
    """With different ids; the first copy of each counts below as well."""
    live: int
    historical: int
    duplicates: int
    contradictions: int
    """Copies that say something else than the one before."""
    out_of_order: int
    """Within a lane of one connection an older position came after a newer one."""
    first_id: str
    last_id: str
    """The smallest and the greatest position that arrived last, whatever the order."""
    first_ts_ms: int
    last_ts_ms: int
    """The earliest and the latest time in them."""


@dataclass(frozen=True, slots=True)
class EpochVerdict:
    """One buffer epoch of one gateway: which positions arrived."""

    gateway: str
    epoch: str
    first: int
    last: int
    """What was judged lies between them; `last` is the greatest that arrived or was expected by name. `last < first`:
    nothing was judged."""
    readings: int
    earlier: int
    """Those of them before `first`: not judged, because what else belongs there may have come before the audit."""
    duplicates: int
    unchecked: int
    """Duplicates of readings so long ago that their content is no longer remembered."""
    corrected: int
    """Duplicates with another time, one of them taken while the clock was not set."""
    contradictions: tuple[str, ...]
    """Ids that came with two contents, the first few."""
    contradicting: int
    out_of_order: int
    connections: int
    missing: tuple[Span, ...]
    open: tuple[Span, ...]
    """Gaps that may still be filled: something newer came only just now, history is coming, or the gateway is away."""

    @property
    def missing_count(self) -> int:
        return sum(last - first + 1 for first, last in self.missing)

    @property
    def open_count(self) -> int:
        return sum(last - first + 1 for first, last in self.open)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All epochs and devices, in the order in which they were first heard."""

    epochs: tuple[EpochVerdict, ...]
    devices: tuple[DeviceVerdict, ...]
    unheard: tuple[str, ...]
    """Epochs that were expected, and of which no reading has come."""
    foreign: int
    """Messages that are neither readings nor the status of a gateway."""
    retained: int
    """Messages that the broker had kept from before, but for the status: not judged either."""

    @property
    def is_complete(self) -> bool:
        """Nothing is missing or unheard, and nothing contradicts itself. Gaps may be open."""
        return not self.unheard and not any(one.missing or one.contradicting for one in self.epochs)

    @property
    def readings(self) -> int:
        return sum(one.readings for one in self.epochs)

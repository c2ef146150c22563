"""Facts about the running gateway: plain counters that the rooms update and that status and metrics read.

Nothing here does I/O or decides anything. Updating a fact is an attribute assignment, so it costs nothing on the hot
path; `gateway.metrics` turns the facts into Prometheus samples only when somebody scrapes. All of it belongs to the
event loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.model import PointGroup, Reading

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts of observations per bucket; `bounds` are inclusive upper bounds in seconds, ascending."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS_BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class CommandOutcome(StrEnum):
    """What became of a command. Also the closed set of `outcome` labels in the metrics."""

    WRITTEN = "written"
    REFUSED = "refused"
    """Nothing was written: not a command, not writable, out of its limits, or too many."""
    FAILED = "failed"
    """The device did not take it, or cannot be reached."""
    TIMED_OUT = "timed-out"
    REPEATED = "repeated"
    """It was carried out before; its sender got the same answer again."""


@dataclass(slots=True)
class DeviceHealth:
    """One device, as acquisition sees it."""

    name: str
    driver: str
    up: bool = False
    reason: str = ""
    """Why it is down (a `drivers.model.Reason`); empty while up and before the first attempt."""
    detail: str = ""
    """The last error in words, with its hint; empty while up."""
    readings: int = 0
    values: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    read_seconds: Histogram = field(default_factory=Histogram)
    lateness_seconds: Histogram = field(default_factory=Histogram)
    missed: int = 0
    reconnects: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    last: dict[PointGroup, Reading] = field(default_factory=dict)
    """The newest reading of each group, before report by exception."""


@dataclass(slots=True)
class BufferHealth:
    """The buffer, as its writer sees it."""

    readings: int = 0
    """Readings held for at least one destination, committed or about to be."""
    bytes: int = 0
    """Database and WAL as the file system sees them."""
    max_bytes: int = 0
    oldest_ns: int | None = None
    """Wall time of the oldest reading held; None when empty."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Readings dropped before every destination had them, by reason (`max-bytes`, `max-age`, `min-free-disk` …)."""
    commit_seconds: Histogram = field(default_factory=Histogram)
    seconds_until_full: float = float("inf")
    """Until the first limit in bytes is reached at the rate of the last minute: 0 when it is, infinity while none comes
    nearer."""
    writable: bool = True
    """False while commits fail (full disk, I/O error)."""
    detail: str = ""
    """The last failure in words; empty while writable."""
    refusing: str = ""
    """Why every new reading is dropped, a reason of `dropped`: the buffer is full, and nothing in it gives way; empty
    while readings are welcome."""


@dataclass(slots=True)
class DestinationHealth:
    """One destination, as its forwarder sees it."""

    name: str
    up: bool = False
    ever_up: bool = False
    detail: str = ""
    """Why it is down, in words; empty while up."""
    acknowledged: int = 0
    backlog: int = 0
    set_aside: int = 0
    publish_seconds: Histogram = field(default_factory=Histogram)
    """From handing a message to the connection to its acknowledgement."""


@dataclass(slots=True)
class Health:
    """Everything that `/metrics`, `/healthz`, `/readyz` and `/api/v1/status` tell."""

    devices: dict[str, DeviceHealth] = field(default_factory=dict)
    buffer: BufferHealth = field(default_factory=BufferHealth)
    destinations: dict[str, DestinationHealth] = field(default_factory=dict)
    loop_lag_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the gateway can do its one job: commit readings."""
        return self.buffer.writable and not self.buffer.refusing

    @property
    def ready(self) -> bool:
        """Whether every destination has connected once."""
        return all(destination.ever_up for destination in self.destinations.values())

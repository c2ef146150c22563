"""Points, readings and quality: the words that every room of the gateway shares.

A reading is columnar: it refers to one immutable, shared `PointGroup` and carries a plain tuple of values aligned
with the group's points. A value costs a tuple slot, never an object of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from sys import intern
from types import MappingProxyType

Value = bool | int | float | Decimal | str | None
"""One point's value. `None` means "no value here": the point is bad, or it is not part of this reading.

A `Decimal` is a number with the digits that a display showed: 12.340 stays 12.340, in the buffer and in the payload.
"""


class Level(StrEnum):
    """How far a value can be trusted."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Reason(StrEnum):
    """Why a value is not good. Also the closed set of `reason` labels in the metrics."""

    TIMEOUT = "timeout"
    COMM_FAILURE = "comm-failure"
    BAD_RESPONSE = "bad-response"
    ILLEGAL_ADDRESS = "illegal-address"
    DEVICE_ERROR = "device-error"
    OUT_OF_RANGE = "out-of-range"
    NOT_A_NUMBER = "not-a-number"
    OVERLOAD = "overload"
    UNDERLOAD = "underload"
    IN_MOTION = "in-motion"
    DRIVER_FAULT = "driver-fault"


@dataclass(frozen=True, slots=True)
class Quality:
    """A level with its reason, written `level:reason` everywhere outside the process."""

    level: Level
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.level}:{self.reason}" if self.reason else str(self.level)

    @staticmethod
    def parse(text: str) -> Quality:
        """The inverse of `str()`. Raises ValueError for an unknown level."""
        return _quality(text)


@lru_cache(maxsize=1024)
def _quality(text: str) -> Quality:
    level, _, reason = text.partition(":")
    return Quality(Level(level), reason)


GOOD = Quality(Level.GOOD)


def bad(reason: str) -> Quality:
    """The quality `bad:<reason>`."""
    return _quality(f"bad:{reason}")


def uncertain(reason: str) -> Quality:
    """The quality `uncertain:<reason>`."""
    return _quality(f"uncertain:{reason}")


@dataclass(frozen=True, slots=True)
class Point:
    """One value that a device exposes. Driver families subclass it with what they need to find it.

    `deadband` is in the point's own unit: a change of at most this much is not worth reporting.
    """

    name: str
    unit: str = ""
    deadband: float = 0.0
    writable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PointGroup:
    """The points of one device that share a period. Compared by identity, so it is a cheap dictionary key.

    `period_s` is 0 for a device that speaks unasked. `events`: each reading is an occurrence of its own (a tag was
    seen), not the state of the device; it is neither left out for being equal to the one before nor ever repeated.
    """

    device: str
    period_s: float
    points: tuple[Point, ...]
    events: bool = False
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Interned: a hundred devices of one kind share their names, and the processor's cache holds them once.
        object.__setattr__(self, "names", tuple(intern(point.name) for point in self.points))

    def __str__(self) -> str:
        return f"{self.device} every {self.period_s:g} s" if self.period_s else self.device


ALL_GOOD: Mapping[int, Quality] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reading:
    """What one device reported at one instant.

    `observed_at_ns` is wall-clock time in nanoseconds since 1970-01-01 UTC. `values` is aligned with `group.points`.
    `quality` maps the index of every point that is not good; a bad point has the value `None`. An index whose value is
    `None` and which is missing from `quality` is not part of this reading (report by exception left it out).
    """

    group: PointGroup
    observed_at_ns: int
    values: tuple[Value, ...]
    quality: Mapping[int, Quality] = field(default_factory=lambda: ALL_GOOD)


def all_bad(group: PointGroup, observed_at_ns: int, reason: str) -> Reading:
    """The reading that says: nothing of this group could be read, and why."""
    count = len(group.points)
    return Reading(group, observed_at_ns, (None,) * count, dict.fromkeys(range(count), bad(reason)))

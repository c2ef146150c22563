"""What a message says, as far as the ledger is concerned, and a bounded memory of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import orjson

_GREATEST = 2**63 - 1  # of what SQLite gives as a position
_CLOCK_UNSET = b"clock-unset"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reading as it came."""

    gateway: str
    epoch: str
    position: int
    device: str
    ts_ms: int
    historical: bool
    digest: int
    """Of device and values."""
    digest_of_time: int | None
    """Of time and quality; None while the clock was not set, for the time is corrected later, and without a value,
    for then nothing says whether it was set."""


def arrival(item: Any) -> Arrival | None:
    """A reading in the format `json`; None when it is anything else."""
    if not isinstance(item, dict):
        return None
    identity, gateway, device, ts_ms = item.get("id"), item.get("gateway"), item.get("device"), item.get("ts_ms")
    values, historical = item.get("values"), item.get("historical")
    if not (
        isinstance(identity, str)
        and isinstance(gateway, str)
        and isinstance(device, str)
        and isinstance(ts_ms, int)
        and isinstance(values, dict)
        and isinstance(historical, bool)
    ):
        return None
    epoch, _, digits = identity.rpartition("-")
    if not (epoch and digits.isascii() and digits.isdigit() and len(digits) < 20 and 0 < int(digits) <= _GREATEST):
        return None
    try:
        said = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
        quality = orjson.dumps(item.get("quality"), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return None
    time = None if _CLOCK_UNSET in quality or not values else hash((ts_ms, quality))
    return Arrival(gateway, epoch, int(digits), device, ts_ms, historical, hash((device, said)), time)


class Copy(Enum):
    """How a copy compares with the reading that came before under its id."""

    EQUAL = auto()
    CORRECTED = auto()
    CONTRADICTING = auto()
    UNCHECKED = auto()


class Contents:
    """The digests of the readings that came last: at least `kept`, at most twice as many (about 200 bytes each)."""

    def __init__(self, *, kept: int) -> None:
        self._kept = kept
        self._newer: dict[int, tuple[int, int | None]] = {}
        self._older: dict[int, tuple[int, int | None]] = {}

    def remember(self, one: Arrival) -> None:
        if len(self._newer) >= self._kept:
            self._older, self._newer = self._newer, {}
        self._newer[one.position] = one.digest, one.digest_of_time

    def compare(self, one: Arrival) -> Copy:
        """With the one that came before; what is equal but for a clock that was not set becomes what is remembered."""
        known = self._newer.get(one.position) or self._older.get(one.position)
        if known is None:
            return Copy.UNCHECKED
        digest, time = known
        if digest != one.digest:
            return Copy.CONTRADICTING
        if time == one.digest_of_time:
            return Copy.EQUAL
        if time is None or one.digest_of_time is None:
            if one.digest_of_time is not None:
                self.remember(one)
            return Copy.CORRECTED
        return Copy.CONTRADICTING

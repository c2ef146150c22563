"""Devices whose readings a broker refuses, hanging up each time. Pure: the time comes from outside.

A broker that refuses a message may keep the connection or end it; mosquitto 2.0.11 ends it. Then one device without a
permission would cost all others a connection for each of its readings. So when `ENOUGH` connections have ended over
a device, its readings are no longer sent, but for one now and then: permissions change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ENOUGH = 3
AT_ONCE_S = 1.0
"""An end within this time after a refusal is because of it."""
TRY_EVERY_S = 60.0


@dataclass(slots=True)
class _Bar:
    why: str
    try_at_s: float


class Bars:
    """Of one destination, over all its connections. Times are those of one monotonic clock."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[float, str]] = {}
        self._ends: Counter[str] = Counter()
        self._barred: dict[str, _Bar] = {}
        self._trying: dict[int, str] = {}

    def __bool__(self) -> bool:
        """Whether anything is barred."""
        return bool(self._barred)

    def refused(self, device: str, why: str, *, now_s: float) -> None:
        """A message was refused because of the device that it is from."""
        self._refused[device] = now_s, why

    def ended(self, *, now_s: float) -> bool:
        """The broker has ended a connection. Returns whether a refusal explains that."""
        explained = False
        for device, (refused_s, why) in self._refused.items():
            if now_s - refused_s > AT_ONCE_S:
                self._ends.pop(device, None)
                continue
            explained = True
            self._ends[device] += 1
            if self._ends[device] >= ENOUGH and device not in self._barred:
                self._barred[device] = _Bar(why, now_s + TRY_EVERY_S)
        self._refused.clear()
        self._trying.clear()
        return explained

    def why_not(self, device: str, position: int, *, now_s: float) -> str | None:
        """Why a message of this device is not to be sent now; None: it may go, and `position` is its first."""
        bar = self._barred.get(device)
        if bar is None:
            return None
        if now_s < bar.try_at_s:
            return bar.why
        bar.try_at_s = now_s + TRY_EVERY_S
        self._trying[position] = device
        return None

    def accepted(self, positions: Iterable[int]) -> list[tuple[str, str]]:
        """Readings have been accepted; the devices that are no longer barred because of that, and why they had been."""
        lifted = []
        for device in [self._trying.pop(position) for position in positions if position in self._trying]:
            bar = self._barred.pop(device, None)
            if bar is not None:
                lifted.append((device, bar.why))
            self._ends.pop(device, None)
        return lifted

    def lift(self) -> None:
        """Send everything again. One more end over a device bars it as before."""
        self._barred.clear()
        self._trying.clear()

"""What may be written, and how often. Pure: the caller brings the clock."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from drivers.model import Value
from drivers.settings import PointSettings


def check(point: PointSettings, value: Value) -> None:
    """Raises ValueError, in words for the sender, for a number outside the point's `min` and `max`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        if point.min is None and point.max is None:
            return
        raise ValueError(f"{point.name} takes a number {_range(point)}")
    below = point.min is not None and value < Decimal(str(point.min))
    above = point.max is not None and value > Decimal(str(point.max))
    if below or above:
        raise ValueError(f"{point.name} takes a number {_range(point)}, not {str(value)[:30]}")


def _range(point: PointSettings) -> str:
    if point.max is None:
        return f"from {point.min:g} on"
    return f"up to {point.max:g}" if point.min is None else f"from {point.min:g} to {point.max:g}"


class Allowance:
    """At most `per_minute` commands in any minute."""

    def __init__(self, per_minute: int) -> None:
        self._given_s: deque[float] = deque(maxlen=per_minute)

    def take(self, *, now_s: float) -> bool:
        """Whether one more may go now; if so, it has gone."""
        if len(self._given_s) == self._given_s.maxlen and now_s - self._given_s[0] < 60:
            return False
        self._given_s.append(now_s)
        return True

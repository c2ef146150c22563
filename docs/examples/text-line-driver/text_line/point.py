"""A point, and what the device calls it."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.model import Point


@dataclass(frozen=True, slots=True)
class LinePoint(Point):
    """One value of a device. `key` is what the device calls it."""

    key: str = ""

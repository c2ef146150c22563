"""What is said about single points in the log: once, however often they are bad."""

from __future__ import annotations

import logging

from drivers.model import Level, PointGroup, Quality, Reading
from drivers.opcua.point import OpcuaPoint

_log = logging.getLogger(__name__)


class Complaints:
    """What was said already, for as long as the driver lives."""

    def __init__(self) -> None:
        self._said: set[tuple[PointGroup, int, Quality | None]] = set()

    def look_at(self, reading: Reading) -> None:
        """Say which points of it are bad for a reason that was not said yet; one line for all of them."""
        group = reading.group
        new = [
            (index, quality)
            for index, quality in reading.quality.items()
            if quality.level is Level.BAD and (group, index, quality) not in self._said
        ]
        if not new:
            return
        self._said.update((group, index, quality) for index, quality in new)
        shown = "; ".join(f"{_name(group, index)}: {quality.reason}" for index, quality in new[:_SHOWN])
        if len(new) > _SHOWN:
            shown += f"; and {len(new) - _SHOWN} more"
        _log.warning("%s: points are bad: %s", group, shown)

    def lost_some(self, group: PointGroup, index: int) -> None:
        """The queue of the server was too short for a point."""
        if (group, index, None) not in self._said:
            self._said.add((group, index, None))
            _log.warning("%s: the server lost values of %s; raise queue_size", group, group.names[index])


_SHOWN = 5


def _name(group: PointGroup, index: int) -> str:
    point = group.points[index]
    return f"{point.name} ({point.place})" if isinstance(point, OpcuaPoint) else point.name

"""A hub's worth of readings handed to a buffer as fast as it commits them, through its public interface."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer

_STRIDE = 97
_RAMP = tuple(n % 65536 for n in range(2 * 65536))
_AT_ONCE = 256
_MOST_AHEAD = 4096
"""Readings that are handed over and not committed yet: more than one commit takes, less than the buffer's memory."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many devices, each read every `period_s`, with so many values in each reading."""

    devices: int
    points: int
    period_s: float

    @property
    def readings_per_s(self) -> float:
        return self.devices / self.period_s

    def readings(self, seconds: float) -> int:
        return round(self.readings_per_s * seconds)


HEAVY = Load(devices=200, points=100, period_s=0.2)


class Recorder:
    """Takes turns among the devices of a load; their values are those of the simulated fleet (`simulators.fleet`)."""

    def __init__(self, load: Load, *, first_ns: int) -> None:
        points = tuple(Point(f"p{n}") for n in range(load.points))
        self._groups = [PointGroup(f"d{n}", load.period_s, points) for n in range(load.devices)]
        self._every_ns = round(1e9 / load.readings_per_s)
        self._first_ns = first_ns
        self._taken = 0

    def next(self) -> Reading:
        """The next device's reading, at the moment when its turn is."""
        turn, device = divmod(self._taken, len(self._groups))
        group, low = self._groups[device], (turn + _STRIDE * device) % 65536
        observed_at_ns = self._first_ns + self._taken * self._every_ns
        self._taken += 1
        return Reading(group, observed_at_ns, _RAMP[low : low + len(group.points)])

    async def record(self, buffer: Buffer, readings: int) -> None:
        """Hand over so many and return when all of them are committed."""
        end = buffer.last_committed + readings
        for first in range(end - readings, end, _AT_ONCE):
            last = min(first + _AT_ONCE, end)
            for _ in range(last - first):
                buffer.append(self.next())
            while last - buffer.last_committed > _MOST_AHEAD:
                await buffer.committed(buffer.last_committed)
        await buffer.committed(end - 1)

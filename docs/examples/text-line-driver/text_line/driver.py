"""The device of one link: what is read together, and how the link is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from drivers.contract import DeviceUnavailable, PlannedRequest
from drivers.model import PointGroup, Reason
from drivers.settings import DeviceSettings
from text_line import codec
from text_line.point import LinePoint
from text_line.session import Line, LineSession, LineStream
from text_line.settings import LineSettings


class LineDriver:
    """`drivers.contract.Driver`."""

    def __init__(self, device: LineSettings) -> None:
        self.link = device.url
        self.groups: Sequence[PointGroup] = _groups(device)
        self._device = device

    def plan(self) -> Sequence[PlannedRequest]:
        """As `drivers.contract.Driver.plan`: one request for each point, none for a device that speaks unasked."""
        return [
            PlannedRequest(
                group.device,
                group.period_s,
                "listen" if self._device.listen else codec.question(point.key).decode("ascii").strip(),
                (point,),
                (point.key,),
            )
            for group in self.groups
            for point in group.points
            if isinstance(point, LinePoint)
        ]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[LineSession | LineStream]:
        """As `drivers.contract.Driver.connect`."""
        parts = urlsplit(self.link)
        try:
            async with asyncio.timeout(self._device.timeout):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=codec.LONGEST_BYTES)
        except (OSError, UnicodeError) as error:  # TimeoutError is one; a name that cannot be one is the other
            why = str(error) or f"no answer within {self._device.timeout:g} s"
            hint = "check power, address and port of the device, and the network"
            raise DeviceUnavailable(
                f"cannot connect to {self.link}: {why}", reason=Reason.COMM_FAILURE, hint=hint
            ) from error
        line = Line(reader, writer, link=self.link)
        try:
            if self._device.listen:
                yield LineStream(line, self.groups[0], silence_s=self._device.silence)
            else:
                yield LineSession(line, timeout_s=self._device.timeout)
        finally:
            writer.transport.abort()  # closes at once, whatever a device that has stopped reading leaves unsent


class LineFamily:
    """`drivers.contract.Family`."""

    settings: type[DeviceSettings] = LineSettings

    def link(self, device: DeviceSettings) -> str:
        """As `drivers.contract.Family.link`: devices with the same url share it."""
        return device.url

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> LineDriver:  # noqa: ARG002  keeps nothing
        """As `drivers.contract.Family.driver`. The config's loader asks this too, and tells where the mistake is."""
        first, *more = devices
        if more:
            raise ValueError(f"is the url of {first.name} too, and a device of text lines has its link for itself")
        assert isinstance(first, LineSettings)
        return LineDriver(first)


def _groups(device: LineSettings) -> tuple[PointGroup, ...]:
    """The points by period. A device that speaks unasked has one group, whose period is 0."""
    groups: dict[float, list[LinePoint]] = {}
    for each in device.points:
        period_s = 0.0 if device.listen else each.period or device.period
        point = LinePoint(each.name, each.unit, each.deadband, each.writable, each.key or each.name)
        groups.setdefault(period_s, []).append(point)
    return tuple(PointGroup(device.name, period_s, tuple(points)) for period_s, points in groups.items())

"""The OPC UA family and its driver. Imports no asyncua until a link is opened."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.contract import BadResponse, DeviceUnavailable, Driver, PlannedRequest, Session, StreamSession
from drivers.model import PointGroup
from drivers.opcua.address import Address
from drivers.opcua.complaints import Complaints
from drivers.opcua.endpoint import parse_endpoint
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.settings import OpcuaDeviceSettings
from drivers.settings import DeviceSettings

if TYPE_CHECKING:
    from drivers.opcua.link import Link

_log = logging.getLogger(__name__)

LARGEST_GROUP = 100
"""Points of a subscribed device in one reading: most changes touch a few, and each reading has a place for all."""
FOLDER = "opcua"
"""Of this family, in the folder where the gateway keeps what must outlive it."""


class OpcuaFamily:
    """`drivers.contract.Family` for `driver: opcua`."""

    settings: type[DeviceSettings] = OpcuaDeviceSettings

    def link(self, device: DeviceSettings) -> str:
        """The server, how the line is protected, as whom, and whether it is polled."""
        assert isinstance(device, OpcuaDeviceSettings)
        return f"{parse_endpoint(device.url)} ({device.security}){'' if device.subscribe else ' polled'}"

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:
        """Raises ValueError when devices log in as one user with two passwords."""
        return OpcuaDriver(
            [device for device in devices if isinstance(device, OpcuaDeviceSettings)], state_folder=state_folder
        )


class OpcuaDriver:
    """`drivers.contract.Driver`: the devices that share one session on a server."""

    def __init__(
        self,
        devices: Sequence[OpcuaDeviceSettings],
        *,
        state_folder: Path,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock` is wall-clock time in nanoseconds. Raises ValueError as `OpcuaFamily.driver`."""
        first = devices[0]
        self._endpoint = parse_endpoint(first.url)
        for device in devices[1:]:
            if device.security != first.security:
                raise ValueError(
                    f'"{first.name}" and "{device.name}" share one connection to {self._endpoint}, but not one security'
                )
        self._security = first.security
        self._subscribes = first.subscribe
        self._folder = state_folder / FOLDER
        self._timeout_s = max(device.timeout for device in devices)
        self._clock = clock
        self._complaints = Complaints()
        self._groups = {group: device for device in devices for group in _groups(device)}

    @property
    def link(self) -> str:
        return f"{self._endpoint} ({self._security})"

    @property
    def groups(self) -> Sequence[PointGroup]:
        return tuple(self._groups)

    def plan(self) -> Sequence[PlannedRequest]:
        return [
            PlannedRequest(
                group.device,
                group.period_s,
                f"{'subscribe to' if self._subscribes else 'read'} {len(set(_addresses(group)))} nodes",
                group.points,
                tuple(point.place for point in group.points if isinstance(point, OpcuaPoint)),
            )
            for group in self._groups
        ]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session | StreamSession]:
        # asyncua takes half a second to import, which checking a configuration should not cost.
        from drivers.opcua.client import Access  # noqa: PLC0415
        from drivers.opcua.link import open_link  # noqa: PLC0415

        access = Access(self._endpoint, self._security, self._folder, self._timeout_s)
        async with open_link(access) as link:
            try:
                session = await self._prepared(link)
            except BadResponse as error:
                raise DeviceUnavailable(error.message, reason=error.reason, hint=error.hint) from error
            yield session

    async def _prepared(self, link: Link) -> Session | StreamSession:
        """Resolve what is to be read, and subscribe."""
        from drivers.opcua.resolve import resolve  # noqa: PLC0415
        from drivers.opcua.session import PolledSession  # noqa: PLC0415
        from drivers.opcua.subscription import SubscribedSession  # noqa: PLC0415

        nodes = await resolve(link, [address for group in self._groups for address in _addresses(group)])
        if any(isinstance(step, str) for group in self._groups for step in _part_steps(group)):
            try:
                await link.load_types()
            except BadResponse as error:
                _log.warning("%s: fields of structures cannot be read: %s", self.link, error)
        if not self._subscribes:
            timestamps = {group: device.effective_timestamp for group, device in self._groups.items()}
            return PolledSession(link, nodes, timestamps, complaints=self._complaints, clock=self._clock)
        session = SubscribedSession(link, nodes, complaints=self._complaints, clock=self._clock)
        for device in dict.fromkeys(self._groups.values()):
            await session.subscribe(device, [group for group, of in self._groups.items() if of is device])
        return session


def _groups(device: OpcuaDeviceSettings) -> list[PointGroup]:
    """Polled: one for each period. Subscribed: as many as keep a reading of a single change small."""
    points = device.sampled_points()
    if device.subscribe:
        starts = range(0, len(points), LARGEST_GROUP)
        return [PointGroup(device.name, 0.0, points[start : start + LARGEST_GROUP]) for start in starts]
    periods = [each.period or device.period for each in device.points]
    return [
        PointGroup(device.name, period, tuple(point for point, of in zip(points, periods, strict=True) if of == period))
        for period in dict.fromkeys(periods)
    ]


def _addresses(group: PointGroup) -> list[Address]:
    return [point.address for point in group.points if isinstance(point, OpcuaPoint)]


def _part_steps(group: PointGroup) -> list[int | str]:
    return [step for point in group.points if isinstance(point, OpcuaPoint) for step in point.part]

"""The Modbus family and its driver. Imports no pymodbus until a link is opened."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.contract import Driver, PlannedRequest, Session
from drivers.modbus.endpoint import Endpoint, SerialEndpoint, parse_endpoint
from drivers.modbus.owing import Owing
from drivers.modbus.pacing import Pacing
from drivers.modbus.settings import ModbusDeviceSettings
from drivers.modbus.unit import Unit
from drivers.model import PointGroup
from drivers.settings import DeviceSettings
from drivers.tls import DeviceTlsSettings


class ModbusFamily:
    """`drivers.contract.Family` for `driver: modbus`."""

    settings: type[DeviceSettings] = ModbusDeviceSettings

    def link(self, device: DeviceSettings) -> str:
        """The TCP socket or the serial line, without unit and line settings."""
        return parse_endpoint(device.url).link

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:  # noqa: ARG002
        """Raises ValueError when devices on one link disagree about its settings."""
        return ModbusDriver([device for device in devices if isinstance(device, ModbusDeviceSettings)])


class ModbusDriver:
    """`drivers.contract.Driver`: the units behind one socket or on one serial line."""

    def __init__(self, devices: Sequence[ModbusDeviceSettings], *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` is wall-clock time in nanoseconds. Raises ValueError as `ModbusFamily.driver`."""
        self._endpoint = _shared_endpoint(devices)
        self._timeout_s = max(device.timeout for device in devices)
        self._clock = clock
        self._tls = _shared_tls(devices)
        self._pacing = _pacing(devices)
        self._owing = Owing()
        self._reconnects = any(device.reconnect_each_read for device in devices)
        self._units = {group: unit for device in devices for group, unit in _groups(device)}

    @property
    def link(self) -> str:
        return self._endpoint.link

    @property
    def groups(self) -> Sequence[PointGroup]:
        return tuple(self._units)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        # pymodbus takes 0.15 s to import, which checking a configuration should not cost.
        from drivers.modbus.line import open_line  # noqa: PLC0415
        from drivers.modbus.session import ModbusSession  # noqa: PLC0415

        async with open_line(
            self._endpoint,
            timeout_s=self._timeout_s,
            tls=self._tls,
            pacing=self._pacing,
            owing=self._owing,
            reconnects=self._reconnects,
        ) as line:
            yield ModbusSession(line, self._units, link=self.link, clock=self._clock)

    def plan(self) -> Sequence[PlannedRequest]:
        return [
            PlannedRequest(
                device=group.device,
                period_s=group.period_s,
                request=f"unit {unit.number} {unit.dialect.text(unit.dialect.reads[block.span.table], block.span)}",
                points=block.points,
                addresses=tuple(str(point.address) for point in block.points),
            )
            for group, unit in self._units.items()
            for block in unit.plan(group)
        ]


def _groups(device: ModbusDeviceSettings) -> list[tuple[PointGroup, Unit]]:
    """One group per period of the device, in the order of the file; they share the unit."""
    unit = Unit.of(device)
    periods = dict.fromkeys(point.period or device.period for point in device.points)
    return [
        (
            PointGroup(
                device.name,
                period_s,
                tuple(point.point() for point in device.points if (point.period or device.period) == period_s),
            ),
            unit,
        )
        for period_s in periods
    ]


def _shared_endpoint(devices: Sequence[ModbusDeviceSettings]) -> Endpoint:
    first = parse_endpoint(devices[0].url)
    for device in devices[1:]:
        other = parse_endpoint(device.url)
        if other == first:
            continue
        if isinstance(first, SerialEndpoint) and isinstance(other, SerialEndpoint) and first.path == other.path:
            raise ValueError(
                f'"{devices[0].name}" has {first.path} at {first.line} and "{device.name}" at {other.line}; '
                "all units on a serial line need the same baudrate, parity and stopbits"
            )
        raise ValueError(f'"{devices[0].name}" is on {first.link} and "{device.name}" on {other.link}, not on one link')
    return first


def _shared_tls(devices: Sequence[ModbusDeviceSettings]) -> DeviceTlsSettings | None:
    first = devices[0]
    for device in devices[1:]:
        if device.tls != first.tls:
            raise ValueError(
                f'"{first.name}" and "{device.name}" share {parse_endpoint(first.url).link}, which is one connection, '
                "but not one tls"
            )
    return first.tls


def _pacing(devices: Sequence[ModbusDeviceSettings]) -> Pacing | None:
    """None where nobody needs a pause. Where several devices are one unit, the longest pause counts."""
    link_pause_s = max(device.link_pause or 0.0 for device in devices)
    pauses_s: dict[int, float] = {}
    for device in devices:
        if device.pause is not None:
            pauses_s[device.unit] = max(device.pause, pauses_s.get(device.unit, 0.0))
    return Pacing(link_pause_s, pauses_s) if link_pause_s or pauses_s else None

"""Many devices with many registers each, to load a gateway: no physics, almost no cost.

Register `i` of device `d` (both from 0) holds `(tick + 97 * d + i) mod 65536`, and `tick` grows by one every period. So
every value changes every period, and whoever reads a block can tell that it was read whole and from which tick.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from simulators.endpoint import Endpoint
from simulators.modbus import Registers, RegisterTable
from simulators.modbus_tcp import ModbusTcpEndpoint
from simulators.modbus_units import Unit
from simulators.running import keep_pace, serve
from simulators.settings import MAX_UNIT

MAX_POINTS = 10_000
DEVICE_STRIDE = 97
_VALUES = 65536
_RAMP = struct.pack(f">{_VALUES + MAX_POINTS}H", *(value % _VALUES for value in range(_VALUES + MAX_POINTS)))
"""Every block of consecutive values, ready to be sliced out."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """How much load. `one_port` puts all devices behind one port as unit ids 1 to `devices`."""

    devices: int
    points: int
    host: str = "127.0.0.1"
    port: int = 0
    """The first device's port, the others follow; 0 picks free ones."""
    period_s: float = 0.2
    one_port: bool = False

    def __post_init__(self) -> None:
        most = MAX_UNIT if self.one_port else 5000
        if not 1 <= self.devices <= most:
            raise ValueError(f"{self.devices} devices: it must be 1 to {most}{' on one port' if self.one_port else ''}")
        if not 1 <= self.points <= MAX_POINTS:
            raise ValueError(f"{self.points} points: it must be 1 to {MAX_POINTS}")
        if self.port and not self.one_port and self.port + self.devices > _VALUES:
            raise ValueError(f"{self.devices} ports from {self.port} on: there is no port above 65535")


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """Endpoint name → URL, and the control port."""

    endpoints: Mapping[str, str]
    control_url: str


@asynccontextmanager
async def fleet(spec: FleetSpec) -> AsyncIterator[RunningFleet]:
    """Serve the fleet until the context ends. Raises `EndpointError`."""
    tables = [RegisterTable(holding=Registers([range(spec.points)])) for _ in range(spec.devices)]
    ticks = 0
    fill(tables, ticks)

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    endpoints = _endpoints(spec, tables)
    async with serve(endpoints, control="127.0.0.1:0", twin=None) as (control_url, group):
        changing = group.create_task(
            keep_pace(tick, every_s=spec.period_s, after=lambda: fill(tables, ticks)), name="fleet values"
        )
        try:
            yield RunningFleet({endpoint.name: endpoint.url for endpoint in endpoints}, control_url)
        finally:
            changing.cancel()


def fill(tables: list[RegisterTable], tick: int) -> None:
    """Give all registers of all devices their values of `tick`."""
    for device, table in enumerate(tables):
        blob = table.holding.blob
        start = 2 * ((tick + DEVICE_STRIDE * device) % _VALUES)
        blob[:] = _RAMP[start : start + len(blob)]


def _endpoints(spec: FleetSpec, tables: list[RegisterTable]) -> list[Endpoint]:
    names = [f"device-{number:03d}" for number in range(1, spec.devices + 1)]
    if spec.one_port:
        units = {number: Unit(name, table) for number, (name, table) in enumerate(zip(names, tables, strict=True), 1)}
        return [ModbusTcpEndpoint("fleet", units, host=spec.host, port=spec.port, random=Random("fleet"))]
    return [
        ModbusTcpEndpoint(
            name,
            {1: Unit(name, table)},
            host=spec.host,
            port=spec.port + index if spec.port else 0,
            random=Random(name),
        )
        for index, (name, table) in enumerate(zip(names, tables, strict=True))
    ]

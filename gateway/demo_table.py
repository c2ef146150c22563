"""The live table of `hub-gateway demo`: what each device reads, what waits, what the broker has acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NoReturn

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from drivers.model import Value
from gateway.health import DeviceHealth, Health

_EVERY_S = 0.5
_COLUMNS = {"speed": "m/s", "parcels": "", "load": "kg", "current": "A", "arrivals": "", "jams": ""}
"""The points that are shown, with their units in the heading."""


async def live_table(health: Health, *, broker: str, page: str, log: Path) -> NoReturn:
    """Draw until cancelled. Where standard output is no terminal, only the last picture is printed."""
    where = Text(f"status page http://{page}   broker {broker}   log {log}   Ctrl-C stops", style="dim")
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(Group(where, _devices(health), _flow(health)), refresh=True)
            await asyncio.sleep(_EVERY_S)


def _devices(health: Health) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("device", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in (*(f"{name}\n{unit}" for name, unit in _COLUMNS.items()), "reads"):
        table.add_column(heading, justify="right", no_wrap=True)
    for device in health.devices.values():
        state = Text("up", "green") if device.up else Text(device.reason or "…", "red")
        values = _values(device)
        table.add_row(device.name, state, *(values.get(name, "") for name in _COLUMNS), str(device.readings))
    return table


def _flow(health: Health) -> Text:
    buffer = health.buffer
    text = Text(f"buffer {buffer.readings} readings, {buffer.bytes / 1e6:.1f} MB, {buffer.dropped.total()} dropped")
    for one in health.destinations.values():
        state = "connected" if one.up else one.detail or ("disconnected" if one.ever_up else "connecting")
        text.append(f"   {one.name}: {one.acknowledged} acknowledged, {one.backlog} waiting, {state}")
    return text


def _values(device: DeviceHealth) -> dict[str, str]:
    found = {}
    for reading in device.last.values():
        for index, point in enumerate(reading.group.points):
            quality = reading.quality.get(index)
            value = reading.values[index]
            found[point.name] = "bad" if quality and value is None else _short(value)
    return found


def _short(value: Value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)

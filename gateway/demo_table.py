"""The live table of `hub-gateway demo`: what each device said last, what waits, what the broker has acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import NoReturn

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from drivers.model import GOOD, Quality, Value
from gateway.health import DeviceHealth, Health

_EVERY_S = 0.5
_PHRASES = (
    "{weight} {unit}",
    "{uri}",
    "antenna {antenna}",
    "{state_name}",
    "sorted {sorted}",
    "missorted {missorted}",
    "last to {last_destination}",
    "{speed:.2f} m/s",
    "parcels {parcels}",
    "load {load:.1f} kg",
    "jams {jams}",
)
"""What is told of a device: every phrase whose points it has, in this order. Names of points are in braces."""

_Told = tuple[Value, Quality]


async def live_table(health: Health, *, broker: str, page: str, log: Path) -> NoReturn:
    """Draw until cancelled. Where standard output is no terminal, only the last picture is printed."""
    where = Text(f"status page http://{page}   broker {broker}   log {log}   Ctrl-C stops", style="dim")
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(Group(where, _devices(health), _flow(health)), refresh=True)
            await asyncio.sleep(_EVERY_S)


def said_last(device: DeviceHealth) -> str:
    """In a few words, the newest of what the device has said."""
    told = _told(device)
    if not told:
        return "nothing yet"
    return ", ".join(_phrase(phrase, told) for phrase in _PHRASES if told.keys() >= set(_points(phrase)))


def _devices(health: Health) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("device", no_wrap=True)
    table.add_column("driver", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("said last")  # the one that gives way in a narrow terminal
    table.add_column("reads", justify="right", no_wrap=True)
    for device in health.devices.values():
        state = Text("up", "green") if device.up else Text(device.reason or "…", "red")
        words = said_last(device) if device.up else device.detail
        table.add_row(
            device.name, device.driver, state, Text(words, no_wrap=True, overflow="ellipsis"), str(device.readings)
        )
    return table


def _flow(health: Health) -> Text:
    buffer = health.buffer
    text = Text(f"buffer {buffer.readings} readings, {buffer.bytes / 1e6:.1f} MB, {buffer.dropped.total()} dropped")
    for one in health.destinations.values():
        state = "connected" if one.up else one.detail or ("disconnected" if one.ever_up else "connecting")
        text.append(f"\n{one.name}: {one.acknowledged} acknowledged, {one.backlog} waiting, {state}")
    return text


def _phrase(phrase: str, told: Mapping[str, _Told]) -> str:
    """The phrase with its values, and why they are doubtful; where a value is missing, only which one and why."""
    points = {name: told[name] for name in _points(phrase)}
    missing = [f"{name} {_reason(quality)}" for name, (value, quality) in points.items() if value is None]
    if missing:
        return ", ".join(missing)
    doubts = {_reason(quality): None for _, quality in points.values() if quality.reason}
    return " ".join([phrase.format_map({name: value for name, (value, _) in points.items()}), *doubts])


def _points(phrase: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(phrase) if name]


def _reason(quality: Quality) -> str:
    return quality.reason.replace("-", " ")


def _told(device: DeviceHealth) -> dict[str, _Told]:
    """Value and quality of every point of which the device has said something; an empty text says nothing."""
    told = {}
    for reading in device.last.values():
        for index, (point, value) in enumerate(zip(reading.group.points, reading.values, strict=True)):
            if value not in (None, "") or index in reading.quality:
                told[point.name] = value, reading.quality.get(index, GOOD)
    return told

"""A layout that runs: the twin in real time behind open endpoints, for as long as a context lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

from simulators.control import control_port
from simulators.conveyor_map import conveyor_table, show
from simulators.dialects import build
from simulators.endpoint import Endpoint
from simulators.hub import Hub
from simulators.layout import Layout
from simulators.ledger import Entry
from simulators.machine import STEP_S
from simulators.modbus import RegisterTable

_FORGIVEN_S = 5.0
"""A machine that slept longer than this does not live through the time it has missed."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a client needs to know of a running layout."""

    endpoints: Mapping[str, str]
    """Endpoint name → URL."""
    devices: Mapping[str, tuple[str, int | None]]
    """Machine → URL of its (last) endpoint, and its unit id there where it has one."""
    control_url: str
    twin: Hub


@asynccontextmanager
async def simulate(
    layout: Layout, *, seed: int = 0, speed_factor: float = 1.0, ledger: Callable[[Entry], None] | None = None
) -> AsyncIterator[Running]:
    """Run `layout` until the context ends. The twin's time passes `speed_factor` times as fast as the wall's.

    `ledger` is told of everything that happens. Raises `EndpointError` when a port cannot be had. On leaving, every
    socket is closed and every client gone.
    """
    twin = Hub(layout.spec(), seed=seed)
    if ledger is not None:
        twin.ledger.tell(ledger)
    tables = {name: conveyor_table(twin.conveyors[name]) for name in layout.on_modbus}
    _show_all(twin, tables)
    endpoints = [
        build(settings, twin, tables, random=Random(f"{seed} {settings.name}")) for settings in layout.endpoints
    ]

    def step() -> None:
        twin.step(STEP_S)

    async with serve(endpoints, control=layout.control, twin=twin) as (control_url, group):
        stepping = group.create_task(
            keep_pace(step, every_s=STEP_S / speed_factor, after=lambda: _show_all(twin, tables)), name="twin"
        )
        try:
            yield Running(
                endpoints={endpoint.name: endpoint.url for endpoint in endpoints},
                devices=dict(_whereabouts(endpoints)),
                control_url=control_url,
                twin=twin,
            )
        finally:
            stepping.cancel()


@asynccontextmanager
async def serve(
    endpoints: Iterable[Endpoint], *, control: str, twin: Hub | None
) -> AsyncIterator[tuple[str, asyncio.TaskGroup]]:
    """Open `endpoints` and the control port; yields its URL and a group for what shall run meanwhile.

    The group's tasks must have ended, or been cancelled, when the context ends.
    """
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    try:
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            for endpoint in by_name.values():
                stack.push_async_callback(endpoint.close)
                await endpoint.open(group)
            yield await stack.enter_async_context(control_port(control, by_name, twin=twin)), group
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) > 1:
            raise
        raise errors.exceptions[0] from None  # one error is itself, also when it is the caller's own


async def keep_pace(step: Callable[[], None], *, every_s: float, after: Callable[[], None]) -> None:
    """Call `step` once for every `every_s` that passes, and `after` when it has caught up; for ever, without drift.

    Deadlines are absolute. It wakes no more often than every `STEP_S`, so fast steps are done several at a time; when
    there are more than it can do, endpoints still have their turn that often.
    """
    loop = asyncio.get_running_loop()
    pause_s = max(every_s, STEP_S)
    due_s = loop.time() + every_s
    while True:
        await asyncio.sleep(max(0.0, due_s + pause_s - every_s - loop.time()))
        now_s = loop.time()
        due_s = max(due_s, now_s - _FORGIVEN_S)
        while due_s <= now_s and loop.time() < now_s + STEP_S:
            step()
            due_s += every_s
        after()


def _whereabouts(endpoints: Iterable[Endpoint]) -> Iterator[tuple[str, tuple[str, int | None]]]:
    for endpoint in endpoints:
        units = {machine: unit for unit, machine in endpoint.units.items()}
        for machine in endpoint.machines:
            yield machine, (endpoint.url, units.get(machine))


def _show_all(twin: Hub, tables: Mapping[str, RegisterTable]) -> None:
    for name, table in tables.items():
        show(twin.conveyors[name], table)

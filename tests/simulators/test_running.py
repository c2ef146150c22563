"""`simulate` as another program uses it, and the pace of the twin."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from simulators.endpoint import EndpointError
from simulators.layout import LAYOUTS, Layout, load_layout
from simulators.machine import STEP_S
from simulators.running import keep_pace, simulate

Until = Callable[..., Any]


async def test_devices_tell_where_each_conveyor_is(layout: Layout) -> None:
    async with simulate(layout) as running:
        assert running.devices["second"] == (running.endpoints["plc-2"], 1)
        assert running.devices["fourth"] == (running.endpoints["line-1"], 2)


async def test_time_passes_as_fast_as_asked(layout: Layout, until: Until) -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    async with simulate(layout, speed_factor=100) as running:
        await until(lambda: running.twin.time_s >= 50)
        assert running.twin.time_s <= (loop.time() - started_s) * 100 + STEP_S


async def test_an_error_of_the_caller_comes_out_as_it_is(layout: Layout) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with simulate(layout):
            raise LookupError("mine")


async def test_a_port_that_is_taken_is_an_endpoint_error_that_names_it(layout: Layout) -> None:
    async with simulate(layout) as running:
        listen = running.endpoints["plc-1"].removeprefix("tcp://")
        endpoints = [{**e.model_dump(), "listen": listen} if e.name == "plc-1" else e for e in layout.endpoints]
        again = Layout.model_validate({"lines": layout.lines, "endpoints": endpoints})
        with pytest.raises(EndpointError, match=f'endpoint "plc-1" cannot listen on {listen}'):
            async with simulate(again):
                pass


async def test_the_same_port_can_be_had_again_at_once(layout: Layout) -> None:
    async with simulate(layout) as running:
        host, port = running.endpoints["plc-1"].removeprefix("tcp://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    endpoints = [{**layout.endpoints[0].model_dump(), "listen": f"{host}:{port}"}]
    async with simulate(Layout.model_validate({"lines": layout.lines, "endpoints": endpoints})) as running:
        assert running.endpoints["plc-1"] == f"tcp://{host}:{port}"


async def test_a_late_loop_catches_up_step_by_step_and_does_not_drift(until: Until) -> None:
    loop = asyncio.get_running_loop()
    steps = 0
    shown: list[int] = []

    def step() -> None:
        nonlocal steps
        steps += 1

    started_s = loop.time()
    async with asyncio.TaskGroup() as group:
        pace = group.create_task(keep_pace(step, every_s=0.01, after=lambda: shown.append(steps)), name="pace")
        await until(lambda: steps >= 50)
        elapsed_s = loop.time() - started_s
        pace.cancel()
    assert steps <= elapsed_s / 0.01
    assert len(shown) < steps


async def test_a_twin_that_is_too_slow_leaves_endpoints_their_turn(until: Until) -> None:
    steps = turns_within = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps < 100:
            time.sleep(0.005)  # calculates fifty times as long as the time that passes in the twin

    async def endpoint() -> None:
        nonlocal turns_within
        while True:
            turns_within += 0 < steps < 100
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        pace = group.create_task(keep_pace(step, every_s=0.0001, after=lambda: None), name="pace")
        other = group.create_task(endpoint(), name="endpoint")
        await until(lambda: steps >= 100)
        pace.cancel()
        other.cancel()
    assert turns_within > 5


async def test_every_machine_of_the_small_hub_answers_under_a_url_that_a_config_takes() -> None:
    async with simulate(load_layout(LAYOUTS / "small-hub.yaml"), seed=1) as running:
        urls = {name: urlsplit(url) for name, url in running.endpoints.items()}
        assert {name: url.scheme for name, url in urls.items()} == {
            "infeed": "tcp",
            "singulator": "tcp",
            "weigher": "tcp",
            "weigher-drive": "tcp",
            "portal": "llrp",
            "door": "llrp",
            "sorter": "opc.tcp",
            "serial-1": "rtu",
            "counter": "serial",
            "pallet-scale": "serial",
        }
        for url in urls.values():
            if url.path:
                assert stat.S_ISCHR(os.stat(url.path).st_mode)  # noqa: PTH116 - a device, not a file
                assert parse_qs(url.query)["baudrate"]
            else:
                _, writer = await asyncio.open_connection(url.hostname, url.port)
                writer.close()
                await writer.wait_closed()
        assert running.devices["sorter"] == (running.endpoints["sorter"], None)


async def test_a_tenth_of_the_airport_hub_opens_all_its_endpoints() -> None:
    async with simulate(load_layout(LAYOUTS / "airport-hub.yaml", fraction=0.1), seed=1) as running:
        schemes = Counter(urlsplit(url).scheme for url in running.endpoints.values())
    assert schemes == {"tcp": 12 + 5, "llrp": 7, "opc.tcp": 2}

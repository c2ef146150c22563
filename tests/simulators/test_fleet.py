"""The fleet's values: all change, and a block shows whether it was read whole."""

from __future__ import annotations

import asyncio
import struct

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.fleet import FleetSpec, fill, fleet
from simulators.modbus import Registers, RegisterTable, respond


@given(st.integers(0, 200_000), st.integers(1, 125), st.integers(1, 8))
def test_register_i_of_device_d_holds_tick_and_97_d_and_i(tick: int, points: int, devices: int) -> None:
    tables = [RegisterTable(holding=Registers([range(points)])) for _ in range(devices)]
    fill(tables, tick)
    for device, table in enumerate(tables):
        answer = respond(table, struct.pack(">BHH", 3, 0, points))
        first = (tick + 97 * device) % 65536
        assert struct.unpack(f">{points}H", answer[2:]) == tuple((first + i) % 65536 for i in range(points))


async def test_every_value_changes_with_time_and_a_block_is_never_torn() -> None:
    async with asyncio.timeout(10), fleet(FleetSpec(devices=3, points=100, period_s=0.02)) as running:
        host, port = running.endpoints["device-002"].removeprefix("tcp://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        seen: set[int] = set()
        while len(seen) < 4:
            writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 100))
            values = struct.unpack(">100H", (await reader.readexactly(209))[9:])
            assert values == tuple(range(values[0], values[0] + 100))
            seen.add(values[0])
        writer.close()


async def test_a_fleet_has_faults_but_no_twin() -> None:
    command = b'{"device": "device-001", "fault": "refuse"}'
    async with fleet(FleetSpec(devices=1, points=1)) as running, aiohttp.ClientSession(running.control_url) as http:
        async with http.get("/twin") as response:
            assert response.status == 404
            assert (await response.json())["error"] == "a fleet has no twin"
        async with http.post("/faults", data=command) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "wrong", [{"devices": 0}, {"points": 0}, {"devices": 248, "one_port": True}, {"port": 65500}, {"points": 10_001}]
)
def test_an_impossible_fleet_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|no port above"):
        FleetSpec(**{"devices": 100, "points": 100, **wrong})  # type: ignore[arg-type]

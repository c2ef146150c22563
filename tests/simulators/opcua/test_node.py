"""node-opcua, which shares no code with the server, reads, follows and writes the sorter."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from pathlib import Path

from simulators.opcua import OpcuaEndpoint
from tests.plugins.node_packages import installed
from tests.simulators.opcua.conftest import DEADLINE_S, StillSorter

CLIENT = Path(__file__).parent / "client.mjs"
MODULES = Path(__file__).parents[2] / "drivers" / "opcua" / "node"
"""The modules that the driver is tried with."""


async def test_node_opcua_reads_follows_and_writes(
    endpoint: OpcuaEndpoint, sorter: StillSorter, tmp_path: Path
) -> None:
    modules = await asyncio.to_thread(installed, MODULES)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(CLIENT),
        str(modules),
        endpoint.url,
        stdout=PIPE,
        stderr=PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    try:
        async with asyncio.timeout(6 * DEADLINE_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    assert json.loads(output.decode().splitlines()[-1]) == {
        "speed": ["Double", [1.25], "Good", "2026-01-01T00:00:00.000Z"],
        "state": ["Int32", [6], "Good", "2026-01-01T00:00:00.000Z"],
        "chutes": {"0": 3, "1": 4, "2": 1},
        "browsed": [
            "UnitModeCurrent",
            "StateCurrent",
            "MachSpeed",
            "CurMachSpeed",
            "EquipmentBlocked",
            "EquipmentStarved",
        ],
        "written": "Good",
        "followed": [1.5, 0.75],
        "refused": ["BadOutOfRange", "BadInvalidState", "BadTypeMismatch"],
    }
    assert sorter.speed_setpoint_m_s == 0.75
    assert sorter.commands == []

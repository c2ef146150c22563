"""asyncua's own server, subscribed to and polled."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from asyncua import ua

from drivers import registry
from drivers.contract import Family
from drivers.model import Value
from tests.drivers.opcua.plant import URI, Plant, plant


class OpcuaServer:
    """Two nodes of a plant."""

    def __init__(self, running: Plant) -> None:
        self._plant = running
        self._speeds = itertools.count(1)

    @property
    def port(self) -> int:
        return self._plant.port

    async def show(self) -> Mapping[str, Value]:
        speed = next(self._speeds)
        await self._plant.write("Speed", speed, ua.VariantType.Int32)
        return {"speed": speed}

    async def spoil(self) -> None:
        await self._plant.report(Load=ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadSensorFailure)))

    async def mend(self) -> None:
        await self._plant.write("Load", 12.5)


class OpcuaRig:
    """`subscribe` as in the config."""

    def __init__(self, *, subscribe: bool) -> None:
        self._subscribe = subscribe

    @property
    def name(self) -> str:
        return "opcua" if self._subscribe else "opcua polled"

    @property
    def family(self) -> Family:
        return registry.family("opcua")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[OpcuaServer]:
        async with plant() as running:
            await running.add("Speed", 0, ua.VariantType.Int32)
            await running.add("Load", 12.5)
            yield OpcuaServer(running)

    def device(self, port: int) -> dict[str, Any]:
        quick = {"publishing_interval": 0.02, "sampling_interval": 0.02, "silence": 1.0} if self._subscribe else {}
        return {
            "name": "sorter",
            "driver": "opcua",
            "url": f"opc.tcp://127.0.0.1:{port}",
            "subscribe": self._subscribe,
            "timeout": 0.5,
            **quick,
            "points": [
                {"name": "speed", "address": f"nsu={URI};s=Speed"},
                {"name": "load", "address": "/Objects/2:Machine/Load"},
            ],
        }

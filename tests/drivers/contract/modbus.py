"""A Modbus TCP unit after Modbus Messaging on TCP/IP V1.0b, 4.2, and the Application Protocol V1.1b3, 6.3."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from drivers import registry
from drivers.contract import Family
from drivers.model import Value

_NOT_A_NUMBER = 0x7FC00000


class ModbusUnit:
    """Holding register 0 is the speed, 2 and 3 the load as a float32."""

    def __init__(self) -> None:
        self.port = 0
        self._speeds = itertools.count(1)
        self._registers = [0] * 4
        self.clients: set[asyncio.Transport] = set()

    async def show(self) -> Mapping[str, Value]:
        speed = self._registers[0] = next(self._speeds)
        self._hold_load(12.5)
        return {"speed": speed, "load": 12.5}

    async def spoil(self) -> None:
        self._registers[2:] = divmod(_NOT_A_NUMBER, 1 << 16)

    async def mend(self) -> None:
        self._hold_load(12.5)

    def answer(self, request: bytes) -> bytes:
        start, count = struct.unpack(">HH", request[8:12])
        data = struct.pack(f">{count}H", *self._registers[start : start + count])
        return request[:4] + struct.pack(">HBBB", 3 + len(data), request[6], request[7], len(data)) + data

    def _hold_load(self, value: float) -> None:
        self._registers[2:] = struct.unpack(">HH", struct.pack(">f", value))


class _Connection(asyncio.Protocol):
    def __init__(self, unit: ModbusUnit) -> None:
        self._unit = unit
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._unit.clients.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unit.clients.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), 12):
            self._transport.write(self._unit.answer(data[start : start + 12]))


class ModbusRig:
    """The family `modbus`."""

    name = "modbus"

    @property
    def family(self) -> Family:
        return registry.family("modbus")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[ModbusUnit]:
        unit = ModbusUnit()
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(unit), "127.0.0.1", 0)
        unit.port = server.sockets[0].getsockname()[1]
        async with server:
            yield unit
            for transport in [*unit.clients]:
                transport.abort()

    def device(self, port: int) -> dict[str, Any]:
        return {
            "name": "drive",
            "driver": "modbus",
            "url": f"tcp://127.0.0.1:{port}",
            "timeout": "500ms",
            "points": [
                {"name": "speed", "address": "holding:0", "type": "uint16"},
                {"name": "load", "address": "holding:2", "type": "float32"},
            ],
        }

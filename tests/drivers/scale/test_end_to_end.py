"""From the line to the message: through the gateway's own supervisor and payload, and through an RFC 2217 server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from drivers.model import Reading
from drivers.scale.driver import ScaleDriver
from drivers.scale.settings import ScaleSettings
from drivers.settings import Priority
from gateway.acquire import Link
from gateway.health import DeviceHealth
from gateway.payloads.json import JsonPayload
from tests.drivers.scale.conftest import WRITABLE, Make, asked, shown
from tests.drivers.scale.instruments import MtSicsScale, on_terminal
from tests.drivers.transport.conftest import PortServer, serve


@dataclass(frozen=True, slots=True)
class Stored:
    position: int
    reading: Reading


class Sink:
    """Where readings go."""

    def __init__(self) -> None:
        self.readings: asyncio.Queue[Reading] = asyncio.Queue()

    def append(self, reading: Reading, *, priority: Priority) -> None:
        self.readings.put_nowait(reading)


@pytest.mark.parametrize("read", ["polled", "streaming", "stable"])
async def test_12_340_is_12_340_in_the_message(read: str) -> None:
    scale, sink = MtSicsScale(), Sink()
    scale.put("12.340")
    payload = JsonPayload(
        site="lgg", gateway="sort-01", epoch="9f3c1e00", topic="hub/{device}", version="0", started_ms=0
    )
    async with on_terminal(scale) as line, asyncio.timeout(10):
        settings = ScaleSettings.model_validate(
            {
                "name": "weigh-1", "driver": "scale", "url": line.url, "protocol": "mt-sics",
                "read": read, "points": WRITABLE, "period": "20ms",
            }
        )  # fmt: skip
        link = Link(
            ScaleDriver(settings),
            [settings],
            sink=sink,
            health={"weigh-1": DeviceHealth("weigh-1", "scale")},
            staggers={"weigh-1": 0.0},
        )
        running = asyncio.create_task(link.run())
        try:
            reading = await sink.readings.get()
            while "weight" not in shown(reading):
                reading = await sink.readings.get()
            _, message = payload.encode([Stored(1, reading)], historical=False)
            assert b'"weight":12.340,' in message
            assert json.loads(message, parse_float=Decimal)["values"]["net"] == Decimal("12.340")
            assert str(await link.write("weigh-1", "tare", 1.25)) == "1.25"
            assert scale.tare == Decimal("1.25")
            with pytest.raises(ValueError, match="is not writable"):
                await link.write("weigh-1", "weight", 1)
        finally:
            running.cancel()
            await asyncio.wait([running])


class ScaleBehindServer(PortServer):
    """pyserial's RFC 2217 server with a scale on its port instead of a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = MtSicsScale()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.scale.send = self.say

    def data_received(self, data: bytes) -> None:
        self.scale.received(b"".join(self.manager.filter(data)))


@pytest.fixture
async def server() -> AsyncIterator[ScaleBehindServer]:
    async for serving in serve(ScaleBehindServer()):
        assert isinstance(serving, ScaleBehindServer)
        yield serving


async def test_a_scale_behind_an_rfc_2217_server_is_read_at_its_own_line_settings(
    server: ScaleBehindServer, make_driver: Make
) -> None:
    server.scale.put("12.340")
    driver = make_driver(f"{server.url}?baudrate=2400&bytesize=7&parity=E", protocol="mt-sics", timeout="2s")
    async with asked(driver) as session:
        reading = await session.read(driver.groups[0])
        assert str(shown(reading)["weight"]) == "12.340"
        assert (server.line.baudrate, server.line.bytesize, server.line.parity) == (2400, 7, "E")

"""A small running line, and the plainest possible ways to talk to it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from simulators.layout import Layout, parse_layout
from simulators.running import Running, simulate

DEADLINE_S = 5.0
SILENCE_S = 0.05
"""A frame on the serial line ends here; longer than the server waits for more."""

Ask = Callable[..., Awaitable[bytes]]
Line = Callable[..., Awaitable[bytes]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Post = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def layout() -> Layout:
    """Two conveyors on TCP (one of them also behind a gateway with two units) and two on one serial line."""
    return parse_layout(
        {
            "lines": [
                {
                    "name": "line",
                    "arrivals_per_hour": 3600,
                    "machines": [
                        {"kind": "conveyor", "name": name, "length_m": 3.0, "speed_mm_s": 1000}
                        for name in ("first", "second", "third", "fourth")
                    ],
                }
            ],
            "endpoints": [
                {"name": "plc-1", "kind": "modbus-tcp", "units": {1: "first"}},
                {"name": "plc-2", "kind": "modbus-tcp", "units": {1: "second", 7: "first"}},
                {"name": "line-1", "kind": "modbus-rtu", "baudrate": 115200, "units": {1: "third", 2: "fourth"}},
            ],
        }
    )


@pytest.fixture
async def running(layout: Layout) -> AsyncIterator[Running]:
    async with asyncio.timeout(30), simulate(layout, seed=1, speed_factor=20) as running:
        yield running


@pytest.fixture
def address(running: Running) -> Callable[[str], tuple[str, int]]:
    """Host and port of a TCP endpoint."""

    def of(name: str) -> tuple[str, int]:
        parts = urlsplit(running.endpoints[name])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    return of


@pytest.fixture
def terminal(running: Running) -> str:
    """Path of the serial line."""
    return urlsplit(running.endpoints["line-1"]).path


@pytest.fixture
def ask(address: Callable[[str], tuple[str, int]]) -> Ask:
    """Send bytes on a connection of its own, and read as many as are expected (or all until the server closes)."""

    async def one(request: bytes, *, expect: int = -1, endpoint: str = "plc-1") -> bytes:
        reader, writer = await asyncio.open_connection(*address(endpoint))
        try:
            writer.write(request)
            async with asyncio.timeout(DEADLINE_S):
                return await (reader.read() if expect < 0 else reader.readexactly(expect))
        finally:
            writer.close()

    return one


@pytest.fixture
def until() -> Until:
    """Wait until a fact about the twin holds; the twin is only there to be looked at, so it is looked at again."""

    async def wait(fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not fact():  # noqa: ASYNC110 - physics has no event to wait for
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def line(terminal: str) -> Line:
    """Send frames (hex) down the serial line with a silence between them; what came back within the deadline, up to the
    first answer after the last frame."""

    async def send(*frames: str) -> bytes:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        loop.add_reader(descriptor, lambda: arrived.put_nowait(os.read(descriptor, 4096)))
        try:
            for number, frame in enumerate(frames):
                if number:
                    await asyncio.sleep(SILENCE_S)
                os.write(descriptor, bytes.fromhex(frame))
            got = b""
            async with asyncio.timeout(DEADLINE_S):
                while len(got) < 5 or (got[1] < 0x80 and len(got) < got[2] + 5):
                    got += await arrived.get()
            return got
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    return send


@pytest.fixture
async def post(running: Running) -> AsyncIterator[Post]:
    """POST JSON (or raw text) to the control port: status and decoded answer."""
    async with aiohttp.ClientSession(running.control_url) as http:

        async def one(path: str, body: Any) -> tuple[int, Any]:
            data = body if isinstance(body, str) else json.dumps(body)
            async with http.post(path, data=data) as response:
                return response.status, await response.json()

        yield one

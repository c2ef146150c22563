"""What every byte stream promises, over a pseudo-terminal, TCP and RFC 2217 alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable
from drivers.transport import ByteStream, open_stream, parse_url
from tests.drivers.transport.conftest import Peer, PortServer, Terminal
from tests.plugins.cancellation import cancelled_at_every_await


@dataclass(frozen=True, slots=True)
class FarEnd:
    url: str
    end: Terminal | Peer | PortServer

    def send(self, data: bytes) -> None:
        if isinstance(self.end, Terminal):
            self.end.send(data)
        elif isinstance(self.end, PortServer):
            self.end.say(data)
        else:
            self.end.transport.write(data)

    def vanish(self) -> None:
        if isinstance(self.end, Terminal):
            self.end.unplug()
        else:
            self.end.transport.abort()

    async def arrived(self) -> None:
        """Wait until what was sent can be read."""
        if not isinstance(self.end, Terminal):
            await asyncio.sleep(0)


@pytest.fixture(params=["terminal", "peer", "port_server"])
def far_end(request: pytest.FixtureRequest) -> FarEnd:
    end: Any = request.getfixturevalue(request.param)
    return FarEnd(end.url, end)


@asynccontextmanager
async def opened(far_end: FarEnd) -> AsyncIterator[ByteStream]:
    async with asyncio.timeout(10):
        if not isinstance(far_end.end, Terminal):
            await far_end.end.gone.wait()
        async with open_stream(parse_url(far_end.url), timeout_s=5.0) as stream:
            if not isinstance(far_end.end, Terminal):
                await far_end.end.connected.wait()
            yield stream


async def read_exactly(stream: ByteStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.read()
    return data


async def test_what_the_device_sends_is_read_byte_for_byte(far_end: FarEnd) -> None:
    everything = bytes(range(256))
    async with opened(far_end) as stream:
        far_end.send(everything)
        assert await read_exactly(stream, 256) == everything


async def test_reading_waits_for_something_to_come(far_end: FarEnd) -> None:
    async with opened(far_end) as stream:
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        assert not reading.done()
        far_end.send(b"x")
        assert await reading == b"x"


async def test_what_came_before_it_was_discarded_is_gone(far_end: FarEnd) -> None:
    async with opened(far_end) as stream:
        far_end.send(b"early")
        assert await stream.read()
        far_end.send(b"stale")
        await far_end.arrived()
        stream.discard_input()
        far_end.send(b"fresh")
        assert await read_exactly(stream, 5) == b"fresh"


async def test_a_device_that_vanishes_is_unavailable(far_end: FarEnd) -> None:
    async with opened(far_end) as stream:
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        far_end.vanish()
        with pytest.raises(DeviceUnavailable) as caught:
            await reading
        assert caught.value.hint
        stream.discard_input()
        with pytest.raises(DeviceUnavailable):
            await stream.read()


async def test_writing_to_a_device_that_has_vanished_is_noticed(far_end: FarEnd) -> None:
    async with opened(far_end) as stream:
        far_end.vanish()

        async def write_on() -> None:
            while True:  # TCP takes what is written until it has heard of it
                await stream.write(b"x")
                await asyncio.sleep(0)

        with pytest.raises(DeviceUnavailable):
            await write_on()


async def test_a_stream_can_be_opened_again_at_once(far_end: FarEnd) -> None:
    for _ in range(2):
        async with opened(far_end) as stream:
            far_end.send(b"again")
            assert await read_exactly(stream, 5) == b"again"


async def test_cancelled_at_any_await_it_leaves_nothing_behind(far_end: FarEnd) -> None:
    async def use() -> None:
        async with open_stream(parse_url(far_end.url), timeout_s=5.0) as stream:
            reading = asyncio.get_running_loop().call_later(0.001, far_end.send, b"x")
            try:
                await stream.read()
                await stream.write(b"y")
            finally:
                reading.cancel()

    async with asyncio.timeout(10):
        assert await cancelled_at_every_await(use) >= 1
        async with opened(far_end) as stream:
            stream.discard_input()
            far_end.send(b"alive")
            assert (await read_exactly(stream, 5))[-5:] == b"alive"


async def test_writing_waits_for_a_device_that_takes_nothing_and_can_be_cancelled(far_end: FarEnd) -> None:
    async with opened(far_end) as stream:
        if not isinstance(far_end.end, Terminal):
            far_end.end.transport.pause_reading()
        writing = asyncio.create_task(stream.write(bytes(64 * 2**20)))
        await asyncio.sleep(0)
        assert not writing.done()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

"""Indicators on real sockets and real pseudo-terminals, asked by pyserial and plain streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
import serial

from simulators.endpoint import Endpoint
from simulators.faults import Fault, FaultError, FaultKind
from simulators.scale import ScaleSerialEndpoint, ScaleTcpEndpoint
from tests.simulators.scale.conftest import Pan

PATIENCE_S = 10.0


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Endpoint], Any]]:
    """Opens an endpoint until the test ends."""
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:

        async def opening(endpoint: Endpoint) -> Endpoint:
            stack.push_async_callback(endpoint.close)
            await endpoint.open(group)
            return endpoint

        yield opening


def over_tcp(pan: Pan, protocol: Any) -> ScaleTcpEndpoint:
    return ScaleTcpEndpoint("scale", pan, host="127.0.0.1", port=0, protocol=protocol, random=Random(1))


async def connected(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(endpoint.url.rpartition(":")[2]))


async def test_two_clients_have_conversations_of_their_own(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "mt-sics"))
    assert endpoint.url.startswith("tcp://127.0.0.1:")
    async with asyncio.timeout(PATIENCE_S):
        (first, to_first), (second, to_second) = await connected(endpoint), await connected(endpoint)
        to_first.write(b"SIR\r\n")
        for _ in range(3):
            assert await first.readline() == b"S S      12.34 kg\r\n"
        to_second.write(b"TA\r\n")
        assert await second.readline() == b"TA A       0.00 kg\r\n"
        for writer in (to_first, to_second):
            writer.close()
            await writer.wait_closed()


async def test_pyserial_reads_continuous_output_from_the_line(pan: Pan, opened: Any) -> None:
    endpoint = await opened(
        ScaleSerialEndpoint("scale", pan, baudrate=9600, protocol="toledo-continuous", random=Random(1))
    )
    path = endpoint.url.removeprefix("serial://").partition("?")[0]

    def read() -> bytes:
        with serial.Serial(path, 9600, timeout=PATIENCE_S) as port:
            return bytes(port.read(36))

    heard = await asyncio.to_thread(read)
    frame = bytes.fromhex("02 2C 30 20 30 30 31 32 33 34 30 30 30 30 30 30 0D 2B")
    assert frame in heard


async def test_a_restarted_indicator_on_a_line_announces_itself(pan: Pan, opened: Any) -> None:
    endpoint = await opened(ScaleSerialEndpoint("scale", pan, baudrate=115200, protocol="mt-sics", random=Random(1)))
    path = endpoint.url.removeprefix("serial://").partition("?")[0]
    with serial.Serial(path, 115200, timeout=PATIENCE_S) as port:
        await endpoint.impose(Fault(FaultKind.RESTART))
        assert await asyncio.to_thread(port.readline) == b'I4 A "B207696838"\r\n'
    assert pan.power_cycles == 1


async def test_a_restart_that_takes_time_is_announced_at_its_end(pan: Pan, opened: Any) -> None:
    endpoint = await opened(ScaleSerialEndpoint("scale", pan, baudrate=115200, protocol="mt-sics", random=Random(1)))
    path = endpoint.url.removeprefix("serial://").partition("?")[0]
    with serial.Serial(path, 115200, timeout=0) as port:
        await endpoint.impose(Fault(FaultKind.RESTART), for_s=0.05)
        assert [fault.kind for fault in endpoint.faults().values()] == [FaultKind.HANG]
        heard = b""
        async with asyncio.timeout(PATIENCE_S):
            while not heard.endswith(b"\r\n"):
                assert not (heard and endpoint.faults())
                await asyncio.sleep(0)
                heard += port.read(64)
    assert heard == b'I4 A "B207696838"\r\n'


async def test_a_line_that_is_too_slow_for_a_stream_shows_the_present(pan: Pan, opened: Any) -> None:
    endpoint = await opened(
        ScaleSerialEndpoint("scale", pan, baudrate=1200, protocol="toledo-continuous", random=Random(1))
    )
    path = endpoint.url.removeprefix("serial://").partition("?")[0]
    with serial.Serial(path, 1200, timeout=0) as port:
        heard = b""
        async with asyncio.timeout(PATIENCE_S):
            while len(heard) < 4 * 18:
                assert endpoint._free_at_s - asyncio.get_running_loop().time() < 0.5  # two frames take that long
                await asyncio.sleep(0)
                heard += port.read(64)


async def test_clients_of_a_restarted_instrument_see_that_it_wakes_up(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "toledo-continuous"))
    async with asyncio.timeout(PATIENCE_S):
        await endpoint.impose(Fault(FaultKind.RESTART))
        reader, writer = await connected(endpoint)
        assert (await reader.readexactly(18))[2] & 0x40
        writer.close()


async def test_faults_spoil_what_is_sent(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "toledo-continuous"))
    async with asyncio.timeout(PATIENCE_S):
        await endpoint.impose(Fault(FaultKind.WRONG_CHECKSUM))
        reader, writer = await connected(endpoint)
        assert sum(await reader.readexactly(18)) & 0x7F
        await endpoint.impose(Fault(FaultKind.OVERLOAD))
        while not (await reader.readexactly(18))[2] & 0x04:
            pass
        await endpoint.impose(Fault(FaultKind.RESET))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_hanging_indicator_answers_nothing_and_a_slow_one_late(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "sma"))
    async with asyncio.timeout(PATIENCE_S):
        await endpoint.impose(Fault(FaultKind.HANG))
        reader, writer = await connected(endpoint)
        writer.write(b"\nW\r")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await endpoint.impose(Fault(FaultKind.SLOW, delay_s=0.05))
        reader, writer = await connected(endpoint)
        writer.write(b"\nM\r")
        assert await reader.readuntil(b"\r") == b"\n 1T        0.00kg \r"
        writer.close()
        await writer.wait_closed()


async def test_what_has_no_checksum_cannot_send_a_wrong_one(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "sma"))
    with pytest.raises(FaultError, match="sma has no checksum"):
        await endpoint.impose(Fault(FaultKind.WRONG_CHECKSUM))


async def test_a_client_that_does_not_read_costs_nothing(pan: Pan, opened: Any) -> None:
    endpoint = await opened(over_tcp(pan, "mt-sics"))
    async with asyncio.timeout(PATIENCE_S):
        _, writer = await connected(endpoint)
        (client,) = endpoint.clients
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"I0\r\n" * 20_000)
        await writer.drain()
        assert client.transport.get_write_buffer_size() < 1 << 20
        writer.transport.abort()
        await client.gone

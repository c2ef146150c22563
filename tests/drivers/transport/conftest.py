"""What is at the other end: pseudo-terminals, TCP servers, and pyserial's own RFC 2217 server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import serial
import serial.rfc2217


class Terminal:
    """The far end of a serial line: a pseudo-terminal whose other side is opened by what is tested."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.path = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self.master, False)
        self._open = True

    @property
    def url(self) -> str:
        return f"serial://{self.path}"

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    async def receive(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        received = b""
        while len(received) < count:
            ready = asyncio.Event()
            loop.add_reader(self.master, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self.master)
            received += os.read(self.master, count - len(received))
        return received

    def unplug(self) -> None:
        if self._open:
            self._open = False
            os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.unplug()


class Peer(asyncio.Protocol):
    """A TCP server for one connection at a time that keeps what it receives."""

    def __init__(self) -> None:
        self.port = 0
        self.received = bytearray()
        self.came = asyncio.Event()
        self.connected = asyncio.Event()
        self.gone = asyncio.Event()
        self.gone.set()
        self.transport: asyncio.Transport

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.gone.clear()
        self.connected.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected.clear()
        self.gone.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.came.set()

    async def receive(self, count: int) -> bytes:
        while len(self.received) < count:
            self.came.clear()
            await self.came.wait()
        return bytes(self.received)


async def serve(peer: Peer) -> AsyncIterator[Peer]:
    server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    async with server:
        yield peer
        if peer.connected.is_set():
            peer.transport.abort()
        await peer.gone.wait()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async for serving in serve(Peer()):
        yield serving


class PortServer(Peer):
    """pyserial's server code of RFC 2217 in front of a port that sends back what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = serial.serial_for_url("loop://", timeout=0)
        self.manager: serial.rfc2217.PortManager

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self.port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.manager = serial.rfc2217.PortManager(self.line, self.transport)

    def data_received(self, data: bytes) -> None:
        self.line.write(b"".join(self.manager.filter(data)))
        self.say(self.line.read(self.line.in_waiting))

    def say(self, data: bytes) -> None:
        self.transport.write(b"".join(self.manager.escape(data)))


@pytest.fixture
async def port_server() -> AsyncIterator[PortServer]:
    async for serving in serve(PortServer()):
        assert isinstance(serving, PortServer)
        yield serving

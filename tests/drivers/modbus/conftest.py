"""Counterparts that share no code with the driver: libmodbus, mbpoll, and devices scripted byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusDeviceSettings

Answer = Callable[[bytes, Callable[[bytes], None]], None]
"""What a scripted device does with one request, given a way to send bytes."""


@pytest.fixture
def make_driver() -> Callable[..., ModbusDriver]:
    """A driver of one device; or of several, given as dictionaries."""

    def make(*devices: dict[str, Any], clock: Callable[[], int] | None = None) -> ModbusDriver:
        settings = [
            ModbusDeviceSettings.model_validate({"name": f"device-{number}", "driver": "modbus", **device})
            for number, device in enumerate(devices, start=1)
        ]
        return ModbusDriver(settings, clock=clock) if clock else ModbusDriver(settings)

    return make


@pytest.fixture
def registers() -> Callable[..., list[dict[str, Any]]]:
    """Points of type uint16 at these addresses of a table, named after them."""

    def make(*addresses: int, table: str = "holding") -> list[dict[str, Any]]:
        kind = {} if table in ("coil", "discrete") else {"type": "uint16"}
        return [{"name": f"{table}{address}", "address": f"{table}:{address}", **kind} for address in addresses]

    return make


class ScriptedServer(asyncio.Protocol):
    """A TCP server of one connection at a time that answers what it is told to."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0
        self.connected = asyncio.Event()
        self.requested = asyncio.Event()
        self.disconnected = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.listener: asyncio.Server | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.disconnected.clear()
        self.connected.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.disconnected.set()

    def data_received(self, data: bytes) -> None:
        self.requests.append(data)
        self.requested.set()
        self.answer(data, self.send)

    def send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    @property
    def url(self) -> str:
        return self.url_of("tcp")

    def url_of(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}"


@pytest.fixture
async def scripted() -> AsyncIterator[Callable[..., Any]]:
    """Starts a `ScriptedServer`."""
    async with AsyncExitStack() as stack:

        async def start(answer: Answer) -> ScriptedServer:
            script = ScriptedServer(answer)
            server = await asyncio.get_running_loop().create_server(lambda: script, "127.0.0.1", 0)
            script.listener = server
            script.port = server.sockets[0].getsockname()[1]
            stack.push_async_callback(_stop, server, script)
            return script

        yield start


async def _stop(server: asyncio.Server, script: ScriptedServer) -> None:
    server.close()
    if script.transport is not None:
        script.transport.abort()
    await server.wait_closed()
    if script.connected.is_set():
        await script.disconnected.wait()


class ScriptedLine:
    """The far end of a serial line: a pseudo-terminal whose other side the driver opens."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    @property
    def url(self) -> str:
        return self.url_of("rtu")

    def url_of(self, scheme: str) -> str:
        return f"{scheme}://{self.path}?baudrate=115200&parity=N"

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def unplug(self) -> None:
        """Gone, as when a USB adapter is pulled."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self._master >= 0:
            self.unplug()
        os.close(self._slave)

    def _read(self) -> None:
        request = os.read(self._master, 256)
        self.requests.append(request)
        self.answer(request, self.send)


@pytest.fixture
async def serial_line() -> AsyncIterator[Callable[[Answer], ScriptedLine]]:
    """Makes a `ScriptedLine`."""
    with contextlib.ExitStack() as stack:

        def make(answer: Answer) -> ScriptedLine:
            line = ScriptedLine(answer)
            stack.callback(line.close)
            return line

        yield make


@pytest.fixture
def mbap() -> Callable[..., bytes]:
    """A Modbus TCP frame in answer to `request`; keyword arguments make it wrong."""

    def frame(request: bytes, pdu: bytes, *, transaction: int | None = None, unit: int | None = None) -> bytes:
        head = request[:2] if transaction is None else transaction.to_bytes(2, "big")
        return head + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([request[6] if unit is None else unit]) + pdu

    return frame


@pytest.fixture
def rtu() -> Callable[[int, bytes], bytes]:
    """A Modbus RTU frame; the checksum is written out from "Modbus over Serial Line" V1.02, 6.2.2."""

    def frame(unit: int, pdu: bytes) -> bytes:
        crc = 0xFFFF
        for byte in bytes([unit]) + pdu:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        return bytes([unit]) + pdu + crc.to_bytes(2, "little")

    return frame


@pytest.fixture
def ascii_frame() -> Callable[[int, bytes], bytes]:
    """A Modbus ASCII frame; the checksum is written out from "Modbus over Serial Line" V1.02, 6.2.1."""

    def frame(unit: int, pdu: bytes) -> bytes:
        message = bytes([unit]) + pdu
        checksum = 0
        for byte in message:
            checksum = (checksum + byte) & 0xFF
        return b":" + (message + bytes([-checksum & 0xFF])).hex().upper().encode() + b"\r\n"

    return frame


@pytest.fixture
def framed(rtu: Any, ascii_frame: Any) -> Callable[[str, int, bytes], bytes]:
    """A frame as the scheme of a url wants it."""
    return lambda scheme, unit, pdu: (rtu if scheme.startswith("rtu") else ascii_frame)(unit, pdu)


@pytest.fixture(scope="session")
def libmodbus_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled `libmodbus_server.c`."""
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    if not Path("/usr/include/modbus/modbus.h").exists() or shutil.which("gcc") is None:
        pytest.fail("libmodbus or gcc is missing: apt-get install gcc libmodbus-dev", pytrace=False)
    source = Path(__file__).parent / "libmodbus_server.c"
    subprocess.run(["gcc", "-O1", "-I/usr/include/modbus", str(source), "-o", str(program), "-lmodbus"], check=True)
    return program


@pytest.fixture
def libmodbus(libmodbus_server: Path) -> Callable[..., Any]:
    """A context manager: a libmodbus server with these values; yields its TCP port (0 for RTU)."""

    @contextmanager
    def serve(*arguments: str, values: Mapping[str, int], size: int = 100) -> Iterator[int]:
        with subprocess.Popen(
            [str(libmodbus_server), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                lines = [f"{address.replace(':', ' ')} {value}" for address, value in values.items()]
                process.stdin.write("\n".join([f"size {size}", *lines, "serve\n"]))
                process.stdin.flush()
                yield int(process.stdout.readline())
            finally:
                process.kill()

    return serve


@pytest.fixture
def rtu_bus() -> Callable[..., Any]:
    """A serial line with several ends, whose paths it yields: what one sends, all others hear."""

    @asynccontextmanager
    async def bus(ends: int) -> AsyncIterator[list[str]]:
        loop = asyncio.get_running_loop()
        pairs = [os.openpty() for _ in range(ends)]

        def relay(heard_by: int) -> None:
            data = os.read(heard_by, 512)
            for master, _ in pairs:
                if master != heard_by:
                    os.write(master, data)

        try:
            for master, slave in pairs:
                tty.setraw(slave)
                os.set_blocking(master, False)
                loop.add_reader(master, relay, master)
            yield [os.ttyname(slave) for _, slave in pairs]
        finally:
            for master, slave in pairs:
                loop.remove_reader(master)
                os.close(master)
                os.close(slave)

    return bus


@pytest.fixture
async def forwarder() -> AsyncIterator[Callable[..., Any]]:
    """Starts a TCP server, in TLS if it gets a context, that passes bytes on to a port, or to a serial line (a path).

    It is what a terminal server or a TLS front is to a device. Yields the port it listens on.
    """
    async with AsyncExitStack() as stack:

        async def start(target: int | str, *, context: ssl.SSLContext | None = None) -> int:
            peers = _Peers(target)
            server = await asyncio.get_running_loop().create_server(peers.new, "127.0.0.1", 0, ssl=context)
            stack.push_async_callback(peers.stop, server)
            return server.sockets[0].getsockname()[1]  # type: ignore[no-any-return]

        yield start


class _Peers:
    def __init__(self, target: int | str) -> None:
        self.target = target
        self.open: set[_Peer] = set()
        self.all_closed = asyncio.Event()

    def new(self) -> _Peer:
        return _Peer(self)

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        for peer in list(self.open):
            peer.close()
        await server.wait_closed()
        if self.open:
            await self.all_closed.wait()


class _Peer(asyncio.Protocol):
    """One accepted connection with its other side."""

    def __init__(self, peers: _Peers) -> None:
        self.peers = peers
        self.transport: asyncio.Transport | None = None
        self.other = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peers.open.add(self)
        self.peers.all_closed.clear()
        if isinstance(self.peers.target, str):
            self.other = os.open(self.peers.target, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        else:
            with socket.create_connection(("127.0.0.1", self.peers.target)) as connection:
                self.other = connection.detach()
        asyncio.get_running_loop().add_reader(self.other, self.read)

    def data_received(self, data: bytes) -> None:
        os.write(self.other, data)

    def read(self) -> None:
        assert self.transport is not None
        if data := os.read(self.other, 512):
            self.transport.write(data)
        else:
            self.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().remove_reader(self.other)
        os.close(self.other)
        self.peers.open.discard(self)
        if not self.peers.open:
            self.peers.all_closed.set()


@pytest.fixture
def mbpoll() -> Callable[..., Any]:
    """What mbpoll, a master that shares no code with ours, reads by one poll: the values in order."""

    async def poll(*arguments: str) -> list[int]:
        process = await asyncio.create_subprocess_exec(
            "mbpoll", "-1", "-q", "-0", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        return [int(value) for value in re.findall(rb"^\[\d+\]:\s+(\d+)", printed, re.MULTILINE)]

    return poll

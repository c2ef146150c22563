"""An LLRP 1.0.1 reader whose antenna 1 sees a new tag whenever it is asked to show something."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from drivers import registry
from drivers.contract import Family
from drivers.model import Value

_OK = bytes.fromhex("011f000800000000")
_CONNECTED = bytes.fromhex("043f000000200000000000f600160080000c0006474846222240010000060000")
_KEEPALIVE_S = 0.1
_EPC = 0x3034257BF7194E4000001A85
_EMPTY_TAG = bytes.fromhex("043d0000000e0000000100f00004")


class Reader:
    """Shows the last tag to whoever starts it, so that a client that connects late does not wait for the next."""

    def __init__(self) -> None:
        self.port = 0
        self.clients: set[_Connection] = set()
        self._number = 0
        self._is_spoiled = False

    async def show(self) -> Mapping[str, Value]:
        self._number += 1
        for client in self.clients:
            client.tell(self.report())
        epc = f"{_EPC + self._number:024X}"
        return {"epc": epc, "uri": f"urn:epc:id:sgtin:0614141.812345.{6789 + self._number}", "antenna": 1, "rssi": -48}

    async def spoil(self) -> None:
        self._is_spoiled = True
        for client in self.clients:
            client.tell(self.report())

    async def mend(self) -> None:
        self._is_spoiled = False

    def report(self) -> bytes:
        if self._is_spoiled:
            return _EMPTY_TAG
        tag = b"\x8d" + (_EPC + self._number).to_bytes(12, "big") + bytes.fromhex("81000186d0880001")
        return struct.pack(">HIIHH", 0x043D, 14 + len(tag), 1, 0xF0, 4 + len(tag)) + tag


class _Connection(asyncio.Protocol):
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._transport: asyncio.Transport
        self._came = b""
        self._is_started = False
        self._keepalive: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._reader.clients.add(self)
        self._transport.write(_CONNECTED)
        self._keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.clients.discard(self)
        if self._keepalive is not None:
            self._keepalive.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def tell(self, report: bytes) -> None:
        if self._is_started:
            self._transport.write(report)

    def data_received(self, data: bytes) -> None:
        self._came += data
        while len(self._came) >= 10:
            word, length, number = struct.unpack(">HII", self._came[:10])
            if len(self._came) < length:
                return
            self._came = self._came[length:]
            self._answer(word & 0x3FF, number)

    def _answer(self, kind: int, number: int) -> None:
        if kind in (64, 72):
            return
        self._transport.write(struct.pack(">HII", 0x0400 | (4 if kind == 14 else kind + 10), 18, number) + _OK)
        if kind == 22:
            self._is_started = True
            self.tell(self._reader.report())

    def _keep_alive(self) -> None:
        self._transport.write(struct.pack(">HII", 0x043E, 10, 0x55))
        self._keepalive = asyncio.get_running_loop().call_later(_KEEPALIVE_S, self._keep_alive)


class RfidRig:
    """The family `rfid`, over LLRP."""

    name = "rfid"

    @property
    def family(self) -> Family:
        return registry.family("rfid")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Reader]:
        reader = Reader()
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(reader), "127.0.0.1", 0)
        reader.port = server.sockets[0].getsockname()[1]
        async with server:
            yield reader
            for client in [*reader.clients]:
                client.abort()

    def device(self, port: int) -> dict[str, Any]:
        return {
            "name": "portal-1",
            "driver": "rfid",
            "url": f"llrp://127.0.0.1:{port}",
            "timeout": "500ms",
            "keepalive": "200ms",
        }

"""A wire that can be cut: a TCP proxy between a client and a server, both real."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_LINGER_0 = struct.pack("ii", 1, 0)


class TcpProxy:
    """Passes bytes between its clients and one server. What is done to the wire concerns every connection over it."""

    def __init__(self, upstream_port: int, group: asyncio.TaskGroup) -> None:
        self._upstream_port = upstream_port
        self._group = group
        self._clients: set[_End] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._server: asyncio.Server | None = None
        self.passes = True
        self.accepted = 0
        self.port = 0

    async def listen(self) -> None:
        """Accept clients, from now on always on the same port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Accept nobody any more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset(self) -> None:
        """Break every connection abruptly, as a device does that has lost its power and is back."""
        for end in [*self._clients]:
            end.reset()

    def close(self) -> None:
        """End every connection in an orderly way."""
        for end in [*self._clients]:
            end.transport.close()

    def swallow(self) -> None:
        """Half-open: bytes arrive and lead nowhere, and nothing comes back."""
        self.passes = False

    async def idle(self) -> None:
        """Wait until no client is connected."""
        await self._idle.wait()

    def joined(self, end: _End) -> None:
        self.accepted += 1
        self._clients.add(end)
        self._idle.clear()
        self._group.create_task(self._reach_upstream(end), name="tcp proxy")

    def left(self, end: _End) -> None:
        self._clients.discard(end)
        if not self._clients:
            self._idle.set()

    async def _reach_upstream(self, client: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, other = await loop.create_connection(lambda: _End(self, peer=client), "127.0.0.1", self._upstream_port)
        except OSError:
            client.reset()
            return
        client.join(other)


class _End(asyncio.Protocol):
    """One end of one connection: a client's, or with `peer` the one towards the server."""

    def __init__(self, proxy: TcpProxy, *, peer: _End | None = None) -> None:
        self._proxy = proxy
        self._peer = peer
        self._is_client = peer is None
        self._early = bytearray()
        self.gone = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self._is_client:
            self._proxy.joined(self)

    def join(self, peer: _End) -> None:
        self._peer = peer
        if self.gone:
            peer.transport.abort()
        elif self._proxy.passes:
            peer.transport.write(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        if not self._proxy.passes:
            return
        if self._peer is None:
            self._early += data
        elif not self._peer.gone:
            self._peer.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if self._is_client:
            self._proxy.left(self)
        if self._peer is not None and not self._peer.gone:
            self._peer.transport.close()

    def reset(self) -> None:
        if not self.gone and not self.transport.is_closing():
            peer = self.transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self.transport.abort()


@asynccontextmanager
async def tcp_proxy(upstream_port: int) -> AsyncIterator[TcpProxy]:
    """A proxy in front of a server on loopback; on leaving, every connection over it is gone."""
    async with asyncio.TaskGroup() as group:
        proxy = TcpProxy(upstream_port, group)
        await proxy.listen()
        try:
            yield proxy
        finally:
            proxy.refuse()
            proxy.reset()
            await proxy.idle()

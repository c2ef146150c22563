"""A TCP connection that can be cut in the middle of a packet, slowed down, and made to lead nowhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_LINGER_0 = struct.pack("ii", 1, 0)
_AT_ONCE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Slow:
    """Pieces of `piece_bytes`, each `pause_s` after the one before."""

    piece_bytes: int
    pause_s: float


class Wire:
    """Passes bytes between clients and one server. What is done to it concerns every connection over it.

    When one side ends, what it said last still reaches the other.
    """

    def __init__(self, upstream_port: int, group: asyncio.TaskGroup) -> None:
        self._upstream_port = upstream_port
        self._group = group
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self._connections: set[asyncio.Task[None]] = set()
        self._cut_after: int | None = None
        self._cut = asyncio.Event()
        self.port = int(self._listening.getsockname()[1])
        self.is_open = True
        """Closed, clients are turned away."""
        self.silent = False
        """Half-open: bytes are taken and lead nowhere."""
        self.slow: Slow | None = None

    async def cut_after(self, count_bytes: int, *, within_s: float) -> None:
        """Reset every connection when that many more bytes have passed, in whatever direction, or at the latest
        after `within_s`. Returns when it is done."""
        self._cut.clear()
        self._cut_after = count_bytes
        try:
            async with asyncio.timeout(within_s):
                await self._cut.wait()
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        self._cut_after = None
        for connection in self._connections:
            connection.cancel()
        self._cut.set()

    async def serve(self) -> None:
        """Accept clients until cancelled."""
        loop = asyncio.get_running_loop()
        with self._listening:
            while True:
                client, _ = await loop.sock_accept(self._listening)
                connection = self._group.create_task(
                    self._connect(client), name=f"over a wire to {self._upstream_port}"
                )
                self._connections.add(connection)
                connection.add_done_callback(self._connections.discard)

    async def _connect(self, client: socket.socket) -> None:
        """One connection, until an end closes it, or it is cut."""
        loop = asyncio.get_running_loop()
        with client, socket.socket() as server:
            server.setblocking(False)
            try:
                if self.is_open:
                    await loop.sock_connect(server, ("127.0.0.1", self._upstream_port))
                if self.is_open:  # still
                    await self._pass_on(client, server)
                    return
            except OSError:
                pass  # the server is not there
            except asyncio.CancelledError:
                _reset_when_closed(server)
            _reset_when_closed(client)

    async def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        pumps = [asyncio.create_task(self._pump(*pair), name="pump") for pair in ((client, server), (server, client))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(source, self.slow.piece_bytes if self.slow else _AT_ONCE_BYTES):
                if self.silent:
                    continue
                if self.slow:
                    await asyncio.sleep(self.slow.pause_s)
                if self._cut_after is not None:
                    self._cut_after -= len(data)
                    if self._cut_after < 0:
                        await loop.sock_sendall(sink, data[: self._cut_after])
                        self.cut()
                        return
                await loop.sock_sendall(sink, data)


def _reset_when_closed(stream: socket.socket) -> None:
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)


@asynccontextmanager
async def wires(*upstream_ports: int) -> AsyncIterator[list[Wire]]:
    """One wire in front of each of these servers on loopback; on leaving, every connection over them is gone."""
    async with asyncio.TaskGroup() as group:
        found = [Wire(port, group) for port in upstream_ports]
        serving = [group.create_task(wire.serve(), name="wire") for wire in found]
        try:
            yield found
        finally:
            for wire, task in zip(found, serving, strict=True):
                task.cancel()
                wire.cut()

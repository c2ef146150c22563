"""An endpoint on a TCP socket: many clients, no task per connection, and what `refuse` and `reset` do there."""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from ssl import SSLContext
from typing import ClassVar, cast

from simulators.endpoint import Endpoint, EndpointError
from simulators.faults import Fault, FaultKind

_LINGER_0 = struct.pack("ii", 1, 0)
_LISTEN_BACKLOG = 128


class ListeningEndpoint(Endpoint):
    """A subclass says what a new client talks to (`_client`); this one keeps the socket and the clients."""

    scheme: ClassVar[str] = "tcp"
    """How its URL begins."""

    def __init__(
        self,
        name: str,
        machines: Sequence[str],
        *,
        host: str,
        port: int,
        random: Random,
        tls: SSLContext | None = None,
    ) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, machines, random=random)
        self.clients: set[Client] = set()
        self._host = host
        self._port = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self.scheme}://{host}:{self._port}"

    def connected(self, client: Client) -> None:
        """`client` is here and its transport works."""
        self.clients.add(client)
        if self._server is None:  # accepted just before the endpoint went away
            client.reset()

    def disconnected(self, client: Client) -> None:
        """`client` is gone."""
        self.clients.discard(client)

    @abstractmethod
    def _client(self) -> Client:
        """What a client talks to that connects now."""

    async def _start(self) -> None:
        self._server = await self._listen(self._bind())

    async def _stop(self) -> None:
        self._close_server()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self._drop_clients()
        await asyncio.gather(*(client.gone for client in self.clients))

    def _drop_clients(self) -> None:
        for client in self.clients:
            client.reset()

    async def _changed(self, fault: Fault) -> None:
        if fault.kind in {FaultKind.REFUSE, FaultKind.RESET}:
            self._drop_clients()
        if fault.kind is FaultKind.REFUSE:
            if self._server is not None:
                self._close_server()
                self._reserved = self._bind()  # bound but not listening: connections are refused, the port stays ours
        elif self._reserved is not None:
            reserved, self._reserved = self._reserved, None
            self._server = await self._listen(reserved)

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _bind(self) -> socket.socket:
        """A bound socket on the endpoint's address; from now on the port is known. Raises `EndpointError`."""
        try:
            info = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = info[0]
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind(address)
            except OSError:
                bound.close()
                raise
        except OSError as error:
            raise EndpointError(
                f'endpoint "{self.name}" cannot listen on {self._host}:{self._port}: {error}; port 0 picks a free one'
            ) from error
        self._port = bound.getsockname()[1]
        return bound

    async def _listen(self, bound: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(self._client, sock=bound, backlog=_LISTEN_BACKLOG, ssl=self._tls)
        except OSError as error:
            bound.close()
            raise EndpointError(f'endpoint "{self.name}" cannot listen on {self.url}: {error}') from error


class Client(asyncio.Protocol):
    """One client. A subclass has `data_received`; whoever overrides the others calls these."""

    __slots__ = ("gone", "listener", "loop", "transport")

    def __init__(self, listener: ListeningEndpoint) -> None:
        self.listener = listener
        self.loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.listener.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.listener.disconnected(self)
        self.gone.set_result(None)

    def pause_writing(self) -> None:
        """The client does not read what it gets: take no more requests from it."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def send(self, data: bytes | bytearray) -> None:
        """Write to the client, or nothing when it is going."""
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def reset(self) -> None:
        """Drop the client with RST, as a machine does that has forgotten the connection."""
        peer = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.transport.abort()

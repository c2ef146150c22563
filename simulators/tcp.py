"""Modbus TCP: many clients on one listening socket, pipelined requests, no task per connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import cast

from simulators.endpoint import Endpoint, EndpointError, Unit
from simulators.faults import Fault, FaultKind
from simulators.framing import FramingError, MbapStream, mbap_frame
from simulators.modbus import ExceptionCode, exception_response, respond

_ANY_UNIT = (0, 255)
"""Ids that mean "the device itself" to a server that is not a gateway (implementation guide, section 4.4.2.3)."""

_LINGER_0 = struct.pack("ii", 1, 0)
_LISTEN_BACKLOG = 128


class TcpEndpoint(Endpoint):
    """A Modbus TCP server, which answers exception 0B for units that it does not have."""

    kind = "modbus-tcp"
    possible_faults = frozenset(FaultKind)

    def __init__(self, name: str, units: Mapping[int, Unit], *, host: str, port: int, random: Random) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, units, random=random)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._clients: set[_Connection] = set()
        self._only_unit = next(iter(self.units)) if len(self.units) == 1 else None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"tcp://{host}:{self._port}"

    def connected(self, connection: _Connection) -> None:
        self._clients.add(connection)
        if self._server is None:  # accepted just before the endpoint went away
            connection.reset()

    def disconnected(self, connection: _Connection) -> None:
        self._clients.discard(connection)

    def replies(self, transaction: int, unit: int, pdu: bytes) -> tuple[bytes, float] | None:
        """The frame to send and how late; None to reset the connection. No bytes: no answer."""
        if unit not in self.units:
            if unit not in _ANY_UNIT or self._only_unit is None:
                refusal = exception_response(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
                return mbap_frame(transaction, unit, refusal), 0.0
            return self._spoilt(transaction, self._only_unit, pdu, seen_as=unit)
        if not self._faults:
            return mbap_frame(transaction, unit, respond(self.units[unit].table, pdu)), 0.0
        return self._spoilt(transaction, unit, pdu, seen_as=unit)

    async def _start(self) -> None:
        self._server = await self._listen(self._bind())

    async def _stop(self) -> None:
        self._close_server()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self._drop_clients()
        await asyncio.gather(*(client.gone for client in self._clients))

    def _drop_clients(self) -> None:
        for client in self._clients:
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
            return await loop.create_server(partial(_Connection, self), sock=bound, backlog=_LISTEN_BACKLOG)
        except OSError as error:
            bound.close()
            raise EndpointError(f'endpoint "{self.name}" cannot listen on {self.url}: {error}') from error

    def _spoilt(self, transaction: int, unit: int, pdu: bytes, *, seen_as: int) -> tuple[bytes, float] | None:
        shift = seen_as - unit
        answer = self.answer(unit, pdu, lambda id_, response: mbap_frame(transaction, id_ + shift & 0xFF, response))
        return None if answer.reset else (answer.frame, answer.delay_s)


class _Connection(asyncio.Protocol):
    """One client."""

    __slots__ = ("_endpoint", "_loop", "_stream", "_transport", "gone")

    def __init__(self, endpoint: TcpEndpoint) -> None:
        self._endpoint = endpoint
        self._stream = MbapStream()
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._endpoint.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._endpoint.disconnected(self)
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._stream.feed(data)
        except FramingError:
            self._transport.abort()
            return
        now = bytearray()
        for request in requests:
            reply = self._endpoint.replies(*request)
            if reply is None:
                self.reset()
                return
            frame, delay_s = reply
            if delay_s:
                self._loop.call_later(delay_s, self._send, frame)
            else:
                now += frame
        if now:
            self._transport.write(now)

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests from it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def reset(self) -> None:
        """Drop the client with RST, as a device does that has forgotten the connection."""
        peer = self._transport.get_extra_info("socket")
        if not self._transport.is_closing():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self._transport.abort()

    def _send(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)

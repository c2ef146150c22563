"""One client of the server: asyncua's protocol and processor of messages, behind the faults of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.server.binary_server_asyncio import OPCUAProtocol
from asyncua.server.uaprocessor import PublishRequestData, UaProcessor

from simulators.faults import Fault, FaultKind
from simulators.listener import Client, ListeningEndpoint
from simulators.opcua.space import SorterServer


class Connection(Client):
    """`closing` is told of the task that cleans up after the client. `fault` says what is on now."""

    __slots__ = ("_closing", "_fault", "_garbage", "_protocol", "_wire", "is_torn")

    def __init__(
        self,
        listener: ListeningEndpoint,
        server: SorterServer,
        *,
        fault: Callable[[], Fault],
        garbage: Callable[[int], bytes],
        closing: Callable[[asyncio.Task[Any]], None],
    ) -> None:
        super().__init__(listener)
        self.is_torn = False
        """A message is lost: the secure channel, which numbers them, cannot go on."""
        self._fault = fault
        self._garbage = garbage
        self._closing = closing
        self._wire = _Wire(self)
        self._protocol = _Protocol(server, is_silent=lambda: fault().kind is FaultKind.SILENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._protocol.connection_made(self._wire)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._protocol.end(exc):
            self._closing(task)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        match self._fault().kind:
            case FaultKind.HANG:
                self.is_torn = True
            case FaultKind.RESET:
                self.reset()
            case _:
                self._protocol.data_received(data)

    def deliver(self, data: bytes) -> None:
        """Send `data`, a whole message, as the fault makes it look."""
        fault = self._fault()
        match fault.kind:
            case FaultKind.HANG:
                self.is_torn = True
            case FaultKind.SLOW:
                self.loop.call_later(fault.delay_s, self.send, data)
            case FaultKind.GARBLE:
                self.send(self._garbage(len(data)))
            case FaultKind.HALF_FRAME:
                self.send(data[: len(data) // 2])
            case _:
                self.send(data)


class _Wire(asyncio.Transport):
    """What asyncua takes for the socket."""

    def __init__(self, client: Connection) -> None:
        super().__init__()
        self._client = client

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._client.transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._client.deliver(bytes(data))

    def is_closing(self) -> bool:
        return self._client.transport.is_closing()

    def close(self) -> None:
        self._client.transport.close()


class _Protocol(OPCUAProtocol):
    """asyncua's connection, whose tasks somebody waits for."""

    def __init__(self, server: SorterServer, *, is_silent: Callable[[], bool]) -> None:
        super().__init__(server.core, server.policies, clients=[], closing_tasks=[], limits=server.limits)
        self._is_silent = is_silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.processor = _Processor(self.iserver, transport, self.limits, is_silent=self._is_silent)
        self.processor.set_policies(self.policies)  # type: ignore[no-untyped-call]

    def end(self, error: Exception | None) -> list[asyncio.Task[Any]]:
        """The connection is lost; what is still running because of it, and will end soon."""
        self.connection_lost(error)
        return [task for task in (self._task, self._activation_watchdog_task, *self.closing_tasks) if task is not None]


class _Processor(UaProcessor):
    """Answers requests, and can be silent about what subscriptions have to say."""

    def __init__(
        self, core: Any, transport: asyncio.BaseTransport, limits: TransportLimits, *, is_silent: Callable[[], bool]
    ) -> None:
        super().__init__(core, transport, limits)
        self._is_silent = is_silent

    def get_publish_request(self, subscription_id: ua.IntegerId) -> PublishRequestData | None:
        """The request that a subscription may answer now. While silent there is none, and what it has to say waits."""
        if self._is_silent():
            return None
        request: PublishRequestData | None = super().get_publish_request(subscription_id)
        return request

"""An open connection to an LLRP reader: messages in, requests out, keepalives answered."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

from drivers.rfid import failure
from drivers.rfid.endpoint import LlrpEndpoint
from drivers.rfid.llrp.framing import Framer, Message, MessageType, NotLlrp, frame
from drivers.rfid.llrp.parameters import Malformed
from drivers.rfid.llrp.requests import Request
from drivers.rfid.llrp.status import parse_status
from drivers.tls import DeviceTlsSettings

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 4096
"""Read at once: some 60 tag reports, a millisecond of work (seven when all are new), before others get their turn."""
_MOST_UNSENT_BYTES = 64 * 1024
_MOST_BESIDE = 8192
"""Messages that may come before the answer to a request."""
_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""The system notices a reader that is gone within half a minute, for those that send no keepalives of their own."""
_VERSION_RESPONSE = MessageType.GET_SUPPORTED_VERSION_RESPONSE
"""The one response whose status does not stand first: two bytes of versions come before it."""


class Connection:
    """Made by `open_connection`. Not used concurrently."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, link: str) -> None:
        self._reader = reader
        self._writer = writer
        self._link = link
        self._framer = Framer()
        self._inbox: deque[Message] = deque()
        self._fault: NotLlrp | None = None
        """What ended the messages, told once those before it have been taken."""
        self._last_id = 0
        self._returns_numbers: bool | None = None
        """Whether answers carry the number of their request, as they must; None until the first has come."""
        self._loop = asyncio.get_running_loop()
        self.version = 1
        """That of what is sent; 1 is LLRP 1.0.1, 2 is LLRP 1.1."""
        self.heard_at_s = self._loop.time()
        """When the last whole message came, on the clock of the loop. Bytes alone are no sign of life."""

    @property
    def pending_bytes(self) -> int:
        """What has come of a message that is not whole yet."""
        return self._framer.pending_bytes

    async def receive(self, until_s: float) -> Message | None:
        """The next message that is no keepalive; None when `until_s` of the loop's clock has passed.

        Lets others run after every piece that it reads. Raises `DeviceUnavailable`.
        """
        while True:
            while self._inbox:
                message = self._inbox.popleft()
                if message.type != MessageType.KEEPALIVE:
                    return message
                self._acknowledge(message)
            if self._fault is not None:
                raise failure.not_llrp(self._link, str(self._fault)) from self._fault
            try:
                async with asyncio.timeout_at(None if until_s == inf else until_s):
                    data = await self._reader.read(_CHUNK_BYTES)
            except TimeoutError:
                return None
            except OSError as error:
                raise failure.lost(self._link, error) from error
            if not data:
                raise failure.lost(self._link)
            self._take(data)
            if len(data) == _CHUNK_BYTES:
                await asyncio.sleep(0)  # the rest has come already: reading it waits for nothing

    async def ask(self, request: Request, what: str, *, timeout_s: float, beside: Callable[[Message], object]) -> bytes:
        """Send it and wait for its answer, whose body is returned. Other messages that come meanwhile go to `beside`.

        Raises `DeviceUnavailable`, also when the reader answers that it will not.
        """
        self._last_id += 1
        number = self._last_id
        self._writer.write(frame(request.kind, number, request.body, version=self.version))
        until_s = self._loop.time() + timeout_s
        others = 0
        while True:
            message = await self.receive(until_s)
            if message is None:
                raise failure.unanswered(self._link, what, timeout_s)
            if self._answers(message, request, number):
                break
            others += 1
            if others > _MOST_BESIDE:
                raise failure.overrun(self._link, what, others)
            beside(message)
        try:
            status = parse_status(message.body, 2 if message.type == _VERSION_RESPONSE else 0)
        except Malformed as error:
            raise failure.garbled(self._link, what, str(error)) from error
        if message.type == MessageType.ERROR_MESSAGE or not status.is_success:
            raise failure.Refused(self._link, what, status)
        return message.body

    def _answers(self, message: Message, request: Request, number: int) -> bool:
        """Whether it is the answer, by type and number; by type alone with a reader whose first has another number."""
        if message.type not in (request.answer, MessageType.ERROR_MESSAGE):
            return False
        if self._returns_numbers is None and message.type == request.answer:
            self._returns_numbers = message.id == number
            if not self._returns_numbers:
                _log.info(
                    "%s answers with message numbers of its own; its answers are known by their types", self._link
                )
        return message.id == number or self._returns_numbers is False

    def tell(self, kind: MessageType) -> None:
        """Send a message without a body that has no answer."""
        self._last_id += 1
        self._writer.write(frame(kind, self._last_id, version=self.version))

    def _take(self, data: bytes) -> None:
        try:
            self._inbox.extend(self._framer.feed(data))
        except NotLlrp as error:
            self._fault = error
        if self._inbox:
            self.heard_at_s = self._loop.time()

    def _acknowledge(self, keepalive: Message) -> None:
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            raise failure.deaf(self._link)
        self._writer.write(frame(MessageType.KEEPALIVE_ACK, keepalive.id, version=self.version))


@asynccontextmanager
async def open_connection(
    endpoint: LlrpEndpoint, *, tls: DeviceTlsSettings | None, timeout_s: float
) -> AsyncIterator[Connection]:
    """Connects, within `timeout_s`; leaving the context closes it at once. Raises `DeviceUnavailable`."""
    context = server_name = None
    if endpoint.uses_tls:
        settings = tls or DeviceTlsSettings()
        try:
            context = await asyncio.to_thread(settings.context)  # reads files
        except OSError as error:
            raise failure.unusable_tls_files(endpoint, error) from error
        server_name = settings.server_name or endpoint.host
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context, server_hostname=server_name, limit=_CHUNK_BYTES
            )
    except TimeoutError:
        raise failure.no_connection(endpoint, timeout_s) from None
    except OSError as error:
        raise failure.cannot_connect(endpoint, error) from error
    for level, option, value in _OPTIONS:
        writer.get_extra_info("socket").setsockopt(level, option, value)
    try:
        yield Connection(reader, writer, link=endpoint.link)
    finally:
        writer.transport.abort()  # nothing unsent is worth waiting for a reader that may be gone
        await asyncio.sleep(0)  # the loop closes a socket in its next turn

"""A broker that does what a test scripts, packet by packet, for what mosquitto never does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 0x10, 0x30, 0xC0, 0xE0


class Client:
    """The scripted side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def packet(self) -> tuple[int, bytes]:
        """The next MQTT packet: its first byte and what follows its length."""
        first = (await self.reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, await self.reader.readexactly(length)

    async def version(self) -> int:
        """The protocol version of the CONNECT that must come now: 4 for MQTT 3.1.1, 5 for MQTT 5."""
        first, body = await self.packet()
        assert first == CONNECT
        return body[6]

    async def publish(self) -> tuple[int, str, bytes]:
        """The next PUBLISH of MQTT 5, QoS 1, without properties: its message id, topic and payload."""
        while True:
            first, body = await self.packet()
            if first & 0xF0 == PUBLISH:
                topic_end = 2 + int.from_bytes(body[:2], "big")
                return (
                    int.from_bytes(body[topic_end : topic_end + 2], "big"),
                    body[2:topic_end].decode(),
                    body[topic_end + 3 :],
                )

    def puback(self, message_id: int, code: int = 0) -> None:
        """PUBACK of MQTT 5."""
        self.send(0x40, 3, message_id >> 8, message_id & 0xFF, code)

    def send(self, *packet: int) -> None:
        self.writer.write(bytes(packet))

    def connack(self, code: int = 0, properties: bytes = b"") -> None:
        """CONNACK of MQTT 5."""
        self.writer.write(bytes([0x20, 3 + len(properties), 0, code, len(properties)]) + properties)


class Scripted:
    """A server on a free loopback port."""

    def __init__(self) -> None:
        self.port = 0

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def plays(
        self, script: Callable[[Client], Awaitable[None]], *, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        """Run `script` for every connection; when it returns the connection is closed."""
        playing: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            playing[task] = writer
            try:
                await script(Client(reader, writer))
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the gateway has hung up, which its own side of the test judges
            finally:
                del playing[task]
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for writer in playing.values():
                writer.transport.abort()
            await asyncio.gather(*playing)
            await server.wait_closed()


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()

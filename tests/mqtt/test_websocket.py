"""MQTT over WebSocket, against an independent server that unwraps it for mosquitto."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from gateway.config import TlsSettings
from gateway.mqtt import DestinationUnavailable


@asynccontextmanager
async def unwrapping(port, *, tls=None):
    """A WebSocket server at /mqtt in front of the TCP port `port`; yields its own port."""

    async def relay(request):
        socket = web.WebSocketResponse(protocols=("mqtt",))
        await socket.prepare(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def back():
            while data := await reader.read(4096):
                await socket.send_bytes(data)

        returning = asyncio.create_task(back())
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                writer.write(message.data)
        writer.close()
        await asyncio.gather(returning, return_exceptions=True)
        return socket

    app = web.Application()
    app.router.add_get("/mqtt", relay)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()


async def test_messages_are_acknowledged(mosquitto, broker, collect):
    mosquitto.start()
    async with unwrapping(mosquitto.port) as port, broker(f"ws://127.0.0.1:{port}").connect() as connection:
        for number in range(100):
            await connection.room()
            connection.publish("hub/a", b"x" * 300, token=(number,))
        assert [answer.token for answer in await collect(connection, 100)] == [(number,) for number in range(100)]


async def test_messages_are_acknowledged_over_tls(mosquitto, broker, collect, authority):
    hub = authority("hub-authority")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*hub.issue("server"))
    mosquitto.start()
    async with unwrapping(mosquitto.port, tls=tls) as port:
        connecting = broker(f"wss://127.0.0.1:{port}", tls=TlsSettings(ca=hub.ca)).connect()
        async with connecting as connection:
            for number in range(20):
                await connection.room()
                connection.publish("hub/a", b"x" * 30_000, token=(number,))
            assert [answer.token for answer in await collect(connection, 20)] == [(number,) for number in range(20)]


async def test_a_wrong_path_says_so(mosquitto, broker):
    async with unwrapping(mosquitto.port) as port:
        with pytest.raises(DestinationUnavailable, match="it answers '404 Not Found'; check the port and path of url"):
            async with broker(f"ws://127.0.0.1:{port}/elsewhere").connect():
                pass

"""MQTT over WebSocket, frame by frame, with a server that pings, or is slow to read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket

import pytest

from gateway.mqtt.stream import open_stream

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
CONNACK, PUBACK = bytes([0x20, 3, 0, 0, 0]), bytes([0x40, 2])


class Server:
    """The server's end of one WebSocket (RFC 6455)."""

    def __init__(self, client):
        self.reader, self.writer = client.reader, client.writer

    async def upgrade(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        key = next(line.partition(b": ")[2] for line in lines if line.lower().startswith(b"sec-websocket-key"))
        accepted = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        answer = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
        answer.append(b"Sec-WebSocket-Accept: " + accepted)
        self.writer.write(b"\r\n".join([*answer, b"", b""]))

    def send(self, opcode, data):
        self.writer.write(bytes([opcode, len(data)]) + data)

    async def frame(self):
        """The opcode of the next frame and what is in it, which the client must have masked (5.1)."""
        opcode, length = await self.reader.readexactly(2)
        assert length & 0x80, "a frame that is not masked"
        length &= 0x7F
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        mask = int.from_bytes(await self.reader.readexactly(4) * (length // 4 + 1), "big")
        data = int.from_bytes(await self.reader.readexactly(length) + bytes(4 - length % 4), "big")
        return opcode, (data ^ mask).to_bytes(length + 4 - length % 4, "big")[:length]


@pytest.mark.parametrize("opcode", [PING, CLOSE], ids=["ping", "close"])
async def test_the_answer_to_a_control_frame_is_masked_and_repeats_what_is_in_it(scripted, broker, opcode):
    answer = asyncio.get_running_loop().create_future()

    async def script(client):
        server = Server(client)
        await server.upgrade()
        await server.frame()
        server.send(BINARY, CONNACK)
        server.send(opcode, b"\x03\xe8still there?")
        answer.set_result(await server.frame())
        await server.frame()

    async with scripted.plays(script), broker(scripted.url.replace("mqtt", "ws")).connect():
        expected = {PING: PONG, CLOSE: CLOSE}[opcode]
        assert await asyncio.wait_for(answer, 10) == (expected, b"\x03\xe8still there?")


async def test_frames_that_go_out_piece_by_piece_arrive_whole_and_in_order(scripted, broker, collect, monkeypatch):
    """As on a thin line, where the kernel takes less than is there. A ping comes while a frame is on its way."""

    async def narrow(address, tls):
        stream = await open_stream(address, tls)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return stream

    monkeypatch.setattr("gateway.mqtt.broker.open_stream", narrow)
    published, may_read = asyncio.Event(), asyncio.Event()
    count, numbers, others = 12, [], []

    async def script(client):
        server = Server(client)
        await server.upgrade()
        await server.frame()
        server.send(BINARY, CONNACK)
        await published.wait()
        server.send(PING, b"still there?")
        server.send(BINARY, PUBACK + bytes([0, 1]))
        await may_read.wait()
        while True:
            opcode, packet = await server.frame()
            if opcode == BINARY and packet[0] == 0x32:
                topic_end = packet.index(b"hub/a") + 5
                numbers.append(int(packet[topic_end + 3 :].partition(b" ")[0]))
                server.send(BINARY, PUBACK + packet[topic_end : topic_end + 2])
            else:
                others.append((opcode, packet))

    async with scripted.plays(script), broker(scripted.url.replace("mqtt", "ws")).connect() as connection:
        for number in range(count):
            connection.publish("hub/a", b"%d " % number + b"x" * (100_000 + 51_717 * number % 70_000), token=(number,))
        published.set()
        acknowledged = await collect(connection, 1)  # and so it has taken the ping, which came before
        may_read.set()
        acknowledged += await collect(connection, count - 1)
    assert [answer.token for answer in acknowledged] == [(number,) for number in range(count)]
    assert numbers == list(range(count))
    assert others[0] == (PONG, b"still there?")

"""What a client of the WebSocket protocol says: the HTTP request for it, and frames (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import struct

from gateway.mqtt.reasons import DestinationUnavailable
from gateway.mqtt.stream import Address, ready

_LONGEST_HEAD_BYTES = 2**14
_SHOWN = 80
_ENDS_WITH = b"\r\n\r\n"
_DEFAULT_PORTS = frozenset({(80, False), (443, True)})
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def upgrade(stream: socket.socket, address: Address) -> None:
    """Ask for a WebSocket with MQTT in it on this non-blocking socket. Raises `DestinationUnavailable`."""
    key = base64.b64encode(os.urandom(16))
    try:
        await _send(stream, request(address, key))
        head = await _head(stream)
    except OSError as error:
        raise DestinationUnavailable(
            f"{address}: the connection ended before MQTT began: {error.strerror or error}",
            hint="check the port and path of url",
        ) from error
    trouble = trouble_with(head, key)
    if trouble is not None:
        raise DestinationUnavailable(
            f"{address} does not open a WebSocket: {trouble}", hint="check the port and path of url"
        )


def frame(opcode: int, data: bytes | bytearray, *, mask: bytes) -> bytes:
    """One whole message in one frame, masked with these four bytes (5.2, 5.3)."""
    first, length = 0x80 | opcode, len(data)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 2**16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    masks = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(masks, "big")  # a loop takes forty times as long
    return head + mask + masked.to_bytes(length, "big")


def request(address: Address, key: bytes) -> bytes:
    """What the client says (4.1)."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    if (address.port, address.encrypted) not in _DEFAULT_PORTS:
        host += f":{address.port}"
    lines = [
        f"GET {address.path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Origin: {'https' if address.encrypted else 'http'}://{host}",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
    ]
    return "\r\n".join(lines).encode() + _ENDS_WITH


def trouble_with(head: bytes, key: bytes) -> str | None:
    """Why the server's answer is none that opens the WebSocket (4.2.2), in words; None if it does.

    A field may have any octets in it, and space around its value or none (RFC 9110, 5.5).
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, status = first.partition(" ")
    if not protocol.startswith("HTTP/"):
        return "what listens there does not speak HTTP"
    if not status.startswith("101"):
        return f"it answers {status.strip()[:_SHOWN]!r}"
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("upgrade", "").lower() != "websocket" or "upgrade" not in fields.get("connection", "").lower():
        return "it answers with another protocol"
    # SHA-1 is what the standard names; it only shows that the server knows the protocol.
    accepted = base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest()).decode()
    return None if fields.get("sec-websocket-accept") == accepted else "it has not understood the key"


async def _send(stream: socket.socket, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    while data:
        try:
            data = data[stream.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            await ready(stream, loop.add_writer, loop.remove_writer)
        except ssl.SSLWantReadError:
            await ready(stream, loop.add_reader, loop.remove_reader)


async def _head(stream: socket.socket) -> bytes:
    """All that comes up to the empty line, and not a byte more: the rest is MQTT. Raises OSError."""
    loop = asyncio.get_running_loop()
    head = bytearray()
    while not head.endswith(_ENDS_WITH):
        if len(head) > _LONGEST_HEAD_BYTES:
            raise ConnectionError(f"no end of the HTTP header within {_LONGEST_HEAD_BYTES} bytes")
        try:
            byte = stream.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            await ready(stream, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await ready(stream, loop.add_writer, loop.remove_writer)
        else:
            if not byte:
                raise ConnectionError("it was closed")
            head += byte
    return bytes(head)

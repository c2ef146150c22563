"""An LLRP reader that says what a test wants, byte by byte; made of literal bytes and struct, of nothing of the driver.

Layouts are those of LLRP 1.0.1 (EPCglobal, 2007-08-13), sections 16.1 and 16.2.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OK = bytes.fromhex("011f000800000000")
CAPABILITIES = bytes.fromhex(
    "011f0008000000000089003b000240000000651a001e886a000773696d2d312e30008b000800010000008d000800040004008c0009000100"
    "0101008c00090002000101008e001c48010000000000010000002000000001000005e400000008008f005b01140002009000530091000800"
    "0103e80091000800020bb80092001b00009400160004000d35a4000d37fc000d3a54000d3cac0148002401490020000003e8800000000009"
    "c400000005dc0000186a0000186a0000000001470007400002"
)
"""2 antennas, UTC clock, 10 and 30 dBm, four fixed channels, mode 1000, two filters, event hold, buffer warnings."""
OUR_ROSPEC = 0x48474154
SSCC = bytes.fromhex("3114257BF4499602D2000000")


def message(kind: int, number: int, body: bytes = b"", *, version: int = 1) -> bytes:
    return struct.pack(">HII", version << 10 | kind, 10 + len(body), number) + body


def event(parameter: bytes, *, utc_us: int | None = None) -> bytes:
    """READER_EVENT_NOTIFICATION with one event; now, unless told otherwise."""
    utc_us = time.time_ns() // 1000 if utc_us is None else utc_us
    inside = struct.pack(">HHQ", 0x80, 12, utc_us) + parameter
    return message(63, 0, struct.pack(">HH", 0xF6, 4 + len(inside)) + inside)


def connection_attempt(status: int, *, utc_us: int | None = None) -> bytes:
    return event(struct.pack(">HHH", 0x100, 6, status), utc_us=utc_us)


def antenna_event(antenna: int, *, connected: bool) -> bytes:
    return event(struct.pack(">HHBH", 0xFF, 7, connected, antenna))


def rospec_event(what: int, rospec: int = OUR_ROSPEC) -> bytes:
    return event(struct.pack(">HHBII", 0xF9, 13, what, rospec, 0))


def exception_event(text: str) -> bytes:
    encoded = text.encode()
    return event(struct.pack(">HHH", 0xFC, 6 + len(encoded), len(encoded)) + encoded)


CONNECTION_CLOSE = bytes.fromhex("01010004")
BUFFER_OVERFLOW = bytes.fromhex("00FB0004")
BUFFER_80_PERCENT = bytes.fromhex("00FA000550")


def tag(
    epc: bytes = SSCC,
    *,
    antenna: int | None = 1,
    rssi: int | None = -53,
    first_us: int | None = None,
    last_us: int | None = None,
    count: int | None = 1,
    pc: int | None = 0x3000,
    rospec: int = OUR_ROSPEC,
    more: bytes = b"",
) -> bytes:
    """TagReportData. Absent values are left out."""
    inside = b"\x8d" + epc if len(epc) == 12 else struct.pack(">HHH", 0xF1, 6 + len(epc), 8 * len(epc)) + epc
    inside += struct.pack(">BI", 0x89, rospec)
    if antenna is not None:
        inside += struct.pack(">BH", 0x81, antenna)
    if rssi is not None:
        inside += struct.pack(">Bb", 0x86, rssi)
    if first_us is not None:
        inside += struct.pack(">BQ", 0x82, first_us)
    if last_us is not None:
        inside += struct.pack(">BQ", 0x84, last_us)
    if count is not None:
        inside += struct.pack(">BH", 0x88, count)
    if pc is not None:
        inside += struct.pack(">BH", 0x8C, pc)
    inside += more
    return struct.pack(">HH", 0xF0, 4 + len(inside)) + inside


def report(*tags: bytes) -> bytes:
    return message(61, 0x2A, b"".join(tags or [tag()]))


def status(code: int, text: str = "") -> bytes:
    encoded = text.encode()
    return struct.pack(">HHHH", 0x11F, 8 + len(encoded), code, len(encoded)) + encoded


@dataclass
class Client:
    """One connection, as the reader sees it."""

    writer: asyncio.StreamWriter
    requests: asyncio.Queue[tuple[int, int, bytes]] = field(default_factory=asyncio.Queue)
    """(word of version and type, id, body) of everything that came."""

    def send(self, *frames: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(b"".join(frames))

    async def next(self, kind: int) -> tuple[int, bytes]:
        """(id, body) of the next request of this kind; others before it are passed over."""
        while True:
            word, number, body = await self.requests.get()
            if word & 0x3FF == kind:
                return number, body


@dataclass
class ScriptedReader:
    """Answers every request with success, unless `answers` says otherwise."""

    greeting: Callable[[], bytes] = lambda: connection_attempt(0)
    answers: dict[int, Callable[[int, bytes], bytes]] = field(default_factory=dict)
    """By type of request: what to send instead of success, given the id and the body; nothing for b""."""
    port: int = 0
    joined: asyncio.Queue[Client] = field(default_factory=asyncio.Queue)
    seen: list[tuple[int, bytes]] = field(default_factory=list)
    """(type, body) of every request of every client."""
    on_start: bytes = b""
    """Sent right after the answer to START_ROSPEC."""

    @property
    def url(self) -> str:
        return f"llrp://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedReader]:
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            client = Client(writer)
            self.joined.put_nowait(client)
            try:
                await self._serve(reader, client)
            finally:
                writer.transport.abort()
                tasks.discard(task)

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in [*tasks]:
                task.cancel()
            if tasks:
                await asyncio.wait([*tasks])
            await asyncio.sleep(0)  # the loop closes sockets in its next turn

    async def _serve(self, reader: asyncio.StreamReader, client: Client) -> None:
        client.send(self.greeting())
        with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                word, length, number = struct.unpack(">HII", await reader.readexactly(10))
                body = await reader.readexactly(length - 10)
                kind = word & 0x3FF
                self.seen.append((kind, body))
                client.requests.put_nowait((word, number, body))
                client.send(self._answer(kind, number, body))
                if kind == 14:
                    return

    def _answer(self, kind: int, number: int, body: bytes) -> bytes:
        if kind in self.answers:
            return self.answers[kind](number, body)
        if kind in (64, 72):
            return b""
        if kind == 1:
            return message(11, number, CAPABILITIES)
        if kind == 14:
            return message(4, number, OK)
        return message(kind + 10, number, OK) + (self.on_start if kind == 22 else b"")

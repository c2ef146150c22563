"""Instruments that were written after the manuals and share nothing with the driver: what they are sent they answer."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Protocol

Send = Callable[[bytes], None]


class Instrument(Protocol):
    """What is at the other end of a link."""

    send: Send

    def switched_on(self) -> None:
        """Somebody is listening, by `send`."""
        ...

    def received(self, data: bytes) -> None: ...


class Scripted:
    """Answers each request with what is foreseen for it, any number of times; other requests not at all."""

    def __init__(self, answers: dict[bytes, bytes | list[bytes]]) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.send: Send = lambda _: None
        self.listened_to = asyncio.Event()

    def switched_on(self) -> None:
        self.listened_to.set()

    def received(self, data: bytes) -> None:
        self.requests.append(data)
        self.asked.set()
        answer = self.answers.get(data, b"")
        self.send(answer.pop(0) if isinstance(answer, list) else answer)

    async def has_been_asked(self, request: bytes, times: int = 1) -> None:
        while self.requests.count(request) < times:
            self.asked.clear()
            await self.asked.wait()


class MtSicsScale:
    """A terminal of Mettler-Toledo with levels 0 and 1, after its operating instructions."""

    def __init__(self) -> None:
        self.load = Decimal("0.000")
        self.tare = Decimal("0.000")
        self.settled = True
        self.repeats = False
        self.send: Send = lambda _: None
        self.commands: list[str] = []
        self._waiting = ""
        self._typed = b""

    def switched_on(self) -> None:
        pass

    def put(self, load: str, *, settled: bool = True) -> None:
        """Something lies on the scale now."""
        self.load, self.settled = Decimal(load), settled
        if self._waiting and settled:
            waiting, self._waiting = self._waiting, ""
            self._obey(waiting)
        if self.repeats:
            self._say(self._now())

    def received(self, data: bytes) -> None:
        self._typed += data
        while b"\r\n" in self._typed:
            command, self._typed = self._typed.split(b"\r\n", 1)
            self.commands.append(command.decode())
            self._obey(command.decode())

    def _obey(self, command: str) -> None:  # noqa: C901  one case for each command
        if command in ("S", "SI", "SIR", "@"):
            self.repeats = command == "SIR"
        if command in ("S", "T", "Z") and not self.settled:
            self._waiting = command
            return
        match command.split():
            case ["S" | "SI" | "SIR"]:
                self._say(self._now())
            case ["@"]:
                self._say('I4 A "0123456789"')
            case ["T"]:
                self.tare = self.load
                self._say(f"T S {self.tare:>10} kg")
            case ["TA"]:
                self._say(f"TA A {self.tare:>10} kg")
            case ["TA", weight, "kg"] if Decimal(weight) < 60:
                self.tare = Decimal(weight)
                self._say(f"TA A {self.tare:>10} kg")
            case ["TA", *_]:
                self._say("TA L")
            case ["TAC"]:
                self.tare = Decimal("0.000")
                self._say("TAC A")
            case ["Z"] if abs(self.load) > 1:
                self._say("Z +" if self.load > 0 else "Z -")
            case ["Z"]:
                self.load = Decimal("0.000")
                self._say("Z A")
            case _:
                self._say("ES")

    def _now(self) -> str:
        if self.load > 60:
            return "S +"
        return f"S {'S' if self.settled else 'D'} {self.load - self.tare:>10} kg"

    def _say(self, line: str) -> None:
        self.send(line.encode() + b"\r\n")


class SmaScale:
    """A scale after SMA SCP-0499, levels 1 and 2."""

    def __init__(self) -> None:
        self.load = Decimal("0.000")
        self.tare = Decimal("0.000")
        self.moves = False
        self.repeats = False
        self.send: Send = lambda _: None
        self.commands: list[str] = []

    def switched_on(self) -> None:
        pass

    def put(self, load: str, *, moves: bool = False) -> None:
        self.load, self.moves = Decimal(load), moves
        if self.repeats:
            self.send(self.frame())

    def received(self, data: bytes) -> None:
        for command in re.findall(rb"\x1b|\n[^\r]*\r", data):
            self.commands.append(command.decode().strip("\n\r"))
            self.repeats = command == b"\nR\r"
            if command != b"\x1b":
                self.send(self._answer(command[1:-1].decode()))

    def _answer(self, command: str) -> bytes:  # noqa: PLR0911  one case for each command
        match command[0], command[1:]:
            case (("W" | "R"), ""):
                return self.frame()
            case (("Z" | "T"), _) if self.moves:
                return b"\n" + ("E" if command == "Z" else "T").encode() + b"1GM ----------kg_\r"
            case "Z", "":
                self.load = Decimal("0.000")
                return self.frame("Z")
            case "T", "":
                self.tare = self.load
                return self.frame()
            case "T", weight:
                self.tare = Decimal(weight)
                return self.frame()
            case "M", "":
                return f"\n 1T  {self.tare:>10}kg_\r".encode()
            case "C", "":
                self.tare = Decimal("0.000")
                return self.frame()
            case _:
                return b"\n?\r"

    def frame(self, status: str = " ") -> bytes:
        shows = "N" if self.tare else "G"
        if self.load > 15:
            return f"\nO1{shows}  {'':->10}kg_\r".encode()
        return f"\n{status}1{shows}{'M' if self.moves else ' '} {self.load - self.tare:>10}kg_\r".encode()


class ToledoTerminal:
    """Continuous output in hundredths of a kilogram, with a checksum or without."""

    def __init__(self, *, checked: bool = True) -> None:
        self.checked = checked
        self.load = 0
        self.tare = 0
        self.moves = False
        self.flags = 0
        self.send: Send = lambda _: None
        self.commands: list[bytes] = []
        self.listened_to = asyncio.Event()

    def switched_on(self) -> None:
        self.listened_to.set()

    def received(self, data: bytes) -> None:
        self.commands.append(data)
        match data:
            case b"T\r\n":
                self.tare = self.load
            case b"C\r\n":
                self.tare = 0
            case b"Z\r\n":
                self.load = 0
        self.speak()

    def put(self, load: int, *, moves: bool = False) -> None:
        self.load, self.moves = load, moves
        self.speak()

    def speak(self) -> None:
        """As often as it takes to be understood from the start."""
        self.send(self.frame() * 3)

    def frame(self) -> bytes:
        shown = self.load - self.tare
        word_b = 0x30 | bool(self.tare) | (shown < 0) << 1 | self.moves << 3 | self.flags
        body = bytes([2, 0x2C, word_b, 0x20]) + b"%06d%06d\r" % (abs(shown), self.tare)
        return body + bytes([-sum(body) % 128]) if self.checked else body


class _Connection(asyncio.Protocol):
    def __init__(self, instrument: Instrument, transports: set[asyncio.Transport]) -> None:
        self._instrument = instrument
        self._transports = transports
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transports.add(transport)
        self._instrument.send = transport.write
        self._instrument.switched_on()

    def data_received(self, data: bytes) -> None:
        self._instrument.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self._transport)
        self._instrument.send = lambda _: None


class Link:
    """A link that can be cut, and the url of its other end."""

    def __init__(self, url: str, cut: Callable[[], None]) -> None:
        self.url = url
        self.cut = cut


@asynccontextmanager
async def on_tcp(instrument: Instrument) -> AsyncIterator[Link]:
    """The instrument on a TCP port of loopback."""
    transports: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(instrument, transports), "127.0.0.1", 0)

    def cut() -> None:
        for transport in [*transports]:
            transport.abort()

    async with server:
        yield Link(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut)
        cut()
        await asyncio.sleep(0)  # the loop closes a socket in its next turn


@asynccontextmanager
async def on_terminal(instrument: Instrument) -> AsyncIterator[Link]:
    """The instrument at the far end of a serial line, which is a pseudo-terminal."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    is_open = True

    def read() -> None:
        try:
            instrument.received(os.read(master, 4096))
        except OSError:  # nobody has the other side open
            loop.remove_reader(master)

    def cut() -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            loop.remove_reader(master)
            os.close(slave)
            os.close(master)

    instrument.send = lambda data: os.write(master, data) and None
    loop.add_reader(master, read)
    instrument.switched_on()
    try:
        yield Link(f"serial://{path}", cut)
    finally:
        cut()

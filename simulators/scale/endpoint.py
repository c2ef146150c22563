"""The indicator on a TCP port (each client has a conversation of its own) or on a pseudo-terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isfinite
from random import Random
from typing import Literal

from simulators.faces import ScaleFace
from simulators.faults import Fault, FaultError, FaultKind
from simulators.listener import Client, ListeningEndpoint
from simulators.scale.dialect import Dialect
from simulators.scale.mtsics import MtSics
from simulators.scale.sma import Sma
from simulators.scale.spoilt import MESSAGE_FAULTS, Loaded, pieces
from simulators.scale.toledo import WAKES_FOR_S, Toledo
from simulators.terminal import TerminalEndpoint

Protocol = Literal["mt-sics", "sma", "toledo-continuous"]
_PIECE_GAP_S = 0.005


def _dialect(protocol: Protocol, face: ScaleFace, *, awake_s: float | None = None) -> Dialect:
    """A conversation that begins now, with an indicator that is awake from `awake_s` on."""
    match protocol:
        case "mt-sics":
            return MtSics(face)
        case "sma":
            return Sma(face)
        case "toledo-continuous":
            return Toledo(face, now_s=asyncio.get_running_loop().time(), awake_s=awake_s)


class _Conversation:
    """A dialect with the timer that it asks for.

    `send` takes bytes and how late they go out. What nobody waits for is left out while the line `is_busy`: it
    would not be the present any more.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        send: Callable[[bytes, float], None],
        is_busy: Callable[[], bool],
        fault: Callable[[], Fault],
        random: Random,
    ) -> None:
        self._dialect = dialect
        self._send = send
        self._is_busy = is_busy
        self._fault = fault
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def hear(self, data: bytes) -> None:
        """Bytes have come from the client."""
        if self._fault().kind is not FaultKind.HANG:
            self._say(self._dialect.answer_to(data, self._loop.time()))
            self._wait()

    def power_cycle(self) -> None:
        self._say(self._dialect.powered_up(self._loop.time()))
        self._wait()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        nobody_waits = self._dialect.speaks_unasked
        said = self._dialect.tick(self._loop.time())
        if not (nobody_waits and (self._is_busy() or self._fault().kind is FaultKind.SILENT)):
            self._say(said)
        self._wait()

    def _say(self, messages: list[bytes]) -> None:
        fault = self._fault()
        delay_s = fault.delay_s
        for message in messages:
            for piece in pieces(message, fault, random=self._random):
                self._send(piece, delay_s)
                delay_s += _PIECE_GAP_S if fault.kind is FaultKind.SPLIT else 0.0

    def _wait(self) -> None:
        self.end()
        if isfinite(self._dialect.next_s):
            self._timer = self._loop.call_at(self._dialect.next_s, self._tick)


class ScaleTcpEndpoint(ListeningEndpoint):
    """An indicator on the network."""

    kind = "scale-tcp"
    possible_faults = MESSAGE_FAULTS | {FaultKind.REFUSE, FaultKind.RESET}

    def __init__(self, name: str, face: ScaleFace, *, host: str, port: int, protocol: Protocol, random: Random) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, [face.name], host=host, port=port, random=random)
        self._protocol = protocol
        self._face = Loaded(face)
        self._awake_s: float | None = None

    def power_cycle(self, unit: int | None = None) -> None:  # noqa: ARG002 - a scale has no units
        self._face.power_cycle()
        self._awake_s = asyncio.get_running_loop().time() + WAKES_FOR_S

    def converse(self, client: _ScaleClient) -> _Conversation:
        """What a client that has connected talks to."""
        return _Conversation(
            _dialect(self._protocol, self._face, awake_s=self._awake_s),
            send=client.send_later,
            is_busy=client.is_behind,
            fault=self.fault,
            random=self._random,
        )

    def _check(self, fault: Fault, unit: int | None) -> None:
        super()._check(fault, unit)
        _check_protocol(fault, self._protocol, self.name)

    def _client(self) -> Client:
        return _ScaleClient(self)

    async def _changed(self, fault: Fault) -> None:
        self._face.is_overloaded = fault.kind is FaultKind.OVERLOAD
        await super()._changed(fault)


class _ScaleClient(Client):
    __slots__ = ("_conversation",)

    def __init__(self, listener: ScaleTcpEndpoint) -> None:
        super().__init__(listener)
        self._conversation: _Conversation | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(self.listener, ScaleTcpEndpoint)
        self._conversation = self.listener.converse(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._conversation is not None:
            self._conversation.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.listener.fault().kind is FaultKind.RESET:
            self.reset()
        elif self._conversation is not None:
            self._conversation.hear(data)

    def is_behind(self) -> bool:
        """Whether it has not read yet what was sent."""
        return self.transport.get_write_buffer_size() > 0

    def send_later(self, data: bytes, delay_s: float) -> None:
        """What a client does not read is not kept for it: a scale has no memory for that."""
        if self.listener.fault().kind is FaultKind.RESET:
            self.reset()
        elif self.is_behind():
            return
        elif delay_s:
            self.loop.call_later(delay_s, self.send, data)
        else:
            self.send(data)

    def pause_writing(self) -> None:
        """Nothing to do: `send_later` keeps nothing."""

    def resume_writing(self) -> None:
        """Nothing to do: `pause_writing` has stopped nothing."""


class ScaleSerialEndpoint(TerminalEndpoint):
    """An indicator on a serial line."""

    kind = "scale-serial"
    possible_faults = MESSAGE_FAULTS

    def __init__(self, name: str, face: ScaleFace, *, baudrate: int, protocol: Protocol, random: Random) -> None:
        super().__init__(name, [face.name], baudrate=baudrate, random=random)
        self._protocol = protocol
        self._face = Loaded(face)
        self._conversation: _Conversation | None = None
        self._was_off = False

    def power_cycle(self, unit: int | None = None) -> None:  # noqa: ARG002 - a scale has no units
        self._face.power_cycle()
        self._was_off = True

    async def _start(self) -> None:
        await super()._start()
        self._conversation = _Conversation(
            _dialect(self._protocol, self._face),
            send=self._later,
            is_busy=lambda: self.is_busy,
            fault=self.fault,
            random=self._random,
        )

    async def _stop(self) -> None:
        if self._conversation is not None:
            self._conversation.end()
        await super()._stop()

    def _check(self, fault: Fault, unit: int | None) -> None:
        super()._check(fault, unit)
        _check_protocol(fault, self._protocol, self.name)

    def _received(self, data: bytes) -> None:
        assert self._conversation is not None
        self._conversation.hear(data)

    def _later(self, data: bytes, delay_s: float) -> None:
        self._send(data, delay_s=delay_s)

    async def _changed(self, fault: Fault) -> None:
        self._face.is_overloaded = fault.kind is FaultKind.OVERLOAD
        await super()._changed(fault)
        if self._was_off and fault.kind is FaultKind.NONE and self._conversation is not None:
            self._was_off = False
            self._conversation.power_cycle()


def _check_protocol(fault: Fault, protocol: Protocol, name: str) -> None:
    if fault.kind is FaultKind.WRONG_CHECKSUM and protocol != "toledo-continuous":
        raise FaultError(f'"{fault.kind}" is not possible on "{name}": {protocol} has no checksum')

"""Modbus RTU on a pseudo-terminal: several units on one line, at the pace of a real one."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Mapping
from random import Random

from simulators.endpoint import Endpoint, EndpointError, Unit
from simulators.faults import CONNECTION_FAULTS, Fault, FaultKind
from simulators.framing import RtuRequest, RtuStream, rtu_frame

BROADCAST = 0
BITS_PER_CHARACTER = 11
"""Start, eight data bits, parity or a second stop bit, stop (serial line specification, section 2.5.1)."""

_SILENCE_S = 0.02
"""Longer than 3.5 characters at 2400 baud, and longer than a pseudo-terminal holds back what was written at once."""

_WRITES = (5, 6, 15, 16)
_CHUNK_BYTES = 4096


class RtuEndpoint(Endpoint):
    """A serial line as its master sees it. A client may close and open the terminal as often as it likes.

    The line takes the time that a wire takes: an answer comes when request and answer would have been transferred at
    `baudrate`. What nobody reads is lost, as on a wire.
    """

    kind = "modbus-rtu"
    possible_faults = frozenset(FaultKind) - CONNECTION_FAULTS

    def __init__(self, name: str, units: Mapping[int, Unit], *, baudrate: int, random: Random) -> None:
        super().__init__(name, units, random=random)
        self._baudrate = baudrate
        self._stream = RtuStream()
        self._ours = self._theirs = -1
        self._path = ""
        self._silence: asyncio.TimerHandle | None = None
        self._free_at_s = 0.0

    @property
    def url(self) -> str:
        return f"rtu://{self._path}?baudrate={self._baudrate}"

    async def _start(self) -> None:
        try:
            self._ours, self._theirs = os.openpty()
        except OSError as error:
            raise EndpointError(f'endpoint "{self.name}" gets no pseudo-terminal: {error}') from error
        # Keeping the client's side open keeps ours alive while no client is there.
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._path = os.ttyname(self._theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._receive)

    async def _stop(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self._ours >= 0:
            asyncio.get_running_loop().remove_reader(self._ours)
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = self._theirs = -1

    def _drop_clients(self) -> None:
        """A line has no connections."""

    async def _changed(self, fault: Fault) -> None:
        """Nothing to do: a fault on a line shows in its answers only."""

    def _receive(self) -> None:
        data = os.read(self._ours, _CHUNK_BYTES)
        loop = asyncio.get_running_loop()
        if self._silence is not None:
            self._silence.cancel()
        self._silence = loop.call_later(_SILENCE_S, self._on_silence)
        self._handle(self._stream.feed(data))

    def _on_silence(self) -> None:
        self._handle(self._stream.silence())

    def _handle(self, requests: list[RtuRequest]) -> None:
        for unit, pdu in requests:
            if unit == BROADCAST:
                if pdu[0] in _WRITES:
                    for listener in self.units:
                        self.answer(listener, pdu, rtu_frame)
            elif unit in self.units:
                answer = self.answer(unit, pdu, rtu_frame)
                if answer.frame:
                    self._send_later(answer.frame, answer.delay_s, request_bytes=len(pdu) + 3)

    def _send_later(self, frame: bytes, delay_s: float, *, request_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        on_the_wire_s = (request_bytes + len(frame)) * BITS_PER_CHARACTER / self._baudrate
        self._free_at_s = max(self._free_at_s, loop.time()) + on_the_wire_s
        loop.call_at(self._free_at_s + delay_s, self._send, frame)

    def _send(self, frame: bytes) -> None:
        if self._ours < 0:
            return
        try:
            os.write(self._ours, frame)
        except BlockingIOError:
            return  # nobody reads: lost on the wire

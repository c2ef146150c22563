"""Modbus RTU on a pseudo-terminal: several units on one line, at the pace of a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

from simulators.faults import FaultKind
from simulators.framing import RtuRequest, RtuStream, rtu_frame
from simulators.modbus_units import ANSWER_FAULTS, Answer, ModbusUnits, Unit
from simulators.terminal import TerminalEndpoint

BROADCAST = 0

_SILENCE_S = 0.02
"""Longer than 3.5 characters at 2400 baud, and longer than a pseudo-terminal holds back what was written at once."""

_WRITES = (5, 6, 15, 16)
_FRAME_BYTES = 3
"""Unit and CRC around a PDU."""


class ModbusRtuEndpoint(TerminalEndpoint):
    """A serial line with several units: an answer comes when request and answer would have been transferred."""

    kind = "modbus-rtu"
    scheme = "rtu"
    possible_faults = ANSWER_FAULTS | {FaultKind.WRONG_CHECKSUM}

    def __init__(self, name: str, units: Mapping[int, Unit], *, baudrate: int, random: Random) -> None:
        super().__init__(name, [unit.name for unit in units.values()], baudrate=baudrate, random=random)
        self._units = ModbusUnits(units, random=random)
        self._stream = RtuStream()
        self._silence: asyncio.TimerHandle | None = None

    @property
    def units(self) -> dict[int, str]:
        return self._units.names

    def power_cycle(self, unit: int | None = None) -> None:
        self._units.power_cycle(unit)

    async def _stop(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        await super()._stop()

    def _received(self, data: bytes) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(_SILENCE_S, self._on_silence)
        self._handle(self._stream.feed(data))

    def _on_silence(self) -> None:
        self._handle(self._stream.silence())

    def _handle(self, requests: list[RtuRequest]) -> None:
        for unit, pdu in requests:
            if unit == BROADCAST:
                if pdu[0] in _WRITES:
                    for listener in self.units:
                        self._answer(listener, pdu)
            elif unit in self.units:
                answer = self._answer(unit, pdu)
                if answer.frame:
                    self._send(answer.frame, delay_s=answer.delay_s, after_bytes=len(pdu) + _FRAME_BYTES)

    def _answer(self, unit: int, pdu: bytes) -> Answer:
        return self._units.answer(unit, pdu, self.fault(unit), frame=rtu_frame)

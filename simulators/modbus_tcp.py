"""Modbus TCP: many clients on one listening socket, pipelined requests."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from simulators.faults import FaultKind
from simulators.framing import FramingError, MbapStream, mbap_frame
from simulators.listener import Client, ListeningEndpoint
from simulators.modbus import ExceptionCode, exception_response, respond
from simulators.modbus_units import ANSWER_FAULTS, ModbusUnits, Unit

_ANY_UNIT = (0, 255)
"""Ids that mean "the device itself" to a server that is not a gateway (implementation guide, section 4.4.2.3)."""


class ModbusTcpEndpoint(ListeningEndpoint):
    """A Modbus TCP server, which answers exception 0B for units that it does not have."""

    kind = "modbus-tcp"
    possible_faults = ANSWER_FAULTS | {FaultKind.REFUSE, FaultKind.RESET}

    def __init__(self, name: str, units: Mapping[int, Unit], *, host: str, port: int, random: Random) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, [unit.name for unit in units.values()], host=host, port=port, random=random)
        self._units = ModbusUnits(units, random=random)
        self._only_unit = next(iter(units)) if len(units) == 1 else None

    @property
    def units(self) -> dict[int, str]:
        return self._units.names

    def power_cycle(self, unit: int | None = None) -> None:
        self._units.power_cycle(unit)

    def replies(self, transaction: int, unit: int, pdu: bytes) -> tuple[bytes, float] | None:
        """The frame to send and how late; None to reset the connection. No bytes: no answer."""
        table = self._units.tables.get(unit)
        if table is None:
            if unit not in _ANY_UNIT or self._only_unit is None:
                refusal = exception_response(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
                return mbap_frame(transaction, unit, refusal), 0.0
            return self._spoilt(transaction, self._only_unit, pdu, seen_as=unit)
        if not self._faults:
            return mbap_frame(transaction, unit, respond(table, pdu)), 0.0
        return self._spoilt(transaction, unit, pdu, seen_as=unit)

    def _client(self) -> Client:
        return _Connection(self)

    def _spoilt(self, transaction: int, unit: int, pdu: bytes, *, seen_as: int) -> tuple[bytes, float] | None:
        shift = seen_as - unit

        def frame(id_: int, response: bytes) -> bytes:
            return mbap_frame(transaction, id_ + shift & 0xFF, response)

        answer = self._units.answer(unit, pdu, self.fault(unit), frame=frame)
        return None if answer.reset else (answer.frame, answer.delay_s)


class _Connection(Client):
    """One client."""

    __slots__ = ("_endpoint", "_stream")

    def __init__(self, endpoint: ModbusTcpEndpoint) -> None:
        super().__init__(endpoint)
        self._endpoint = endpoint
        self._stream = MbapStream()

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._stream.feed(data)
        except FramingError:
            self.transport.abort()
            return
        now = bytearray()
        for request in requests:
            reply = self._endpoint.replies(*request)
            if reply is None:
                self.reset()
                return
            frame, delay_s = reply
            if delay_s:
                self.loop.call_later(delay_s, self.send, frame)
            else:
                now += frame
        self.send(now)

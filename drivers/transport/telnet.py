"""Telnet (RFC 854, 855) as RFC 2217 needs it: commands and options taken out of a byte stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, ECHO, SUPPRESS_GO_AHEAD, COM_PORT = 0, 1, 3, 44
"""Options: RFC 856, 857, 858 and 2217."""
LONGEST_SUBNEGOTIATION_BYTES = 256
"""Of RFC 2217 none but a signature has more than five; what is longer is cut off."""

_IAC = bytes([IAC])


@dataclass(frozen=True, slots=True)
class Negotiation:
    """DO, DONT, WILL or WONT, and the option that it is about."""

    command: int
    option: int


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """What stood between IAC SB and IAC SE."""

    body: bytes


Command = Negotiation | Subnegotiation


class _State(Enum):
    DATA = "data"
    COMMAND = "after IAC"
    OPTION = "after IAC DO and the like"
    BODY = "in a subnegotiation"
    BODY_COMMAND = "after IAC in a subnegotiation"


class Telnet:
    """Takes a received stream apart, however it is cut into pieces. Keeps at most one command."""

    def __init__(self) -> None:
        self._state = _State.DATA
        self._command = 0
        self._body = bytearray()

    def feed(self, received: bytes) -> tuple[bytes, list[Command]]:
        """The data in `received` without what is Telnet's, and the commands that it completes."""
        if self._state is _State.DATA and IAC not in received:
            return received, []
        data = bytearray()
        commands: list[Command] = []
        for byte in received:
            self._take(byte, data, commands)
        return bytes(data), commands

    def _take(self, byte: int, data: bytearray, commands: list[Command]) -> None:
        match self._state:
            case _State.DATA if byte == IAC:
                self._state = _State.COMMAND
            case _State.DATA:
                data.append(byte)
            case _State.OPTION:
                commands.append(Negotiation(self._command, byte))
                self._state = _State.DATA
            case _State.BODY if byte == IAC:
                self._state = _State.BODY_COMMAND
            case _State.BODY:
                self._keep(byte)
            case _State.BODY_COMMAND if byte == IAC:
                self._keep(byte)
                self._state = _State.BODY
            case _State.BODY_COMMAND if byte == SE:
                commands.append(Subnegotiation(bytes(self._body)))
                self._state = _State.DATA
            case _:  # a command, perhaps after a subnegotiation that has no end
                self._take_command(byte, data)

    def _take_command(self, byte: int, data: bytearray) -> None:
        if byte in (DO, DONT, WILL, WONT):
            self._command = byte
            self._state = _State.OPTION
        elif byte == SB:
            self._body.clear()
            self._state = _State.BODY
        else:
            if byte == IAC:
                data.append(byte)
            self._state = _State.DATA

    def _keep(self, byte: int) -> None:
        if len(self._body) < LONGEST_SUBNEGOTIATION_BYTES:
            self._body.append(byte)


def escape(data: bytes) -> bytes:
    """Data as it goes out: a byte 255 is sent twice."""
    return data.replace(_IAC, _IAC + _IAC)


def negotiate(command: int, option: int) -> bytes:
    """IAC DO option, and the like."""
    return bytes([IAC, command, option])


def subnegotiate(body: bytes) -> bytes:
    """IAC SB body IAC SE."""
    return bytes([IAC, SB]) + escape(body) + bytes([IAC, SE])

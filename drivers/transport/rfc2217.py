"""A client of RFC 2217, "Telnet Com Port Control Option": a serial port at the other end of a TCP connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from drivers.contract import DeviceUnavailable
from drivers.transport import failure, telnet
from drivers.transport.endpoint import Rfc2217Endpoint, SerialLine
from drivers.transport.telnet import BINARY, COM_PORT, DO, DONT, SUPPRESS_GO_AHEAD, WILL, WONT

_SET_BAUDRATE, _SET_DATASIZE, _SET_PARITY, _SET_STOPSIZE = 1, 2, 3, 4
_SERVER = 100
"""What the server answers has the number of the request plus 100."""
_PARITIES = {"N": 1, "O": 2, "E": 3, "M": 4, "S": 5}
_NAMES = {_SET_BAUDRATE: "baudrate", _SET_DATASIZE: "bytesize", _SET_PARITY: "parity", _SET_STOPSIZE: "stopbits"}

_OURS = {BINARY, SUPPRESS_GO_AHEAD, COM_PORT}
"""Options that we do, and want to be asked for."""
_THEIRS = {BINARY, SUPPRESS_GO_AHEAD, COM_PORT}
"""Options that we want the server to do. ECHO is not among them: nobody types here."""


class _Connection(Protocol):
    """What is underneath: `drivers.transport.descriptor.DescriptorStream`."""

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    def take_input(self) -> Iterator[bytes]: ...


class Rfc2217Stream:
    """`drivers.transport.ByteStream` over a TCP connection, after `set_up`.

    What the server says besides data (modem and line state, flow control) needs no answer and gets none.
    """

    def __init__(self, connection: _Connection, endpoint: Rfc2217Endpoint) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._telnet = telnet.Telnet()
        self._offered = {(WILL, option) for option in _OURS} | {(DO, option) for option in _THEIRS}
        """What we have said and what therefore must not be said again: RFC 854 forbids to acknowledge a known state."""
        self._wanted: dict[int, bytes] = {}
        self._agreed = False
        self._refusal: DeviceUnavailable | None = None
        self._owed = bytearray()
        """Answers that go out with the next chance; never more than what they answer."""

    @property
    def waiting_for(self) -> str:
        """What the server has not answered yet."""
        if not self._agreed:
            return "the COM port option of RFC 2217"
        return next((_NAMES[code] for code in self._wanted), "nothing")

    async def set_up(self) -> None:
        """Agree with the server and set up its line, without a time limit. Raises `DeviceUnavailable` on a refusal."""
        await self._connection.write(b"".join(telnet.negotiate(*offer) for offer in sorted(self._offered)))
        while not self._agreed:
            await self._take_turn()
        self._wanted = _requests(self._endpoint.line)
        for code, value in self._wanted.items():
            await self._connection.write(telnet.subnegotiate(bytes([COM_PORT, code]) + value))
        while self._wanted:
            await self._take_turn()

    async def read(self) -> bytes:
        while True:
            if data := await self._take_turn():
                return data

    async def write(self, data: bytes) -> None:
        await self._connection.write(self._take_owed() + telnet.escape(data))

    def take_input(self) -> Iterator[bytes]:
        for received in self._connection.take_input():
            if data := self._sort(received):
                yield data

    def discard_input(self) -> None:
        for _ in self.take_input():
            pass

    async def _take_turn(self) -> bytes:
        """The data in what comes next; it may be all Telnet's, and none."""
        data = self._sort(await self._connection.read())
        if self._refusal is not None:
            raise self._refusal
        if self._owed:
            await self._connection.write(self._take_owed())
        return data

    def _take_owed(self) -> bytes:
        owed = bytes(self._owed)
        self._owed.clear()
        return owed

    def _sort(self, received: bytes) -> bytes:
        data, commands = self._telnet.feed(received)
        for command in commands:
            if isinstance(command, telnet.Negotiation):
                self._negotiate(command.command, command.option)
            else:
                self._compare(command.body)
        return data

    def _negotiate(self, command: int, option: int) -> None:
        if option == COM_PORT and command in (DO, WILL):  # servers that say only one of them mean both
            self._agreed = True
        if option == COM_PORT and command == DONT and not self._agreed:
            self._refusal = failure.not_rfc2217(self._endpoint)
        # Theirs to do (WILL, WONT) is answered by DO or DONT, ours (DO, DONT) by WILL or WONT.
        yes, no = (DO, DONT) if command in (WILL, WONT) else (WILL, WONT)
        supported = _THEIRS if yes == DO else _OURS
        answer = yes if command in (WILL, DO) and option in supported else no
        if (answer, option) not in self._offered:
            self._offered -= {(yes, option), (no, option)}
            self._offered.add((answer, option))
            self._owed += telnet.negotiate(answer, option)

    def _compare(self, body: bytes) -> None:
        """An answer of the server against what was wanted of it."""
        if len(body) < 3 or body[0] != COM_PORT:
            return
        code, value = body[1] - _SERVER, body[2:]
        wanted = self._wanted.pop(code, None)
        if wanted is not None and value[: len(wanted)] != wanted:
            self._refusal = failure.line_refused(
                self._endpoint, _NAMES[code], _shown(code, wanted), _shown(code, value[: len(wanted)])
            )


def _requests(line: SerialLine) -> dict[int, bytes]:
    return {
        _SET_BAUDRATE: line.baudrate.to_bytes(4, "big"),
        _SET_DATASIZE: bytes([line.bytesize]),
        _SET_PARITY: bytes([_PARITIES[line.parity]]),
        _SET_STOPSIZE: bytes([line.stopbits]),
    }


def _shown(code: int, value: bytes) -> str:
    number = int.from_bytes(value, "big")
    if code == _SET_PARITY:
        return next((name for name, known in _PARITIES.items() if known == number), str(number))
    return str(number)

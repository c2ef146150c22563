"""The pymodbus client of an endpoint, which does the transport, the framing and the checksums.

The only module that touches pymodbus. Its hooks are private there, and two of its framers (3.16) are replaced. The one
of ASCII raises out of `data_received` for some garbage, and reads `+1` or ` 1` as a checksum. The one of RTU looks for
an answer at the first place that could be one only, and takes the rest of what came with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.framer import FramerAscii, FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from drivers.modbus.dialect import MASK_WRITE, WRITE_COIL, WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS
from drivers.modbus.endpoint import Endpoint, Framing, SerialEndpoint

Client = AsyncModbusTcpClient | AsyncModbusSerialClient
NotConnected = ConnectionException
"""What a client raises that has lost its connection."""

_TIMEOUT_S = 3600.0
"""pymodbus has one timeout per client; ours are per unit, so its own must never be the first to fire."""
_MOST_BUFFERED = 2048
"""Bytes that are held while they make no frame: room for noise, or several late answers, with the right one."""
_CONFIRMATION_BYTES = {WRITE_COIL: 8, WRITE_REGISTER: 8, WRITE_COILS: 8, WRITE_REGISTERS: 8, MASK_WRITE: 10}
"""Functions that write, with the length of the RTU frame that confirms them."""
_REPEATED = (WRITE_COIL, WRITE_REGISTER, MASK_WRITE)
"""Functions that are confirmed by the very frame of the request, from which its echo cannot be told."""


class Reply(ModbusPDU):
    """A reply as it came: `body` is what follows the function code. Nothing is unpacked and nothing can fail here."""

    def __init__(self, function_code: int, body: bytes) -> None:  # super() would make a dozen attributes per reply
        self.function_code = function_code
        self.body = body


class Replies(DecodePDU):
    """Takes any reply."""

    def decode(self, frame: bytes) -> ModbusPDU:
        return Reply(frame[0], frame[1:])


class StrictRtu(FramerRTU):
    """Frames of "Modbus over Serial Line" V1.02, 2.5.1.1: unit, function, data and a CRC, which alone tells from noise.

    What may answer is known by the request that was made last: its unit, its function, and that an adapter with local
    echo sends it back first. So an answer is found wherever it stands among noise and the frames of others.
    """

    _request = b""
    _echo = b""

    def encode(self, payload: bytes, device_id: int, _tid: int) -> bytes:
        self._request = super().encode(payload, device_id, _tid)
        self._echo = _echo(self._request, payload)
        return self._request

    def decode(self, data: bytes) -> tuple[int, int, int, bytes]:
        """(bytes used, unit, 0, function and data) of the first sound answer; nothing but bytes used without one.

        Used up is what can be no part of an answer, however it goes on.
        """
        used = len(data)
        start = self._find(data, 0)
        while start >= 0:
            if self._echo and data.startswith(self._echo, start):
                start = self._find(data, start + len(self._echo))
                continue
            end = start + _rtu_size(data[start : start + 3], self._request[1])
            if end > len(data):
                used = min(used, start)
            elif end > start and self.check_CRC(data[start : end - 2], int.from_bytes(data[end - 2 : end], "big")):
                return end, data[start], 0, data[start + 1 : end - 2]
            start = self._find(data, start + 1)
        return used, 0, 0, b""

    def _find(self, data: bytes, start: int) -> int:
        return data.find(self._request[:1], start) if self._request else -1


def _rtu_size(head: bytes, function: int) -> int:
    """The bytes of a frame that begins like this and answers `function`; 0 when none does.

    Of a beginning that does not say yet, the fewest that it can be.
    """
    shortest = 5
    if len(head) == 1 or head[1] == function | 0x80:
        return shortest
    if head[1] != function:
        return 0
    if function in _CONFIRMATION_BYTES:
        return _CONFIRMATION_BYTES[function]
    return head[2] + shortest if len(head) > 2 else shortest


class StrictAscii(FramerAscii):
    """Frames of "Modbus over Serial Line" V1.02, 2.5.2.2: a colon, hexadecimal bytes, their LRC, CR and LF.

    As with RTU, only what may answer the request that was made last is one.
    """

    _function = 0
    _echo = b""

    def encode(self, payload: bytes, device_id: int, _tid: int) -> bytes:
        request = super().encode(payload, device_id, _tid)
        self._function = payload[0]
        self._echo = _echo(request, payload)
        return request

    def decode(self, data: bytes) -> tuple[int, int, int, bytes]:
        """(bytes used, unit, 0, function and data) of the first sound answer; nothing but bytes used without one."""
        used = 0
        while (end := data.find(b"\r\n", used)) >= 0:
            start = data.rfind(b":", used, end)
            used = end + 2
            if start < 0 or data[start:used] == self._echo:
                continue
            frame = _from_hex(data[start + 1 : end])
            is_sound = len(frame) >= 3 and sum(frame) & 0xFF == 0  # the LRC makes the sum of all bytes zero
            if is_sound and frame[1] & 0x7F == self._function:
                return used, frame[0], 0, frame[1:-1]
        return used, 0, 0, b""


def _echo(request: bytes, payload: bytes) -> bytes:
    """The frame that answers nothing, because it is the request come back; nothing when it may be the answer."""
    return b"" if payload[0] in _REPEATED else request


def _from_hex(text: bytes) -> bytes:
    """Nothing unless it is all digits and capital letters, as the standard wants it, or small ones, as some send."""
    if not text.isalnum():
        return b""
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""


_FRAMERS: dict[Framing, tuple[FramerType, type[FramerBase]]] = {
    Framing.TCP: (FramerType.SOCKET, FramerSocket),
    Framing.RTU: (FramerType.RTU, StrictRtu),
    Framing.ASCII: (FramerType.ASCII, StrictAscii),
}
"""What pymodbus calls them, and what does them."""


def make_client(
    endpoint: Endpoint,
    *,
    tls: tuple[SSLContext, str] | None,
    on_packet: Callable[[bool, bytes], bytes],
    on_connected: Callable[[], None],
    on_lost: Callable[[Exception | None], None],
) -> Client:
    """A client that neither retries nor reconnects: both are the host's. `tls` is a context with the server's name."""
    log = logging.getLogger("pymodbus")
    if log.level == logging.NOTSET:  # our errors say it better; whoever wants its frames sets a level of its own
        log.setLevel(logging.CRITICAL)
    kind, framer = _FRAMERS[endpoint.framing]
    common: Any = {
        "framer": kind,
        "timeout": _TIMEOUT_S,
        "reconnect_delay": 0,
        "retries": 0,
        "trace_packet": on_packet,
        "trace_connect": lambda _made: on_connected(),
    }
    client: Client
    if isinstance(endpoint, SerialEndpoint):
        # A pseudo-terminal is no line: it carries bytes, and the kernel refuses any other frame than this one.
        frame = "8N1" if Path(endpoint.path).resolve().is_relative_to("/dev/pts") else endpoint.frame
        client = AsyncModbusSerialClient(
            endpoint.path,
            baudrate=endpoint.baudrate,
            bytesize=int(frame[0]),
            parity=frame[1],
            stopbits=int(frame[2]),
            **common,
        )
    else:
        client = AsyncModbusTcpClient(endpoint.host, port=endpoint.port, **common)
    context: Any = client.ctx
    context.max_buffer_size = _MOST_BUFFERED
    context.framer = framer(Replies(False))
    context.callback_disconnected = on_lost
    if tls is not None:
        # Not AsyncModbusTlsClient: its framer takes half a frame for a whole one, and it knows no name but the host's.
        context.call_create = partial(
            asyncio.get_running_loop().create_connection,
            context.handle_new_connection,
            context.comm_params.host,
            context.comm_params.port,
            ssl=tls[0],
            server_hostname=tls[1],
        )
    return client

"""The pymodbus client of an endpoint, which does the transport, the framing and the checksums.

The only module that touches pymodbus. Its hooks are private there, and its ASCII framer is replaced: the one of 3.16
raises out of `data_received` for some garbage, and reads `+1` or ` 1` as a checksum.
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
from pymodbus.framer.ascii import FramerAscii
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
_FRAMERS = {Framing.TCP: FramerType.SOCKET, Framing.RTU: FramerType.RTU, Framing.ASCII: FramerType.ASCII}
_WRITES = {WRITE_COIL: 8, WRITE_REGISTER: 8, WRITE_COILS: 8, WRITE_REGISTERS: 8, MASK_WRITE: 10}
"""Functions that write, with the length of the RTU frame that confirms them."""
_READS = range(1, 5)


class Reply(ModbusPDU):
    """A reply as it came: `body` is what follows the function code. Nothing is unpacked and nothing can fail here."""

    def __init__(self, function_code: int, body: bytes) -> None:  # super() would make a dozen attributes per reply
        self.function_code = function_code
        self.body = body

    @classmethod
    def calculateRtuFrameSize(cls, data: bytes) -> int:  # noqa: N802  pymodbus's name
        """Unit and function, then an exception code, a byte count with its bytes, or a confirmation; the checksum."""
        if data[1] & 0x80:
            return 5
        if data[1] in _WRITES:
            return _WRITES[data[1]]
        return data[2] + 5 if len(data) > 2 else 0


class Replies(DecodePDU):
    """Takes replies to reads, and to the function that was asked for; what noise makes of others is skipped."""

    asked = 0
    """The function of the pending request."""

    def lookupPduClass(self, data: bytes) -> type[ModbusPDU] | None:  # noqa: N802  pymodbus's name
        function = data[1] & 0x7F
        return Reply if function in _READS or function == self.asked else None

    def decode(self, frame: bytes) -> ModbusPDU:
        return Reply(frame[0], frame[1:])


class StrictAscii(FramerAscii):
    """Frames of "Modbus over Serial Line" V1.02, 2.5.2.2: a colon, hexadecimal bytes, their LRC, CR and LF."""

    def decode(self, data: bytes) -> tuple[int, int, int, bytes]:
        """(bytes used, unit, 0, function and data) of the first sound frame; nothing but bytes used without one."""
        used = 0
        while (end := data.find(b"\r\n", used)) >= 0:
            start = data.rfind(b":", used, end)
            used = end + 2
            frame = _from_hex(data[start + 1 : end]) if start >= 0 else b""
            if len(frame) >= 3 and sum(frame) & 0xFF == 0:  # the LRC makes the sum of all bytes zero
                return used, frame[0], 0, frame[1:-1]
        return used, 0, 0, b""


def _from_hex(text: bytes) -> bytes:
    """Nothing unless it is all digits and capital letters, as the standard wants it, or small ones, as some send."""
    if not text.isalnum():
        return b""
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""


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
    common: Any = {
        "framer": _FRAMERS[endpoint.framing],
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
    if endpoint.framing is Framing.ASCII:
        context.framer = StrictAscii(Replies(False))
    context.framer.decoder = Replies(False)
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

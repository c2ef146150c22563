"""Byte streams to devices that speak lines or frames: serial ports, TCP, and serial ports behind RFC 2217 servers.

    endpoint = parse_url("serial:///dev/ttyUSB1?baudrate=9600&bytesize=7&parity=E")      ValueError, for config files
    async with open_stream(endpoint, timeout_s=1.0) as stream:                           DeviceUnavailable
        await stream.write(b"SI\\r\\n")
        data = await stream.read()                                                       DeviceUnavailable

All three are file descriptors that the event loop watches; none has a thread, and none keeps what came: it waits in the
kernel, whose buffers are bounded. Who opens a serial port imports pyserial, nobody else does.
"""

from __future__ import annotations

from drivers.transport.descriptor import MOST_TAKEN_BYTES
from drivers.transport.endpoint import Endpoint, Rfc2217Endpoint, SerialEndpoint, SerialLine, TcpEndpoint, parse_url
from drivers.transport.stream import ByteStream, open_stream

__all__ = [
    "MOST_TAKEN_BYTES",
    "ByteStream",
    "Endpoint",
    "Rfc2217Endpoint",
    "SerialEndpoint",
    "SerialLine",
    "TcpEndpoint",
    "open_stream",
    "parse_url",
]

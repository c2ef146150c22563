"""How Modbus PDUs travel: MBAP over TCP, RTU over a serial line. Bytes in, requests out; no I/O; buffers are bounded.

Written from "MODBUS Messaging on TCP/IP Implementation Guide V1.0b" section 3.1.3 (MBAP header) and "MODBUS over Serial
Line Specification V1.02" sections 2.5.1 (RTU framing) and 6.2.2 (CRC).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from simulators.modbus import MAX_PDU_BYTES

MAX_RTU_BYTES = 256

_MBAP = struct.Struct(">HHHB")
_FIXED_REQUEST_BYTES = dict.fromkeys((1, 2, 3, 4, 5, 6), 8)
_WRITE_MULTIPLE = (15, 16)


class FramingError(Exception):
    """The byte stream cannot be what it should be; what follows cannot be trusted either."""


class TcpRequest(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes


class RtuRequest(NamedTuple):
    unit: int
    pdu: bytes


def mbap_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Transaction, protocol 0, the length of what follows (unit and PDU), unit, PDU."""
    return _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """Unit, PDU, and the CRC with its low byte first."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def crc16(data: bytes | bytearray) -> int:
    """Polynomial 0xA001 (reflected 0x8005), start value 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


class MbapStream:
    """Cuts what one TCP client sends into requests."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held_bytes(self) -> int:
        """What is kept of an unfinished request: always less than one frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[TcpRequest]:
        """The requests that `data` completes. Raises `FramingError` when a header is not MBAP, as the stream cannot be
        cut any further."""
        if self._rest:
            data = self._rest + data
        requests = []
        start, end = 0, len(data)
        while end - start >= _MBAP.size:
            transaction, protocol, length, unit = _MBAP.unpack_from(data, start)
            if protocol != 0 or not 2 <= length <= MAX_PDU_BYTES + 1:
                raise FramingError(f"not an MBAP header: {data[start : start + _MBAP.size].hex(' ')}")
            stop = start + _MBAP.size - 1 + length
            if stop > end:
                break
            requests.append(TcpRequest(transaction, unit, data[start + _MBAP.size : stop]))
            start = stop
        self._rest = data[start:]
        return requests


class RtuStream:
    """Cuts what comes down a serial line into requests.

    The specification ends a frame by silence, which a pseudo-terminal does not keep. So a request whose function code
    tells its length ends there; any other ends by silence, which the caller reports. A frame with a wrong CRC makes
    everything up to the next silence noise, as section 2.5.1.1 asks.
    """

    __slots__ = ("_held", "_noise")

    def __init__(self) -> None:
        self._held = bytearray()
        self._noise = False

    @property
    def held_bytes(self) -> int:
        """What is kept of an unfinished request: at most `MAX_RTU_BYTES`."""
        return len(self._held)

    def feed(self, data: bytes) -> list[RtuRequest]:
        """The requests that `data` completes."""
        requests: list[RtuRequest] = []
        if self._noise:
            return requests
        self._held += data
        while (size := _request_bytes(self._held)) is not None and len(self._held) >= size:
            frame = bytes(self._held[:size])
            del self._held[:size]
            if not _crc_is_right(frame):
                self._make_noise()
                return requests
            requests.append(RtuRequest(frame[0], frame[1:-2]))
        if len(self._held) > MAX_RTU_BYTES:
            self._make_noise()
        return requests

    def silence(self) -> list[RtuRequest]:
        """The line has been quiet for longer than 3.5 characters: what was held is a whole request, or nothing."""
        frame = bytes(self._held)
        self._held.clear()
        self._noise = False
        return [RtuRequest(frame[0], frame[1:-2])] if len(frame) >= 4 and _crc_is_right(frame) else []

    def _make_noise(self) -> None:
        self._held.clear()
        self._noise = True


def _request_bytes(held: bytearray) -> int | None:
    """How long the request at the start of `held` is, CRC included; None while that cannot be told."""
    if len(held) < 2:
        return None
    if held[1] in _WRITE_MULTIPLE:
        return 9 + held[6] if len(held) > 6 else None
    return _FIXED_REQUEST_BYTES.get(held[1])


def _crc_is_right(frame: bytes) -> bool:
    return crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))

"""From a stream of bytes to LLRP messages, in bounded memory (section 17.1).

A message is 10 bytes of header (3 bits reserved, 3 bits version, 10 bits type; 32 bits length with the header; 32 bits
message id) and a body, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct(">HII")
MOST_BYTES = 1 << 20
"""No message of a reader is longer. EdgeX's client has 640 KiB as its limit, and readers live with it."""
VERSIONS = (1, 2)
"""LLRP 1.0.1 and LLRP 1.1."""


class MessageType(IntEnum):
    """Those that are sent or waited for (section 17.1). Mind that the answer to CLOSE_CONNECTION is 4, not 24."""

    GET_READER_CAPABILITIES = 1
    SET_READER_CONFIG = 3
    CLOSE_CONNECTION_RESPONSE = 4
    GET_READER_CAPABILITIES_RESPONSE = 11
    SET_READER_CONFIG_RESPONSE = 13
    CLOSE_CONNECTION = 14
    ADD_ROSPEC = 20
    DELETE_ROSPEC = 21
    START_ROSPEC = 22
    STOP_ROSPEC = 23
    ENABLE_ROSPEC = 24
    ADD_ROSPEC_RESPONSE = 30
    DELETE_ROSPEC_RESPONSE = 31
    START_ROSPEC_RESPONSE = 32
    STOP_ROSPEC_RESPONSE = 33
    ENABLE_ROSPEC_RESPONSE = 34
    GET_SUPPORTED_VERSION = 46
    SET_PROTOCOL_VERSION = 47
    GET_SUPPORTED_VERSION_RESPONSE = 56
    SET_PROTOCOL_VERSION_RESPONSE = 57
    RO_ACCESS_REPORT = 61
    KEEPALIVE = 62
    READER_EVENT_NOTIFICATION = 63
    ENABLE_EVENTS_AND_REPORTS = 64
    KEEPALIVE_ACK = 72
    ERROR_MESSAGE = 100


class Message(NamedTuple):
    """One message; `type` is that on the wire, which need not be one of ours."""

    version: int
    type: int
    id: int
    body: bytes


class NotLlrp(ValueError):
    """What came cannot be a message, and after it nothing can be trusted. Says what it was."""


class Framer:
    """Holds what has come of a message until it is whole: at most `MOST_BYTES` and what was fed last."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def pending_bytes(self) -> int:
        """What has come of the message that is not whole yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Iterate to the end before feeding more. Raises `NotLlrp`."""
        pending = self._pending
        pending += data
        start, end = 0, len(pending)
        try:
            while end - start >= HEADER.size:
                word, length, number = HEADER.unpack_from(pending, start)
                version = word >> 10 & 0x7
                if version not in VERSIONS or not HEADER.size <= length <= MOST_BYTES:
                    raise NotLlrp(_complaint(bytes(pending[start : start + HEADER.size]), version, length))
                if end - start < length:
                    break
                yield Message(version, word & 0x3FF, number, bytes(pending[start + HEADER.size : start + length]))
                start += length
        finally:
            del pending[:start]


def frame(kind: int, number: int, body: bytes = b"", *, version: int = 1) -> bytes:
    """A message as it goes out."""
    return HEADER.pack(version << 10 | kind, HEADER.size + len(body), number) + body


def _complaint(header: bytes, version: int, length: int) -> str:
    if version not in VERSIONS:
        return f"version {version} in the header {header.hex(' ')}"
    return f"a length of {length} bytes in the header {header.hex(' ')}"

"""LLRP bytes: messages cut from a stream, parameters written and taken apart. Pure; buffers are bounded.

Written from the LLRP 1.0.1 standard, chapter 16: all numbers are big-endian. A message is 3 reserved bits, 3 bits of
version, 10 of type, 32 of length (with these ten bytes) and 32 of message id. A TLV parameter is 6 zero bits, 10 of
type, 16 of length (with these four bytes); a TV parameter is one byte, 0x80 and its type.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

VERSION = 1
MAX_MESSAGE_BYTES = 2**20

_HEADER = struct.Struct(">HII")
_TLV = struct.Struct(">HH")


class FramingError(Exception):
    """The byte stream is not LLRP; what follows cannot be cut either."""


class Message(NamedTuple):
    version: int
    type: int
    id: int
    body: bytes


class Parameter(NamedTuple):
    type: int
    value: bytes


def encode(type_: int, id_: int, *body: bytes, version: int = VERSION) -> bytes:
    """A whole message."""
    value = b"".join(body)
    return _HEADER.pack(version << 10 | type_, _HEADER.size + len(value), id_) + value


def tlv(type_: int, *value: bytes) -> bytes:
    """A parameter with a length."""
    joined = b"".join(value)
    return _TLV.pack(type_, _TLV.size + len(joined)) + joined


def tv(type_: int, value: bytes) -> bytes:
    """A parameter whose length is known from its type."""
    return bytes((0x80 | type_,)) + value


def parameters(data: bytes) -> list[Parameter]:
    """`data` as TLV parameters; a client sends no others. Raises ValueError when it is not a row of them."""
    found = []
    start = 0
    while start < len(data):
        if len(data) - start < _TLV.size:
            raise ValueError(f"{len(data) - start} bytes are left over after the last parameter")
        type_, length = _TLV.unpack_from(data, start)
        if type_ >= 1 << 10:
            raise ValueError(f"{type_:#06x} is not the type of a TLV parameter")
        if not _TLV.size <= length <= len(data) - start:
            raise ValueError(f"parameter {type_} says that it has {length} bytes; {len(data) - start} are there")
        found.append(Parameter(type_, data[start + _TLV.size : start + length]))
        start += length
    return found


class MessageStream:
    """Cuts what one client sends into messages."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held_bytes(self) -> int:
        """What is kept of an unfinished message: less than `MAX_MESSAGE_BYTES`."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises `FramingError`."""
        self._held += data
        found = []
        start = 0
        while len(self._held) - start >= _HEADER.size:
            word, length, id_ = _HEADER.unpack_from(self._held, start)
            if word >= 1 << 13 or not _HEADER.size <= length <= MAX_MESSAGE_BYTES:
                header = bytes(self._held[start : start + _HEADER.size])
                raise FramingError(f"not the header of an LLRP message: {header.hex(' ')}")
            if len(self._held) - start < length:
                break
            body = bytes(self._held[start + _HEADER.size : start + length])
            found.append(Message(word >> 10, word & 0x3FF, id_, body))
            start += length
        del self._held[:start]
        return found

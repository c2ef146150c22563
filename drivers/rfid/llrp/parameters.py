"""The parameters inside a message: TLV (type, length, value) and TV (type, value of a known size), section 17.2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

TLV = struct.Struct(">HH")

TV_SIZES = {
    1: 2,
    2: 8,
    3: 8,
    4: 8,
    5: 8,
    6: 1,
    7: 2,
    8: 2,
    9: 4,
    10: 2,
    11: 2,
    12: 2,
    13: 12,
    14: 2,
    15: 2,
    16: 4,
    17: 2,
    18: 4,
    19: 2,
    20: 2,
}
"""Bytes of value by type. A TV has no length, so after a type that is not here nothing can be found any more."""


class ParameterType(IntEnum):
    """Those that are sent or looked for (section 17.2)."""

    ANTENNA_ID = 1
    FIRST_SEEN_UTC = 2
    LAST_SEEN_UTC = 4
    PEAK_RSSI = 6
    TAG_SEEN_COUNT = 8
    ROSPEC_ID = 9
    C1G2_PC = 12
    EPC_96 = 13
    UTC_TIMESTAMP = 128
    GENERAL_DEVICE_CAPABILITIES = 137
    LLRP_CAPABILITIES = 142
    REGULATORY_CAPABILITIES = 143
    UHF_BAND_CAPABILITIES = 144
    TRANSMIT_POWER_LEVEL = 145
    FREQUENCY_INFORMATION = 146
    FREQUENCY_HOP_TABLE = 147
    FIXED_FREQUENCY_TABLE = 148
    ROSPEC = 177
    RO_BOUNDARY_SPEC = 178
    ROSPEC_START_TRIGGER = 179
    PERIODIC_TRIGGER_VALUE = 180
    ROSPEC_STOP_TRIGGER = 182
    AISPEC = 183
    AISPEC_STOP_TRIGGER = 184
    INVENTORY_PARAMETER_SPEC = 186
    KEEPALIVE_SPEC = 220
    ANTENNA_CONFIGURATION = 222
    RF_TRANSMITTER = 224
    RO_REPORT_SPEC = 237
    TAG_REPORT_CONTENT_SELECTOR = 238
    TAG_REPORT_DATA = 240
    EPC_DATA = 241
    READER_EVENT_NOTIFICATION_SPEC = 244
    EVENT_NOTIFICATION_STATE = 245
    READER_EVENT_NOTIFICATION_DATA = 246
    ROSPEC_EVENT = 249
    REPORT_BUFFER_LEVEL_WARNING = 250
    REPORT_BUFFER_OVERFLOW = 251
    READER_EXCEPTION = 252
    ANTENNA_EVENT = 255
    CONNECTION_ATTEMPT = 256
    CONNECTION_CLOSE = 257
    LLRP_STATUS = 287
    FIELD_ERROR = 288
    PARAMETER_ERROR = 289
    C1G2_LLRP_CAPABILITIES = 327
    C1G2_RF_MODE_TABLE = 328
    C1G2_RF_MODE = 329
    C1G2_INVENTORY_COMMAND = 330
    C1G2_FILTER = 331
    C1G2_TAG_INVENTORY_MASK = 332
    C1G2_FILTER_ACTION = 334
    C1G2_RF_CONTROL = 335
    C1G2_SINGULATION_CONTROL = 336
    C1G2_EPC_MEMORY_SELECTOR = 348


class Malformed(ValueError):
    """What came contradicts itself: a length that runs over the end, a value that is cut off. Says where."""


class Parameter(NamedTuple):
    """`type` is that on the wire, which need not be one of ours; `value` is what follows the header."""

    type: int
    value: bytes


def parameters(data: bytes, start: int = 0) -> Iterator[Parameter]:
    """The parameters in `data` from `start` to its end, in their order. Raises `Malformed`.

    A TV of an unknown type ends them: there is no telling where it ends.
    """
    end = len(data)
    while start < end:
        first = data[start]
        if first & 0x80:
            size = TV_SIZES.get(first & 0x7F)
            if size is None:
                return
            kind, begins, ends = first & 0x7F, start + 1, start + 1 + size
        else:
            if end - start < TLV.size:
                raise Malformed(f"{end - start} bytes where a parameter should begin: {data[start:].hex(' ')}")
            kind, length = TLV.unpack_from(data, start)
            if length < TLV.size:
                raise Malformed(f"parameter {kind & 0x3FF} has a length of {length}")
            kind, begins, ends = kind & 0x3FF, start + TLV.size, start + length
        if ends > end:
            raise Malformed(f"parameter {kind} ends {ends - end} bytes after what it is in")
        yield Parameter(kind, data[begins:ends])
        start = ends


def tlv(kind: int, *parts: bytes) -> bytes:
    """A TLV parameter as it goes out; its value is the parts one after the other."""
    value = b"".join(parts)
    return TLV.pack(kind, TLV.size + len(value)) + value


def fields(layout: str, value: bytes, kind: int) -> tuple[int, ...]:
    """The fixed fields at the beginning of a value, big-endian. Raises `Malformed` when it is shorter than these."""
    size = struct.calcsize(f">{layout}")
    if len(value) < size:
        raise Malformed(f"parameter {kind} has {len(value)} bytes of value where {size} belong")
    return struct.unpack_from(f">{layout}", value)


def text(value: bytes, start: int, kind: int) -> tuple[str, int]:
    """The string (16-bit count of bytes, UTF-8) at `start`, and where it ends. Raises `Malformed`."""
    (count,) = fields("H", value[start:], kind)
    end = start + 2 + count
    if end > len(value):
        raise Malformed(f"parameter {kind} has a text of {count} bytes that ends after it")
    return value[start + 2 : end].decode("utf-8", "replace"), end

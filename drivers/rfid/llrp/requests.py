"""What is sent to a reader: requests with the answers they expect, and the ROSpec that makes it read tags."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from drivers.rfid.llrp.framing import MessageType
from drivers.rfid.llrp.parameters import ParameterType, tlv

ROSPEC = 0x48474154
"""Ours is the only ROSpec on the reader: those of others are deleted before it is added. The number is one that nobody
else will take, so that what it has seen while the connection was lost can be told from what others have asked for."""
_EPC_BANK = 1
_EPC_AT_BIT = 0x20
"""Where the EPC begins in its memory bank, after checksum and protocol control word (Gen2)."""
_CONTENT = 0x9F80
"""ROSpecID, AntennaID, ChannelIndex, PeakRSSI, both timestamps and TagSeenCount."""
_PC_BITS = 0x40


class Request(NamedTuple):
    """A message that is answered, by `answer` or by an ERROR_MESSAGE."""

    kind: MessageType
    answer: MessageType
    body: bytes = b""


class Event(IntEnum):
    """Kinds of events that can be switched on and off (EventNotificationState, section 13.1.4.1)."""

    ROSPEC = 2
    BUFFER_LEVEL = 3
    READER_EXCEPTION = 4
    AISPEC_END = 6
    ANTENNA = 8


@dataclass(frozen=True, slots=True)
class Transmitter:
    """`hop_table` counts in regions with frequency hopping only, `channel` in those with fixed frequencies only."""

    power_index: int
    hop_table: int = 0
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Air:
    """How tags are asked by one antenna. What is absent is left as the reader has it."""

    transmitter: Transmitter | None = None
    mode: int | None = None
    session: int | None = None
    population: int = 0
    """How many tags are expected at once; goes with `session`."""
    prefixes: tuple[str, ...] = ()
    """Hexadecimal digits with one of which an EPC must begin."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the ROSpec says."""

    antennas: tuple[int, ...] = (0,)
    """Numbers from 1; 0 means all of them."""
    air: Mapping[int, Air] | None = None
    """By antenna (0: all); those that are missing are left as the reader has them."""
    duration_ms: int = 0
    period_ms: int = 0
    """Read for `duration_ms` at every `period_ms`; both 0: all the time."""


def get_capabilities() -> Request:
    """All of them."""
    return Request(MessageType.GET_READER_CAPABILITIES, MessageType.GET_READER_CAPABILITIES_RESPONSE, b"\0")


def set_config(
    *, keepalive_ms: int = 0, events: Sequence[tuple[Event, bool]] = (), factory_reset: bool = False
) -> Request:
    """A keepalive of 0 and no events leave these as they are; a factory reset comes before anything else."""
    states = [tlv(ParameterType.EVENT_NOTIFICATION_STATE, struct.pack(">HB", kind, on << 7)) for kind, on in events]
    parts = [bytes([factory_reset << 7])]
    if states:
        parts.append(tlv(ParameterType.READER_EVENT_NOTIFICATION_SPEC, *states))
    if keepalive_ms:
        parts.append(tlv(ParameterType.KEEPALIVE_SPEC, struct.pack(">BI", 1, keepalive_ms)))
    return Request(MessageType.SET_READER_CONFIG, MessageType.SET_READER_CONFIG_RESPONSE, b"".join(parts))


def delete_rospec(rospec: int) -> Request:
    """0 means all of them, whoever has added them."""
    return Request(MessageType.DELETE_ROSPEC, MessageType.DELETE_ROSPEC_RESPONSE, struct.pack(">I", rospec))


def enable_rospec() -> Request:
    return Request(MessageType.ENABLE_ROSPEC, MessageType.ENABLE_ROSPEC_RESPONSE, struct.pack(">I", ROSPEC))


def start_rospec() -> Request:
    return Request(MessageType.START_ROSPEC, MessageType.START_ROSPEC_RESPONSE, struct.pack(">I", ROSPEC))


def stop_rospec() -> Request:
    return Request(MessageType.STOP_ROSPEC, MessageType.STOP_ROSPEC_RESPONSE, struct.pack(">I", ROSPEC))


def close_connection() -> Request:
    return Request(MessageType.CLOSE_CONNECTION, MessageType.CLOSE_CONNECTION_RESPONSE)


def get_supported_version() -> Request:
    """LLRP 1.1 only; a reader that speaks 1.0.1 answers with an ERROR_MESSAGE."""
    return Request(MessageType.GET_SUPPORTED_VERSION, MessageType.GET_SUPPORTED_VERSION_RESPONSE)


def set_protocol_version(version: int) -> Request:
    """LLRP 1.1 only; at most once in a connection."""
    return Request(
        MessageType.SET_PROTOCOL_VERSION, MessageType.SET_PROTOCOL_VERSION_RESPONSE, struct.pack(">B", version)
    )


def add_rospec(inventory: Inventory) -> Request:
    """Reports every tag as it is seen: a reader that waits for more of them would keep back the last one for ever.

    Without a period it is started by START_ROSPEC and ended by STOP_ROSPEC only.
    """
    rospec = tlv(
        ParameterType.ROSPEC,
        struct.pack(">IBB", ROSPEC, 0, 0),  # priority 0, disabled
        tlv(ParameterType.RO_BOUNDARY_SPEC, _start_trigger(inventory), _stop_trigger(inventory)),
        _ai_spec(inventory),
        tlv(
            ParameterType.RO_REPORT_SPEC,
            struct.pack(">BH", 1, 1),  # after every tag report, or at the end of the AISpec
            tlv(
                ParameterType.TAG_REPORT_CONTENT_SELECTOR,
                struct.pack(">H", _CONTENT),
                tlv(ParameterType.C1G2_EPC_MEMORY_SELECTOR, bytes([_PC_BITS])),
            ),
        ),
    )
    return Request(MessageType.ADD_ROSPEC, MessageType.ADD_ROSPEC_RESPONSE, rospec)


def _start_trigger(inventory: Inventory) -> bytes:
    if not inventory.period_ms:
        return tlv(ParameterType.ROSPEC_START_TRIGGER, b"\0")
    period = tlv(ParameterType.PERIODIC_TRIGGER_VALUE, struct.pack(">II", 0, inventory.period_ms))
    return tlv(ParameterType.ROSPEC_START_TRIGGER, b"\2", period)


def _stop_trigger(inventory: Inventory) -> bytes:
    kind = 1 if inventory.duration_ms else 0
    return tlv(ParameterType.ROSPEC_STOP_TRIGGER, struct.pack(">BI", kind, inventory.duration_ms))


def _ai_spec(inventory: Inventory) -> bytes:
    count = len(inventory.antennas)
    return tlv(
        ParameterType.AISPEC,
        struct.pack(f">H{count}H", count, *inventory.antennas),
        tlv(ParameterType.AISPEC_STOP_TRIGGER, struct.pack(">BI", 0, 0)),  # when the ROSpec stops
        tlv(
            ParameterType.INVENTORY_PARAMETER_SPEC,
            struct.pack(">HB", 1, 1),  # its id; EPCglobal Class 1 Generation 2
            *(
                tlv(ParameterType.ANTENNA_CONFIGURATION, struct.pack(">H", antenna), *parts)
                for antenna, air in (inventory.air or {}).items()
                if (parts := [*_transmitter(air), *_inventory_command(air)])
            ),
        ),
    )


def _transmitter(air: Air) -> list[bytes]:
    if air.transmitter is None:
        return []
    values = (air.transmitter.hop_table, air.transmitter.channel, air.transmitter.power_index)
    return [tlv(ParameterType.RF_TRANSMITTER, struct.pack(">HHH", *values))]


def _inventory_command(air: Air) -> list[bytes]:
    parts = [_filter(prefix, is_first=number == 0) for number, prefix in enumerate(air.prefixes)]
    if air.mode is not None:
        parts.append(tlv(ParameterType.C1G2_RF_CONTROL, struct.pack(">HH", air.mode, 0)))  # the reader chooses Tari
    if air.session is not None:
        layout = struct.pack(">BHI", air.session << 6, air.population, 0)
        parts.append(tlv(ParameterType.C1G2_SINGULATION_CONTROL, layout))
    return [tlv(ParameterType.C1G2_INVENTORY_COMMAND, b"\0", *parts)] if parts else []


def _filter(prefix: str, *, is_first: bool) -> bytes:
    """The first mask selects what begins with it and deselects the rest; each further one selects some more."""
    bits = 4 * len(prefix)
    mask = bytes.fromhex(prefix + "0" * (len(prefix) % 2))
    return tlv(
        ParameterType.C1G2_FILTER,
        b"\0",
        tlv(ParameterType.C1G2_TAG_INVENTORY_MASK, struct.pack(">BHH", _EPC_BANK << 6, _EPC_AT_BIT, bits), mask),
        tlv(ParameterType.C1G2_FILTER_ACTION, bytes([0 if is_first else 1])),
    )

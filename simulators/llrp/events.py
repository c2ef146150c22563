"""READER_EVENT_NOTIFICATION: what a reader tells of itself unasked (LLRP 1.0.1, sections 13.1.2 and 16.2.7.6)."""

from __future__ import annotations

import struct

from simulators.llrp.codes import ConnectionStatus, Tlv
from simulators.llrp.wire import tlv


def notification(utc_us: int, event: bytes) -> bytes:
    """The body of the message."""
    return tlv(Tlv.READER_EVENT_NOTIFICATION_DATA, tlv(Tlv.UTC_TIMESTAMP, struct.pack(">Q", utc_us)), event)


def connection_attempt(status: ConnectionStatus) -> bytes:
    return tlv(Tlv.CONNECTION_ATTEMPT_EVENT, struct.pack(">H", status))


def connection_close() -> bytes:
    return tlv(Tlv.CONNECTION_CLOSE_EVENT)


def rospec_started(rospec: int) -> bytes:
    return tlv(Tlv.ROSPEC_EVENT, struct.pack(">BII", 0, rospec, 0))


def rospec_ended(rospec: int) -> bytes:
    return tlv(Tlv.ROSPEC_EVENT, struct.pack(">BII", 1, rospec, 0))


def ai_spec_ended(rospec: int, spec_index: int) -> bytes:
    return tlv(Tlv.AI_SPEC_EVENT, struct.pack(">BIH", 0, rospec, spec_index))


def antenna_changed(antenna: int, connected: int) -> bytes:
    return tlv(Tlv.ANTENNA_EVENT, struct.pack(">BH", connected, antenna))


def buffer_level(percent: int) -> bytes:
    return tlv(Tlv.REPORT_BUFFER_LEVEL_WARNING_EVENT, bytes((percent,)))


def buffer_overflow() -> bytes:
    return tlv(Tlv.REPORT_BUFFER_OVERFLOW_ERROR_EVENT)

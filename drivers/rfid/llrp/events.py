"""READER_EVENT_NOTIFICATION: what happened at the reader (section 14.2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drivers.rfid.llrp.parameters import Malformed, ParameterType, fields, parameters, text

CONNECTED = 0
HELD_BY_READER_INITIATED = 1
HELD_BY_CLIENT_INITIATED = 2
ANOTHER_CLIENT_TRIED = 4
"""Values of ConnectionAttempt.status; it stands for all others that the connection failed."""


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    status: int


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The reader closes the connection of its own accord."""


@dataclass(frozen=True, slots=True)
class AntennaChanged:
    antenna: int
    is_connected: bool


@dataclass(frozen=True, slots=True)
class InventoryStarted:
    rospec: int


@dataclass(frozen=True, slots=True)
class InventoryEnded:
    """The ROSpec has ended, or another one with a higher priority took its place."""

    rospec: int
    was_preempted: bool


@dataclass(frozen=True, slots=True)
class BufferFilling:
    """Reports gather in the reader faster than they are fetched."""

    percent: int


@dataclass(frozen=True, slots=True)
class BufferOverflowed:
    """Reports have been lost in the reader."""


@dataclass(frozen=True, slots=True)
class ReaderException:
    text: str
    antenna: int | None


Event = (
    ConnectionAttempt
    | ConnectionClosed
    | AntennaChanged
    | InventoryStarted
    | InventoryEnded
    | BufferFilling
    | BufferOverflowed
    | ReaderException
)


@dataclass(frozen=True, slots=True)
class Notification:
    """`utc_us` is when, in microseconds since 1970-01-01 on the reader's clock; None when it only knows its uptime."""

    utc_us: int | None
    events: tuple[Event, ...]


def parse_notification(body: bytes) -> Notification:
    """Events of kinds that are not used (hopping, GPI, RF surveys …) are left out. Raises `Malformed`."""
    for kind, value in parameters(body):
        if kind == ParameterType.READER_EVENT_NOTIFICATION_DATA:
            inside = [*parameters(value)]
            times = [fields("Q", each.value, each.type)[0] for each in inside if each.type == _UTC]
            found = tuple(event for each in inside for event in _event(each.type, each.value))
            return Notification(times[0] if times else None, found)
    raise Malformed("an event notification without ReaderEventNotificationData")


_UTC = ParameterType.UTC_TIMESTAMP


def _event(kind: int, value: bytes) -> Iterator[Event]:
    if kind == ParameterType.CONNECTION_ATTEMPT:
        yield ConnectionAttempt(fields("H", value, kind)[0])
    elif kind == ParameterType.CONNECTION_CLOSE:
        yield ConnectionClosed()
    elif kind == ParameterType.ANTENNA_EVENT:
        state, antenna = fields("BH", value, kind)
        yield AntennaChanged(antenna, is_connected=state == 1)
    elif kind == ParameterType.ROSPEC_EVENT:
        what, rospec = fields("BI", value, kind)
        if what == 0:
            yield InventoryStarted(rospec)
        elif what in (1, 2):
            yield InventoryEnded(rospec, was_preempted=what == 2)
    elif kind == ParameterType.REPORT_BUFFER_LEVEL_WARNING:
        yield BufferFilling(fields("B", value, kind)[0])
    elif kind == ParameterType.REPORT_BUFFER_OVERFLOW:
        yield BufferOverflowed()
    elif kind == ParameterType.READER_EXCEPTION:
        message, end = text(value, 0, kind)
        antennas = [fields("H", each.value, each.type)[0] for each in parameters(value, end) if each.type == _ANTENNA]
        yield ReaderException(message, antennas[0] if antennas else None)


_ANTENNA = ParameterType.ANTENNA_ID

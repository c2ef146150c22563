"""What a client may set on the reader, and how it is shown (LLRP 1.0.1, sections 12.2.1 and 16.2.5)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

from simulators.llrp.codes import Event, Status, Tlv
from simulators.llrp.grammar import Fields, bad_field, bad_message_field, bad_parameter
from simulators.llrp.model import GPIO_PORTS, Model
from simulators.llrp.reports import ReportSpec, read_report_spec
from simulators.llrp.selection import AntennaSettings, factory_settings, read_antenna, settings_of
from simulators.llrp.wire import tlv

_RESET = 0x80
_YES = 0x80
_GAIN_CDBI = 600
_INPUT_UNKNOWN = 2
_REPORT = ReportSpec()


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """`keepalive_ms` 0 is none; `inputs` are the GPI ports that are on, `outputs` the GPO ports that are high."""

    notifications: frozenset[Event] = frozenset()
    antennas: Mapping[int, AntennaSettings] = field(default_factory=dict)
    report: ReportSpec = _REPORT
    access_report: int = 0
    keepalive_ms: int = 0
    outputs: frozenset[int] = frozenset()
    inputs: frozenset[int] = frozenset()
    hold: bool = False

    def of(self, antenna: int, model: Model) -> AntennaSettings:
        """What holds for one antenna unless a ROSpec says otherwise."""
        return settings_of(antenna, self.antennas, {0: factory_settings(model)})


def read_settings(
    fields: Fields, current: ReaderSettings, *, antennas: int, model: Model
) -> tuple[bool, ReaderSettings]:
    """Whether SET_READER_CONFIG asks for a factory reset, and the settings after it. Raises `Refused`."""
    (flags,) = fields.take("B")
    if flags & ~_RESET:
        raise bad_message_field(0, "reserved bits are not zero")
    after = ReaderSettings() if flags else current
    changes: dict[str, Any] = {}
    if (part := fields.optional(Tlv.READER_EVENT_NOTIFICATION_SPEC)) is not None:
        changes["notifications"] = _read_notifications(part, after.notifications)
    if fields.many(Tlv.ANTENNA_PROPERTIES):
        text = "the gain of an antenna cannot be set on this reader"
        raise bad_parameter(Tlv.ANTENNA_PROPERTIES, Status.P_UNSUPPORTED_PARAMETER, text)
    layer = dict(after.antennas)
    for part in fields.many(Tlv.ANTENNA_CONFIGURATION):
        antenna, found = read_antenna(part, antennas=antennas, model=model)
        for each in range(1, antennas + 1) if antenna == 0 else (antenna,):
            layer[each] = found.over(layer.get(each, AntennaSettings()))
    changes["antennas"] = layer
    if (part := fields.optional(Tlv.RO_REPORT_SPEC)) is not None:
        changes["report"] = read_report_spec(part)
    if (part := fields.optional(Tlv.ACCESS_REPORT_SPEC)) is not None:
        (changes["access_report"],) = part.take("B")
        part.end()
    if (part := fields.optional(Tlv.KEEPALIVE_SPEC)) is not None:
        changes["keepalive_ms"] = _read_keepalive(part)
    changes["outputs"] = _read_ports(fields.many(Tlv.GPO_WRITE_DATA), after.outputs, layout="HB")
    changes["inputs"] = _read_ports(fields.many(Tlv.GPI_PORT_CURRENT_STATE), after.inputs, layout="HBB")
    if (part := fields.optional(Tlv.EVENTS_AND_REPORTS)) is not None:
        (hold,) = part.take("B")
        part.end()
        changes["hold"] = hold == _YES
    fields.end()
    return bool(flags), replace(after, **changes)


def show_settings(settings: ReaderSettings, fields: Fields, *, model: Model, connected: Mapping[int, bool]) -> bytes:
    """The parameters of GET_READER_CONFIG_RESPONSE after its status. `connected` has every antenna. Raises `Refused`.

    The fields of the request name the antenna, what is wanted, and the GPI and GPO ports; 0 is all of each.
    """
    antenna, requested, input_, output = fields.take("HBHH")
    fields.end()
    if antenna and antenna not in connected:
        raise bad_message_field(0, f"there is no antenna {antenna}", Status.A_OUT_OF_RANGE)
    if requested > 11:
        raise bad_message_field(1, f"there is no RequestedData {requested}", Status.A_OUT_OF_RANGE)
    for number, port in ((2, input_), (3, output)):
        if port > GPIO_PORTS:
            raise bad_message_field(number, f"there is no port {port}", Status.A_OUT_OF_RANGE)
    chosen = [antenna] if antenna else list(connected)
    every = (
        tlv(Tlv.IDENTIFICATION, struct.pack(">BH", 0, len(model.mac)), model.mac),
        b"".join(_properties(each, connected[each]) for each in chosen),
        b"".join(_configuration(each, settings.of(each, model)) for each in chosen),
        settings.report.encode(),
        _notifications(settings.notifications),
        tlv(Tlv.ACCESS_REPORT_SPEC, bytes((settings.access_report,))),
        tlv(Tlv.LLRP_CONFIGURATION_STATE_VALUE, struct.pack(">I", crc32(repr(settings).encode()))),
        tlv(Tlv.KEEPALIVE_SPEC, struct.pack(">BI", settings.keepalive_ms > 0, settings.keepalive_ms)),
        b"".join(_input(port, port in settings.inputs) for port in _ports(input_)),
        b"".join(_output(port, port in settings.outputs) for port in _ports(output)),
        tlv(Tlv.EVENTS_AND_REPORTS, bytes((_YES if settings.hold else 0,))),
    )
    identification, properties, configuration, report, notifications, *rest = every
    if requested:
        return every[requested - 1]
    return b"".join((identification, properties, configuration, notifications, report, *rest))


def _read_notifications(fields: Fields, current: frozenset[Event]) -> frozenset[Event]:
    wanted = set(current)
    for part in (fields.one(Tlv.EVENT_NOTIFICATION_STATE), *fields.many(Tlv.EVENT_NOTIFICATION_STATE)):
        event, on = part.take("HB")
        part.end()
        if event not in set(Event):
            text = f"there is no event {event}"
            raise bad_field(Tlv.EVENT_NOTIFICATION_STATE, 0, text, Status.A_OUT_OF_RANGE)
        wanted.discard(Event(event))
        if on & _YES:
            wanted.add(Event(event))
    fields.end()
    return frozenset(wanted)


def _read_keepalive(fields: Fields) -> int:
    kind, interval_ms = fields.take("BI")
    fields.end()
    if kind not in {0, 1}:
        raise bad_field(Tlv.KEEPALIVE_SPEC, 0, f"there is no keepalive trigger {kind}")
    if kind and not interval_ms:
        raise bad_field(Tlv.KEEPALIVE_SPEC, 1, "a periodic keepalive needs an interval", Status.A_OUT_OF_RANGE)
    return int(interval_ms) if kind else 0


def _read_ports(parts: Collection[Fields], current: frozenset[int], *, layout: str) -> frozenset[int]:
    on = set(current)
    for part in parts:
        port, flag, *_ = part.take(layout)
        part.end()
        assert part.owner is not None
        if not 1 <= port <= GPIO_PORTS:
            raise bad_field(part.owner, 0, f"there is no port {port}", Status.A_OUT_OF_RANGE)
        on.discard(port)
        if flag & _YES:
            on.add(port)
    return frozenset(on)


def _ports(wanted: int) -> Collection[int]:
    return (wanted,) if wanted else range(1, GPIO_PORTS + 1)


def _properties(antenna: int, connected: bool) -> bytes:  # noqa: FBT001 - the field of the standard
    return tlv(Tlv.ANTENNA_PROPERTIES, struct.pack(">BHh", _YES if connected else 0, antenna, _GAIN_CDBI))


def _configuration(antenna: int, settings: AntennaSettings) -> bytes:
    parts = (settings.receiver, settings.transmitter, settings.command)
    return tlv(Tlv.ANTENNA_CONFIGURATION, struct.pack(">H", antenna), *(part for part in parts if part is not None))


def _notifications(on: frozenset[Event]) -> bytes:
    states = [
        tlv(Tlv.EVENT_NOTIFICATION_STATE, struct.pack(">HB", event, _YES if event in on else 0)) for event in Event
    ]
    return tlv(Tlv.READER_EVENT_NOTIFICATION_SPEC, *states)


def _input(port: int, enabled: bool) -> bytes:  # noqa: FBT001 - the field of the standard
    return tlv(Tlv.GPI_PORT_CURRENT_STATE, struct.pack(">HBB", port, _YES if enabled else 0, _INPUT_UNKNOWN))


def _output(port: int, high: bool) -> bytes:  # noqa: FBT001 - the field of the standard
    return tlv(Tlv.GPO_WRITE_DATA, struct.pack(">HB", port, _YES if high else 0))

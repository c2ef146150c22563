"""A ROSpec: when to read, with which antennas, until when, and what to report (LLRP 1.0.1, sections 10.2 and 12.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from simulators.llrp.codes import Status, Tlv
from simulators.llrp.grammar import Fields, bad_field, bad_parameter
from simulators.llrp.model import MAX_SPECS, Model
from simulators.llrp.reports import ReportSpec, read_report_spec
from simulators.llrp.selection import AntennaSettings, read_antenna
from simulators.llrp.wire import tlv

_C1G2 = 1
_HIGHEST_PRIORITY = 0


class State(IntEnum):
    DISABLED = 0
    INACTIVE = 1
    ACTIVE = 2


class Start(IntEnum):
    """What starts a ROSpec; a client can start it in any case."""

    NULL = 0
    IMMEDIATE = 1
    PERIODIC = 2


class _Stop(IntEnum):
    NULL = 0
    DURATION = 1
    GPI = 2
    TAG_OBSERVATION = 3


@dataclass(frozen=True, slots=True)
class StartTrigger:
    """`offset_ms` counts from enabling or from `utc_us`; a `period_ms` of 0 starts once."""

    kind: Start
    offset_ms: int = 0
    period_ms: int = 0
    utc_us: int | None = None


@dataclass(frozen=True, slots=True)
class AiStop:
    """What ends an AISpec, whichever comes first; None is never. With none of them it lasts as long as its ROSpec."""

    after_ms: int | None = None
    observations: int | None = None
    rounds: int | None = None
    quiet_ms: int | None = None
    """No new tag for so long."""


@dataclass(frozen=True, slots=True)
class AiSpec:
    """One inventory. `antennas` are numbers of antennas that exist; `settings` is by antenna, 0 for all."""

    antennas: tuple[int, ...]
    stop: AiStop
    parameter_spec: int
    settings: Mapping[int, AntennaSettings]


@dataclass(frozen=True, slots=True)
class RoSpec:
    """`report` is None where the reader's own ROReportSpec holds."""

    id: int
    start: StartTrigger
    stop_after_ms: int | None
    ai_specs: tuple[AiSpec, ...]
    report: ReportSpec | None
    value: bytes
    """As it was added."""

    def encode(self, state: State) -> bytes:
        """The parameter as GET_ROSPECS shows it."""
        return tlv(Tlv.ROSPEC, self.value[:5], bytes((state,)), self.value[6:])


def read_rospec(fields: Fields, *, antennas: int, model: Model) -> RoSpec:
    """A ROSpec that is to be added. Raises `Refused`."""
    value = fields.raw()
    id_, priority, state = fields.take("IBB")
    if id_ == 0:
        raise bad_field(Tlv.ROSPEC, 0, "a ROSpec needs an id other than 0")
    if priority != _HIGHEST_PRIORITY:
        raise bad_field(Tlv.ROSPEC, 1, f"there is no priority {priority}", Status.A_OUT_OF_RANGE)
    if state != State.DISABLED:
        raise bad_field(Tlv.ROSPEC, 2, "a ROSpec is added Disabled")
    boundary = fields.one(Tlv.RO_BOUNDARY_SPEC)
    start = _read_start(boundary.one(Tlv.ROSPEC_START_TRIGGER))
    stop_after_ms = _read_stop(boundary.one(Tlv.ROSPEC_STOP_TRIGGER))
    boundary.end()
    fields.refuse_unsupported()
    ai_specs = [_read_ai_spec(each, antennas, model) for each in (fields.one(Tlv.AI_SPEC), *fields.many(Tlv.AI_SPEC))]
    if len(ai_specs) > MAX_SPECS:
        text = f"{len(ai_specs)} AISpecs are more than {MAX_SPECS}"
        raise bad_parameter(Tlv.AI_SPEC, Status.P_OVERFLOW_PARAMETER, text)
    part = fields.optional(Tlv.RO_REPORT_SPEC)
    report = None if part is None else read_report_spec(part)
    fields.end()
    return RoSpec(id_, start, stop_after_ms, tuple(ai_specs), report, value)


def _read_start(fields: Fields) -> StartTrigger:
    (kind,) = fields.take("B")
    if kind not in set(Start):
        raise bad_field(Tlv.ROSPEC_START_TRIGGER, 0, f"start trigger {kind} is not supported")
    trigger = StartTrigger(Start(kind))
    if kind == Start.PERIODIC:
        part = fields.one(Tlv.PERIODIC_TRIGGER_VALUE)
        offset_ms, period_ms = part.take("II")
        timestamp = part.optional(Tlv.UTC_TIMESTAMP)
        utc_us = None if timestamp is None else int(timestamp.take("Q")[0])
        part.end()
        trigger = StartTrigger(Start.PERIODIC, offset_ms, period_ms, utc_us)
    fields.end()
    return trigger


def _read_stop(fields: Fields) -> int | None:
    kind, duration_ms = fields.take("BI")
    if kind not in {_Stop.NULL, _Stop.DURATION}:
        raise bad_field(Tlv.ROSPEC_STOP_TRIGGER, 0, f"stop trigger {kind} is not supported")
    fields.end()
    return duration_ms if kind == _Stop.DURATION else None


def _read_ai_spec(fields: Fields, antennas: int, model: Model) -> AiSpec:
    (count,) = fields.take("H")
    wanted = fields.take(f"{count}H")
    for number in wanted:
        if number > antennas:
            raise bad_field(Tlv.AI_SPEC, 0, f"there is no antenna {number}", Status.A_OUT_OF_RANGE)
    if not wanted:
        raise bad_field(Tlv.AI_SPEC, 0, "an AISpec needs an antenna; 0 is all of them")
    stop = _read_ai_stop(fields.one(Tlv.AI_SPEC_STOP_TRIGGER))
    parameter_spec, settings = _read_parameter_spec(fields.one(Tlv.INVENTORY_PARAMETER_SPEC), antennas, model)
    if fields.many(Tlv.INVENTORY_PARAMETER_SPEC):
        text = "an AISpec has one InventoryParameterSpec"
        raise bad_parameter(Tlv.INVENTORY_PARAMETER_SPEC, Status.P_OVERFLOW_PARAMETER, text)
    fields.end()
    numbers = tuple(range(1, antennas + 1)) if 0 in wanted else tuple(dict.fromkeys(wanted))
    return AiSpec(numbers, stop, parameter_spec, settings)


def _read_ai_stop(fields: Fields) -> AiStop:
    kind, duration_ms = fields.take("BI")
    if kind == _Stop.NULL:
        stop = AiStop()
    elif kind == _Stop.DURATION:
        stop = AiStop(after_ms=duration_ms)
    elif kind == _Stop.TAG_OBSERVATION:
        stop = _read_observation(fields.one(Tlv.TAG_OBSERVATION_TRIGGER))
    else:
        raise bad_field(Tlv.AI_SPEC_STOP_TRIGGER, 0, f"stop trigger {kind} is not supported")
    fields.end()
    return stop


def _read_observation(fields: Fields) -> AiStop:
    kind, reserved, observations, rounds, quiet_ms, timeout_ms = fields.take("BBHHHI")
    fields.end()
    if reserved:
        raise bad_field(Tlv.TAG_OBSERVATION_TRIGGER, 0, "reserved bits are not zero")
    after_ms = timeout_ms or None
    match kind:
        case 0:
            return AiStop(after_ms, observations=observations)
        case 1:
            return AiStop(after_ms, quiet_ms=quiet_ms)
        case 2:
            return AiStop(after_ms, rounds=rounds)
    raise bad_field(Tlv.TAG_OBSERVATION_TRIGGER, 0, f"there is no trigger {kind}")


def _read_parameter_spec(fields: Fields, antennas: int, model: Model) -> tuple[int, dict[int, AntennaSettings]]:
    id_, protocol = fields.take("HB")
    if id_ == 0:
        raise bad_field(Tlv.INVENTORY_PARAMETER_SPEC, 0, "an InventoryParameterSpec needs an id other than 0")
    if protocol != _C1G2:
        raise bad_field(Tlv.INVENTORY_PARAMETER_SPEC, 1, f"there is no air protocol {protocol}", Status.A_OUT_OF_RANGE)
    settings: dict[int, AntennaSettings] = {}
    for part in fields.many(Tlv.ANTENNA_CONFIGURATION):
        antenna, found = read_antenna(part, antennas=antennas, model=model)
        settings[antenna] = found.over(settings.get(antenna, AntennaSettings()))
    fields.end()
    return id_, settings

"""Readings out of indications: which point carries what, and how far it can be trusted. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

from drivers.model import PointGroup, Quality, Reading, Reason, Value, all_bad, bad, uncertain
from drivers.scale.indication import WITH_WEIGHT, Indication, Status, Tare
from drivers.scale.units import KILOGRAMS, OF_WEIGHT, in_kilograms

_UNCERTAIN: Mapping[Status, Quality] = MappingProxyType(
    {Status.MOTION: uncertain(Reason.IN_MOTION), Status.HOLD: uncertain("hold")}
)
_WHY_NOT: Mapping[Status, str] = MappingProxyType(
    {
        Status.MOTION: Reason.IN_MOTION,
        Status.OVERLOAD: Reason.OVERLOAD,
        Status.UNDERLOAD: Reason.UNDERLOAD,
        Status.BUSY: Reason.IN_MOTION,
        Status.POWER_UP: Reason.DEVICE_ERROR,
        Status.EXPANDED: "expanded",
        Status.ERROR: Reason.DEVICE_ERROR,
        Status.GARBLED: Reason.BAD_RESPONSE,
    }
)
_NOT_SHOWN = "not-shown"
_UNKNOWN_UNIT = "unknown-unit"
_MEASURED = ("weight", "gross", "net")
_NUMBERS = (*_MEASURED, "tare")


class Readings:
    """Makes the readings of one device.

    A point of which the instrument has not said anything yet is no part of a reading; one that it has shown before and
    does not show now is bad, so that nobody goes on believing the old value. `weight` and `status` are never left out.
    """

    def __init__(self, group: PointGroup, *, to_kilograms: bool, clock: Callable[[], int]) -> None:
        self._group = group
        self._to_kilograms = to_kilograms
        self._clock = clock
        self._known = {"weight", "status"}

    def all_known(self) -> None:
        """Somebody else has said of every point that it could not be read, which stands until this says otherwise."""
        self._known.update(name for name in self._group.names if name != "zero")

    def of(self, indication: Indication) -> Reading:
        """The reading of now."""
        said = _numbers(indication)
        numbers = _believed(said, indication.unit)
        if self._to_kilograms:
            numbers = _converted(numbers, indication.unit)
        told: dict[str, Value] = {"stable": indication.stable, **numbers}
        if indication.status is not Status.GARBLED:
            told["status"] = indication.status.value
        if indication.unit:
            told["unit"] = "kg" if self._to_kilograms and indication.unit.lower() in KILOGRAMS else indication.unit
        quality: dict[int, Quality] = {}
        values: list[Value] = []
        for index, name in enumerate(self._group.names):
            value = told.get(name)
            values.append(value)
            if value is None:
                if name in self._known:
                    quality[index] = bad(_why_not(name, indication, is_said=said.get(name) is not None))
                continue
            self._known.add(name)
            if name in _MEASURED and indication.status in _UNCERTAIN:
                quality[index] = _UNCERTAIN[indication.status]
        return Reading(self._group, self._clock(), tuple(values), quality)


def _numbers(indication: Indication) -> Mapping[str, Decimal | None]:
    return {
        "weight": indication.weight,
        "gross": indication.gross,
        "net": indication.net,
        "tare": indication.tare,
    }


def _believed(numbers: Mapping[str, Decimal | None], unit: str) -> Mapping[str, Decimal | None]:
    """No numbers, if they are a count of pieces or a percentage. Of a display without a unit nobody knows better."""
    return numbers if not unit or unit.lower() in OF_WEIGHT else dict.fromkeys(numbers)


def _converted(numbers: Mapping[str, Decimal | None], unit: str) -> Mapping[str, Decimal | None]:
    return {name: None if weight is None else in_kilograms(weight, unit) for name, weight in numbers.items()}


def _why_not(name: str, indication: Indication, *, is_said: bool) -> str:
    """Why a point has no value, which the instrument may have said in a unit that cannot be converted."""
    status = indication.status
    if is_said and indication.unit:
        return _UNKNOWN_UNIT
    if status in WITH_WEIGHT and not is_said and name in _NUMBERS and indication.weight is not None:
        return _NOT_SHOWN
    return _WHY_NOT.get(status, _UNKNOWN_UNIT if is_said else _NOT_SHOWN)


def tare_reading(group: PointGroup, tare: Tare | None, *, to_kilograms: bool, now_ns: int) -> Reading:
    """The reading of a group that has the point `tare` alone; None is of a scale that has no command to tell it."""
    if tare is None:
        return all_bad(group, now_ns, _NOT_SHOWN)
    weight = in_kilograms(tare.weight, tare.unit) if to_kilograms else tare.weight
    return all_bad(group, now_ns, _UNKNOWN_UNIT) if weight is None else Reading(group, now_ns, (weight,))

"""Readings out of indications: which point carries what, and how far it can be trusted. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

from drivers.model import PointGroup, Quality, Reading, Reason, Value, all_bad, bad, uncertain
from drivers.scale.indication import Indication, Status, Tare
from drivers.scale.units import KILOGRAMS, in_kilograms

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
        numbers, why_not = self._numbers(indication)
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
                    quality[index] = bad(why_not)
                continue
            self._known.add(name)
            if name in ("weight", "gross", "net") and indication.status in _UNCERTAIN:
                quality[index] = _UNCERTAIN[indication.status]
        return Reading(self._group, self._clock(), tuple(values), quality)

    def _numbers(self, indication: Indication) -> tuple[dict[str, Decimal | None], str]:
        """The numbers in the unit of the points, and why those that are missing are missing."""
        numbers: dict[str, Decimal | None] = {
            "weight": indication.weight,
            "gross": indication.gross,
            "net": indication.net,
            "tare": indication.tare,
        }
        why_not = _WHY_NOT.get(indication.status, _NOT_SHOWN)
        if not self._to_kilograms:
            return numbers, why_not
        converted = {
            name: None if weight is None else in_kilograms(weight, indication.unit) for name, weight in numbers.items()
        }
        if converted["weight"] is None and indication.weight is not None and why_not == _NOT_SHOWN:
            why_not = _UNKNOWN_UNIT
        return converted, why_not


def tare_reading(group: PointGroup, tare: Tare | None, *, to_kilograms: bool, now_ns: int) -> Reading:
    """The reading of a group that has the point `tare` alone; None is of a scale that has no command to tell it."""
    if tare is None:
        return all_bad(group, now_ns, _NOT_SHOWN)
    weight = in_kilograms(tare.weight, tare.unit) if to_kilograms else tare.weight
    return all_bad(group, now_ns, _UNKNOWN_UNIT) if weight is None else Reading(group, now_ns, (weight,))

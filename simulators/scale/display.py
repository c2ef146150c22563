"""What an indicator shows: the scale's weight on the grid of the unit that is chosen, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum, StrEnum

from simulators.faces import Load, ScaleFace

_KG_PER_LB = Decimal("0.45359237")
_STEPS = (1, 2, 5)
_ZERO_AT_POWER_UP = Decimal("0.02")
"""How much of the capacity may lie there when an indicator takes its first zero."""


class Unit(StrEnum):
    KG = "kg"
    LB = "lb"


class Condition(Enum):
    """Whether there is a weight at all."""

    WEIGHING = "weighing"
    NOT_ZEROED = "not zeroed"
    """Switched on with a load on it: zero has not been found yet."""
    BROKEN = "broken"
    """The instrument says that it is."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The step of a display: `step` times ten to the `exponent`, where `step` is 1, 2 or 5."""

    step: int
    exponent: int

    @property
    def value(self) -> Decimal:
        return Decimal(self.step).scaleb(self.exponent)

    @property
    def quantum(self) -> Decimal:
        """One in the last place that is written."""
        return Decimal(1).scaleb(min(self.exponent, 0))


def interval_of(size: Decimal) -> Interval:
    """Raises ValueError when `size` is not 1, 2 or 5 times a power of ten."""
    _, digits, exponent = size.normalize().as_tuple()
    if size <= 0 or len(digits) != 1 or digits[0] not in _STEPS or not isinstance(exponent, int):
        raise ValueError(f"a scale interval of {size} is not 1, 2 or 5 times a power of ten")
    return Interval(digits[0], exponent)


@dataclass(frozen=True, slots=True)
class Shown:
    """One look at the display. Weights are in `unit`, multiples of `interval`, written with its decimals."""

    gross: Decimal
    tare: Decimal
    unit: Unit
    interval: Interval
    is_stable: bool
    load: Load
    condition: Condition

    @property
    def net(self) -> Decimal:
        return self.gross - self.tare

    @property
    def is_net(self) -> bool:
        """A tare is taken."""
        return self.tare != 0

    @property
    def weight(self) -> Decimal:
        """What the large digits are: net when a tare is taken, else gross."""
        return self.net


class Display:
    """The face of a scale with a choice of unit and the faults of its indicator; one for all who look at it."""

    def __init__(self, face: ScaleFace) -> None:
        """Raises ValueError when the scale's interval is not one that indicators have."""
        self.face = face
        self.unit = Unit.KG
        self.is_overloaded = False
        """By a fault, whatever lies there."""
        self.is_broken = False
        self._is_zeroed = True
        in_kg = interval_of(face.interval_kg)
        self._intervals = {Unit.KG: in_kg, Unit.LB: _next_above(in_kg)}

    def capacity(self) -> Decimal:
        return self._in_unit(self.face.capacity_kg)

    def look(self) -> Shown:
        shown = self.face.indication()
        if shown.is_stable and abs(shown.gross_kg) <= self.face.capacity_kg * _ZERO_AT_POWER_UP:
            self._is_zeroed = True
        return Shown(
            gross=self._in_unit(shown.gross_kg),
            tare=self._in_unit(shown.tare_kg),
            unit=self.unit,
            interval=self._intervals[self.unit],
            is_stable=shown.is_stable,
            load=Load.OVER if self.is_overloaded else shown.load,
            condition=self._condition(),
        )

    def zero(self) -> bool:
        """As `ScaleFace.zero`."""
        return self._can_weigh() and self.face.zero()

    def tare(self) -> bool:
        """As `ScaleFace.tare`."""
        return self._can_weigh() and self.face.tare()

    def power_cycle(self) -> None:
        """It comes back in kilograms, without tare, and looks for zero."""
        self.face.power_cycle()
        self.unit = Unit.KG
        self._is_zeroed = False

    def _can_weigh(self) -> bool:
        return not self.is_broken and not self.is_overloaded

    def _condition(self) -> Condition:
        if self.is_broken:
            return Condition.BROKEN
        return Condition.WEIGHING if self._is_zeroed else Condition.NOT_ZEROED

    def _in_unit(self, weight_kg: Decimal) -> Decimal:
        interval = self._intervals[self.unit]
        if self.unit is Unit.KG:
            return weight_kg.quantize(interval.quantum)
        steps = (weight_kg / _KG_PER_LB / interval.value).to_integral_value(ROUND_HALF_EVEN)
        return (steps * interval.value).quantize(interval.quantum)


def _next_above(in_kg: Interval) -> Interval:
    """The step in pounds that is at least as coarse as the one in kilograms: twice it, rounded up."""
    if in_kg.step == 5:
        return Interval(1, in_kg.exponent + 1)
    return replace(in_kg, step={1: 2, 2: 5}[in_kg.step])


def when_steady(display: Display, action: Callable[[], bool]) -> bool | None:
    """What `action` says once the display is stable; None while it is not."""
    return action() if display.look().is_stable else None

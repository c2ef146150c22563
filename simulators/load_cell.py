"""A load cell with its indicator: what a display shows of a load that comes, sways and settles. A `faces.ScaleFace`.

The reading follows the load exponentially. A load that comes or goes makes it sway for a moment. It counts as stable
while it stays within one interval for `STABLE_AFTER_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from simulators.faces import Indication, Load

STABLE_AFTER_S = 0.25
OVER_INTERVALS = 9
"""More than the capacity and this many intervals is an overload."""

UNDER_INTERVALS = 20
"""Less than zero by more than this is an underload."""

ZERO_RANGE = Decimal("0.02")
"""How much of the capacity can be set to zero."""

_SETTLING_S = 0.06
_SWAY_S = 0.12
_SWAY_PER_CHANGE = 0.03
_NOISE_INTERVALS = 0.1
_MOTION_INTERVALS = 0.75


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What the indicator is set to."""

    capacity_kg: Decimal = Decimal(60)
    interval_kg: Decimal = Decimal("0.005")


class LoadCell:
    """`extra_kg` lies on it besides what the twin puts there."""

    def __init__(self, name: str, spec: CellSpec, *, random: Random) -> None:
        self.name = name
        self.capacity_kg = spec.capacity_kg
        self.interval_kg = spec.interval_kg
        self.extra_kg = 0.0
        self._interval_kg = float(spec.interval_kg)
        self._random = random
        self._load_kg = 0.0
        self._measured_kg = 0.0
        self._sway_kg = 0.0
        self._reference_kg = 0.0
        self._steady_s = 0.0
        self._zero_kg = 0.0
        self._tare_kg = Decimal(0)

    @property
    def load_kg(self) -> float:
        """What truly lies there."""
        return self._load_kg

    def step(self, load_kg: float, dt_s: float) -> None:
        """Let `dt_s` pass with `load_kg` of the twin on the cell."""
        load_kg += self.extra_kg
        swaying_kg = (self._sway_kg + _SWAY_PER_CHANGE * abs(load_kg - self._load_kg)) * math.exp(-dt_s / _SWAY_S)
        self._sway_kg, self._load_kg = swaying_kg, load_kg
        shaken_kg = load_kg + self._random.gauss(0.0, swaying_kg + _NOISE_INTERVALS * self._interval_kg)
        self._measured_kg += (shaken_kg - self._measured_kg) * (1.0 - math.exp(-dt_s / _SETTLING_S))
        if abs(self._measured_kg - self._reference_kg) > _MOTION_INTERVALS * self._interval_kg:
            self._reference_kg = self._measured_kg
            self._steady_s = 0.0
        else:
            self._steady_s += dt_s

    @property
    def is_stable(self) -> bool:
        return self._steady_s >= STABLE_AFTER_S

    def indication(self) -> Indication:
        gross_kg = self._on_grid(self._measured_kg - self._zero_kg)
        load = Load.WITHIN
        if gross_kg > self.capacity_kg + OVER_INTERVALS * self.interval_kg:
            load = Load.OVER
        elif gross_kg < -UNDER_INTERVALS * self.interval_kg:
            load = Load.UNDER
        return Indication(gross_kg, self._tare_kg, is_stable=self.is_stable, load=load)

    def zero(self) -> bool:
        if not self.is_stable or abs(self._measured_kg) > float(self.capacity_kg * ZERO_RANGE):
            return False
        self._zero_kg = self._measured_kg
        return True

    def tare(self) -> bool:
        shown = self.indication()
        if not shown.is_stable or not 0 <= shown.gross_kg <= self.capacity_kg:
            return False
        self._tare_kg = shown.gross_kg
        return True

    def preset_tare(self, tare_kg: Decimal) -> bool:
        if not 0 <= tare_kg <= self.capacity_kg or tare_kg % self.interval_kg:
            return False
        self._tare_kg = tare_kg.quantize(self.interval_kg)
        return True

    def clear_tare(self) -> None:
        self._tare_kg = Decimal(0)

    def power_cycle(self) -> None:
        self._zero_kg = 0.0
        self._tare_kg = Decimal(0)

    def _on_grid(self, weight_kg: float) -> Decimal:
        return round(weight_kg / self._interval_kg) * self.interval_kg

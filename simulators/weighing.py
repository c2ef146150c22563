"""Scales: a belt that weighs parcels while they move over it, and a platform on which loads come and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from simulators.conveyor import Conveyor, ConveyorSpec, Jams
from simulators.ledger import Event, Ledger, kilograms
from simulators.load_cell import CellSpec, LoadCell
from simulators.machine import Machine, Parcel


@dataclass(frozen=True, slots=True)
class WeighBeltSpec(ConveyorSpec):
    """A belt on a load cell."""

    cell: CellSpec = field(default_factory=CellSpec)


class WeighBelt(Conveyor):
    """A conveyor on a load cell. It takes a parcel only when the one before has left with its whole length.

    A parcel weighs on the cell in proportion to how much of its length is on the belt.
    """

    def __init__(
        self,
        spec: WeighBeltSpec,
        *,
        downstream: Machine,
        random: Random,
        ledger: Ledger,
        jams: Jams,
    ) -> None:
        super().__init__(spec, downstream=downstream, random=random, ledger=ledger, jams=jams)
        self.cell = LoadCell(spec.name, spec.cell, random=random)
        self._half_gone: Parcel | None = None
        self._shown_kg: Decimal | None = None

    def accepts(self, parcel: Parcel) -> bool:
        return not self.parcels and self._downstream.tail_m >= 0 and super().accepts(parcel)

    def take(self, parcel: Parcel) -> None:
        super().take(parcel)
        self._shown_kg = None

    def step(self, dt_s: float) -> None:
        super().step(dt_s)
        self.cell.step(self._on_cell_kg(), dt_s)
        if self.parcels and self.parcels[0].rear_m >= 0 and self.cell.is_stable:
            self._shown_kg = self.cell.indication().gross_kg

    def _hand_over(self, parcel: Parcel) -> None:
        self._ledger.record(
            Event.WEIGHED,
            self.name,
            parcel,
            weight_kg=kilograms(parcel.weight_kg),
            shown_kg=None if self._shown_kg is None else str(self._shown_kg),
        )
        super()._hand_over(parcel)
        self._half_gone = parcel

    def _on_cell_kg(self) -> float:
        load_kg = sum(parcel.weight_kg * min(1.0, parcel.front_m / parcel.length_m) for parcel in self.parcels)
        if self._half_gone is not None:
            still_here = min(1.0, -self._downstream.tail_m / self._half_gone.length_m)
            if still_here > 0:
                load_kg += self._half_gone.weight_kg * still_here
            else:
                self._half_gone = None
        return load_kg


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """A static scale and how often somebody puts something on it."""

    name: str
    cell: CellSpec = field(default_factory=CellSpec)
    loads_per_hour: float = 120.0


class Platform:
    """A static scale: a load comes, stays for some seconds, and is taken off."""

    _STAYS_S = (4.0, 15.0)
    _LIGHTEST_KG = 0.3
    _FULLEST = 0.9
    """How much of the capacity the heaviest load is."""

    def __init__(self, spec: PlatformSpec, *, random: Random, ledger: Ledger) -> None:
        self.name = spec.name
        self.cell = LoadCell(spec.name, spec.cell, random=random)
        self._mean_s = 3600.0 / spec.loads_per_hour
        self._random = random
        self._ledger = ledger
        self._load_kg = 0.0
        self._shown_kg: Decimal | None = None
        self._left_s = random.expovariate(1.0 / self._mean_s)

    def step(self, dt_s: float) -> None:
        self._left_s -= dt_s
        if self._left_s <= 0:
            if self._load_kg:
                self._unload()
            else:
                self._load()
        self.cell.step(self._load_kg, dt_s)
        if self._load_kg and self.cell.is_stable:
            self._shown_kg = self.cell.indication().gross_kg

    def _load(self) -> None:
        heaviest_kg = float(self.cell.capacity_kg) * self._FULLEST
        self._load_kg = round(self._random.uniform(min(self._LIGHTEST_KG, heaviest_kg / 2), heaviest_kg), 3)
        self._shown_kg = None
        self._left_s = self._random.uniform(*self._STAYS_S)
        self._ledger.record(Event.LOADED, self.name, weight_kg=kilograms(self._load_kg))

    def _unload(self) -> None:
        shown_kg = None if self._shown_kg is None else str(self._shown_kg)
        self._ledger.record(Event.UNLOADED, self.name, weight_kg=kilograms(self._load_kg), shown_kg=shown_kg)
        self._load_kg = 0.0
        self._left_s = self._random.expovariate(1.0 / self._mean_s)

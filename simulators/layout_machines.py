"""What a layout says of machines, and what is built from that."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from simulators.conveyor import MAX_SPEED_MM_S, ConveyorSpec, Jams
from simulators.hub import LineSpec
from simulators.load_cell import CellSpec
from simulators.machine import LONGEST_PARCEL_M
from simulators.portal import DoorSpec, PortalBeltSpec
from simulators.settings import Chance, Kilograms, Name, Positive, Strict
from simulators.sorter import SorterSpec
from simulators.weighing import PlatformSpec, WeighBeltSpec

FASTEST_SORTER_M_S = 3.0
"""Parcels on a faster one would be past their chute within one step of the twin."""

MOST_INTERVALS = 100_000


class _Belt(Strict):
    """It must hold a parcel and its gap with room to spare."""

    name: Annotated[Name, StringConstraints(max_length=16)]
    """As long as a controller's name register."""
    length_m: Annotated[float, Field(ge=2 * LONGEST_PARCEL_M, le=60)]
    speed_mm_s: Annotated[int, Field(ge=0, le=MAX_SPEED_MM_S)]


class ConveyorSettings(_Belt):
    """A plain conveyor."""

    kind: Literal["conveyor"]

    def spec(self) -> ConveyorSpec:
        return ConveyorSpec(self.name, self.length_m, self.speed_mm_s)


class SingulatorSettings(_Belt):
    """A conveyor that keeps parcels apart: one leaves when the one before is `gap_m` away."""

    kind: Literal["singulator"]
    gap_m: Annotated[float, Field(gt=0, le=LONGEST_PARCEL_M)] = 0.5

    def spec(self) -> ConveyorSpec:
        return ConveyorSpec(self.name, self.length_m, self.speed_mm_s, release_gap_m=self.gap_m)


class _Weighing(Strict):
    """Intervals are those that OIML R 76 knows for scales, and all that every protocol can tell."""

    capacity_kg: Kilograms = Decimal(60)
    interval_kg: Annotated[Kilograms, Field(ge=Decimal("0.00001"), le=Decimal(500))] = Decimal("0.005")

    @model_validator(mode="after")
    def _can_be_shown(self) -> Self:
        if self.interval_kg.normalize().as_tuple().digits not in {(1,), (2,), (5,)}:
            raise ValueError(f"interval_kg must be 1, 2 or 5 times a power of ten, not {self.interval_kg}")
        if self.capacity_kg % self.interval_kg or not 100 <= self.capacity_kg / self.interval_kg <= MOST_INTERVALS:
            raise ValueError(
                f"capacity_kg must be 100 to {MOST_INTERVALS} whole intervals of {self.interval_kg} kg, "
                f"not {self.capacity_kg}"
            )
        return self

    def cell(self) -> CellSpec:
        return CellSpec(self.capacity_kg, self.interval_kg)


class ScaleSettings(_Belt, _Weighing):
    """A belt that weighs what moves over it."""

    kind: Literal["scale"]

    def spec(self) -> WeighBeltSpec:
        return WeighBeltSpec(self.name, self.length_m, self.speed_mm_s, cell=self.cell())


class _Antennas(Strict):
    antennas: Annotated[int, Field(ge=1, le=8)] = 2
    strays: Annotated[int, Field(ge=0, le=100)] = 0
    """Tags that stand some metres away and answer now and then."""


class PortalSettings(_Belt, _Antennas):
    """A belt under an RFID portal."""

    kind: Literal["portal"]

    def spec(self) -> PortalBeltSpec:
        return PortalBeltSpec(self.name, self.length_m, self.speed_mm_s, antennas=self.antennas, strays=self.strays)


class SorterSettings(Strict):
    """The end of a line. Chutes are named for the destinations whose parcels they take; the last takes the rest."""

    kind: Literal["sorter"]
    name: Name
    chutes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200, strict=False)]
    chute_capacity: Annotated[int, Field(ge=1)] = 40
    emptied_after_s: Positive = 30.0
    design_speed_m_s: Annotated[float, Field(gt=0, le=FASTEST_SORTER_M_S)] = 2.0
    speed_m_s: Annotated[float, Field(ge=0)] = 1.5

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.chutes)) < len(self.chutes):
            raise ValueError("chutes must have different names")
        if self.speed_m_s > self.design_speed_m_s:
            raise ValueError(f"speed_m_s is more than design_speed_m_s, which is {self.design_speed_m_s:g}")
        return self

    def spec(self) -> SorterSpec:
        return SorterSpec(**self.model_dump(exclude={"kind"}))


MachineSettings = Annotated[
    ConveyorSettings | SingulatorSettings | ScaleSettings | PortalSettings | SorterSettings,
    Field(discriminator="kind"),
]


class LineSettings(Strict):
    """Machines in the order in which parcels pass them. A sorter can only be the last."""

    name: Name
    arrivals_per_hour: Positive = 1200.0
    destinations: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    dead_tag_chance: Chance = 0.003
    jam_chance: Chance = 0.0
    jam_clears_after_s: Positive = 15.0
    machines: Annotated[tuple[MachineSettings, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _ends_with_its_sorter(self) -> Self:
        if any(isinstance(machine, SorterSettings) for machine in self.machines[:-1]):
            raise ValueError("a sorter must be the last machine of its line")
        if all(isinstance(machine, SorterSettings) for machine in self.machines):
            raise ValueError("a line needs a belt before its sorter")
        return self

    def spec(self) -> LineSpec:
        last = self.machines[-1]
        return LineSpec(
            self.name,
            [machine.spec() for machine in self.machines if not isinstance(machine, SorterSettings)],
            sorter=last.spec() if isinstance(last, SorterSettings) else None,
            arrivals_per_hour=self.arrivals_per_hour,
            destinations=self.destinations,
            dead_tag_chance=self.dead_tag_chance,
            jams=Jams(self.jam_chance, self.jam_clears_after_s),
        )


class PlatformSettings(_Weighing):
    """A static scale beside the lines."""

    name: Name
    loads_per_hour: Positive = 120.0

    def spec(self) -> PlatformSpec:
        return PlatformSpec(self.name, self.cell(), self.loads_per_hour)


class DoorSettings(_Antennas):
    """A dock door with a portal, through which pallets are driven."""

    name: Name
    pallets_per_hour: Positive = 60.0

    def spec(self) -> DoorSpec:
        return DoorSpec(**self.model_dump())

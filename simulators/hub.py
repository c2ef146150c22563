"""The twin: parcels that move through lines of machines. Pure physics: no clock, no I/O, seeded.

    dock ──► conveyor ──► singulator ──► weigh belt ──► portal ──► … ──► sorter ──► chutes   (or ──► discharge)

and, beside the lines, platform scales and dock doors. A parcel belongs to the machine under its leading edge. Machines
hand parcels over through `machine.Machine`; what a wire dialect shows of them is in `faces`.

Lengths are metres, masses kilograms, times seconds. Parcels are never created or destroyed on the way, never overtake
and never come nearer to each other than `GAP_M`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from simulators.conveyor import Conveyor, ConveyorSpec, Jams
from simulators.dock import Discharge, Dock, epcs
from simulators.ledger import Ledger
from simulators.load_cell import LoadCell
from simulators.machine import STEP_S, Machine
from simulators.portal import Door, DoorSpec, Portal, PortalBelt, PortalBeltSpec
from simulators.sorter import Sorter, SorterSpec
from simulators.weighing import Platform, PlatformSpec, WeighBelt, WeighBeltSpec


@dataclass(frozen=True, slots=True)
class LineSpec:
    """Belts in the order in which parcels pass them, what comes down them, and the sorter at the end, if any."""

    name: str
    belts: Sequence[ConveyorSpec]
    sorter: SorterSpec | None = None
    arrivals_per_hour: float = 1200.0
    destinations: Sequence[str] = ()
    """What parcels are labelled with; by default every chute of the sorter but the last."""
    dead_tag_chance: float = 0.003
    jams: Jams = field(default_factory=Jams)


@dataclass(frozen=True, slots=True)
class HubSpec:
    """Everything that is built."""

    lines: Sequence[LineSpec] = ()
    platforms: Sequence[PlatformSpec] = ()
    doors: Sequence[DoorSpec] = ()


class _Stepping(Protocol):
    def step(self, dt_s: float) -> None: ...


class Line:
    """From one dock to its chutes."""

    def __init__(
        self, spec: LineSpec, *, numbers: Iterator[int], codes: Iterator[bytes], ledger: Ledger, seed: int
    ) -> None:
        self.name = spec.name
        self.sorter: Sorter | None = None
        self.discharge: Discharge | None = None
        downstream: Machine
        if spec.sorter is None:
            downstream = self.discharge = Discharge(ledger)
        else:
            has_portal = any(isinstance(belt, PortalBeltSpec) for belt in spec.belts)
            downstream = self.sorter = Sorter(spec.sorter, needs_reads=has_portal, ledger=ledger)
        machines: list[Machine] = [downstream]
        belts: list[Conveyor] = []
        for belt_spec in reversed(spec.belts):
            belt = _belt(belt_spec, spec.jams, downstream=downstream, ledger=ledger, seed=seed)
            belts.insert(0, belt)
            machines.append(belt)
            downstream = belt
        self.belts = tuple(belts)
        chutes = () if spec.sorter is None else tuple(spec.sorter.chutes)
        self.dock = Dock(
            downstream,
            arrivals_per_hour=spec.arrivals_per_hour,
            destinations=tuple(spec.destinations) or chutes[:-1] or chutes,
            dead_tag_chance=spec.dead_tag_chance,
            numbers=numbers,
            codes=codes,
            random=Random(f"{seed} {spec.name} dock"),
            ledger=ledger,
        )
        self._from_the_end: tuple[_Stepping, ...] = (*machines, self.dock)

    @property
    def gone(self) -> int:
        """How many parcels have left it."""
        if self.sorter is not None:
            return sum(self.sorter.chutes.values())
        return self.discharge.discharged if self.discharge is not None else 0

    def step(self, dt_s: float) -> None:
        for machine in self._from_the_end:
            machine.step(dt_s)


class Hub:
    """All lines and what stands beside them. Machines are found by name; a weigh belt is a conveyor and a scale."""

    def __init__(self, spec: HubSpec, *, seed: int) -> None:
        """The same seed and the same steps give the same parcels, jams and measurements."""
        self.ledger = Ledger()
        numbers = count(1)
        codes = epcs(Random(f"{seed} codes"))
        self.lines = tuple(
            Line(line, numbers=numbers, codes=codes, ledger=self.ledger, seed=seed) for line in spec.lines
        )
        platforms: list[WeighBelt | Platform] = [
            Platform(platform, random=Random(f"{seed} {platform.name}"), ledger=self.ledger)
            for platform in spec.platforms
        ]
        doors: list[PortalBelt | Door] = [
            Door(
                door,
                next_epc=lambda: next(codes),
                random=Random(f"{seed} {door.name}"),
                radio=Random(f"{seed} {door.name} radio"),
                ledger=self.ledger,
            )
            for door in spec.doors
        ]
        self.conveyors: dict[str, Conveyor] = {belt.name: belt for line in self.lines for belt in line.belts}
        weighing: list[WeighBelt | Platform] = [belt for belt in self.conveyors.values() if isinstance(belt, WeighBelt)]
        self.scales: dict[str, LoadCell] = {machine.name: machine.cell for machine in weighing + platforms}
        reading: list[PortalBelt | Door] = [belt for belt in self.conveyors.values() if isinstance(belt, PortalBelt)]
        self.portals: dict[str, Portal] = {machine.name: machine.portal for machine in reading + doors}
        self.sorters: dict[str, Sorter] = {line.sorter.name: line.sorter for line in self.lines if line.sorter}
        self._parts: tuple[_Stepping, ...] = (*self.lines, *platforms, *doors)

    @property
    def time_s(self) -> float:
        return self.ledger.time_s

    @property
    def entered(self) -> int:
        """Parcels that have come into any line."""
        return sum(line.dock.entered for line in self.lines)

    @property
    def gone(self) -> int:
        """Parcels that have left their line."""
        return sum(line.gone for line in self.lines)

    def step(self, dt_s: float) -> None:
        """Let `dt_s` pass, in equal steps of at most `STEP_S`."""
        steps = max(1, math.ceil(dt_s / STEP_S - 1e-9))
        part_s = dt_s / steps
        for _ in range(steps):
            self.ledger.time_s += part_s
            for part in self._parts:
                part.step(part_s)


def _belt(spec: ConveyorSpec, jams: Jams, *, downstream: Machine, ledger: Ledger, seed: int) -> Conveyor:
    random = Random(f"{seed} {spec.name}")
    match spec:
        case WeighBeltSpec():
            return WeighBelt(spec, downstream=downstream, random=random, ledger=ledger, jams=jams)
        case PortalBeltSpec():
            radio = Random(f"{seed} {spec.name} radio")
            return PortalBelt(spec, downstream=downstream, random=random, radio=radio, ledger=ledger, jams=jams)
        case _:
            return Conveyor(spec, downstream=downstream, random=random, ledger=ledger, jams=jams)

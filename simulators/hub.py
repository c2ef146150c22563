"""The twin: parcels that move through one line of machines. Pure physics: no clock, no I/O, seeded.

    dock ──► conveyor ──► conveyor ──► … ──► discharge

A parcel belongs to the machine under its leading edge. Machines hand parcels over through `machine.Machine`, so a
scale, a portal or a sorter is one more class with its five members.

Lengths are metres, masses kilograms, times seconds. Parcels are never created or destroyed on the way, never overtake
and never come nearer to each other than `GAP_M`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from simulators.conveyor import Conveyor, ConveyorSpec
from simulators.machine import GAP_M, LONGEST_PARCEL_M, SHORTEST_PARCEL_M, STEP_S, Machine, Parcel

HEAVIEST_PARCEL_KG = 31.5
_CHUTE_SPEED_M_S = 2.0


class Discharge:
    """The chute at the end of the line: takes whatever comes, and counts it."""

    def __init__(self) -> None:
        self.name = "discharge"
        self.parcels: list[Parcel] = []
        self.discharged = 0

    @property
    def tail_m(self) -> float:
        return self.parcels[-1].rear_m if self.parcels else math.inf

    def accepts(self, parcel: Parcel) -> bool:  # noqa: ARG002 - the parcel does not matter here, it does elsewhere
        return self.tail_m >= GAP_M

    def take(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)

    def step(self, dt_s: float) -> None:
        for parcel in self.parcels:
            parcel.front_m += _CHUTE_SPEED_M_S * dt_s
        while self.parcels and self.parcels[0].rear_m >= GAP_M:
            self.parcels.pop(0)
            self.discharged += 1


class Dock:
    """Where parcels come from. While one waits for room, no other arrives: people stop unloading."""

    def __init__(self, first: Machine, *, arrivals_per_hour: float, random: Random) -> None:
        self._first = first
        self._mean_s = 3600.0 / arrivals_per_hour
        self._random = random
        self._pause_s = 0.0
        self._waiting: Parcel | None = None
        self.entered = 0

    def step(self, dt_s: float) -> None:
        if self._waiting is None:
            self._pause_s -= dt_s
            if self._pause_s > 0:
                return
            self._waiting = self._next_parcel()
        if self._first.accepts(self._waiting):
            self._first.take(self._waiting)
            self.entered += 1
            self._waiting = None
            self._pause_s = self._random.expovariate(1.0 / self._mean_s)

    def _next_parcel(self) -> Parcel:
        return Parcel(
            id=self.entered + 1,
            length_m=self._random.uniform(SHORTEST_PARCEL_M, LONGEST_PARCEL_M),
            weight_kg=min(HEAVIEST_PARCEL_KG, 0.3 + self._random.expovariate(1.0 / 5.0)),
        )


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A line of conveyors and what comes down it."""

    conveyors: Sequence[ConveyorSpec]
    arrivals_per_hour: float = 1200.0
    jam_chance: float = 0.0
    """How likely a parcel sticks under each exit photo-eye that it passes."""
    jam_clears_after_s: float = 15.0
    """How long until somebody frees a parcel that stuck by chance."""


class Hub:
    """One line, from the dock to the chute."""

    def __init__(self, spec: LineSpec, *, seed: int) -> None:
        """The same seed and the same steps give the same parcels, jams and measurements."""
        self.time_s = 0.0
        self.discharge = Discharge()
        self.conveyors: dict[str, Conveyor] = {}
        downstream: Machine = self.discharge
        line: list[Machine] = [downstream]
        for conveyor_spec in reversed(spec.conveyors):
            conveyor = Conveyor(
                conveyor_spec,
                downstream=downstream,
                random=Random(f"{seed} {conveyor_spec.name}"),
                jam_chance=spec.jam_chance,
                jam_clears_after_s=spec.jam_clears_after_s,
            )
            self.conveyors[conveyor.name] = conveyor
            line.append(conveyor)
            downstream = conveyor
        self.conveyors = dict(reversed(self.conveyors.items()))
        self._from_the_end = tuple(line)
        self.dock = Dock(downstream, arrivals_per_hour=spec.arrivals_per_hour, random=Random(f"{seed} dock"))

    def step(self, dt_s: float) -> None:
        """Let `dt_s` pass, in equal steps of at most `STEP_S`."""
        steps = max(1, math.ceil(dt_s / STEP_S - 1e-9))
        part_s = dt_s / steps
        for _ in range(steps):
            for machine in self._from_the_end:
                machine.step(part_s)
            self.dock.step(part_s)
        self.time_s += dt_s

"""Both ends of a line: the dock where parcels come from, and the discharge of a line that ends without a sorter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random

from simulators.epc import sgtin_96, sscc_96
from simulators.ledger import Event, Ledger, kilograms
from simulators.machine import GAP_M, LONGEST_PARCEL_M, SHORTEST_PARCEL_M, Machine, Parcel

HEAVIEST_PARCEL_KG = 31.5
WEAK_TAG_CHANCE = 0.02

_LIGHTEST_KG = 0.3
_MEAN_KG = 5.0
_WEAK_TAG_DB = -20.0
_DEAD_TAG_DB = -60.0
_TAG_SPREAD_DB = 1.5
_CHUTE_SPEED_M_S = 2.0
_PREFIXES = ("4012345", "0614141")
_SERIALS = 10**9
_EACH_SGTIN = 5
"""One parcel in so many carries an SGTIN, the others an SSCC."""


class Discharge:
    """The chute at the end of a line: takes whatever comes, and counts it."""

    def __init__(self, ledger: Ledger) -> None:
        self.name = "discharge"
        self.parcels: list[Parcel] = []
        self.discharged = 0
        self._ledger = ledger

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
            self._ledger.record(Event.DISCHARGED, self.name, self.parcels.pop(0))
            self.discharged += 1


def epcs(random: Random) -> Iterator[bytes]:
    """Codes for one hub, without end and never the same twice within a billion."""
    serial = random.randrange(_SERIALS)
    number = 0
    while True:
        prefix = _PREFIXES[number % len(_PREFIXES)]
        if number % _EACH_SGTIN:
            yield sscc_96(prefix, f"{number % 10}{serial:09}", filter_value=2)
        else:
            yield sgtin_96(prefix, "812345", serial, filter_value=2)
        number += 1
        serial = (serial + 1) % _SERIALS


class Dock:
    """Where parcels come from. While one waits for room, no other arrives: people stop unloading."""

    def __init__(
        self,
        first: Machine,
        *,
        arrivals_per_hour: float,
        destinations: Sequence[str],
        dead_tag_chance: float,
        numbers: Iterator[int],
        codes: Iterator[bytes],
        random: Random,
        ledger: Ledger,
    ) -> None:
        """`numbers` and `codes` are shared by all docks of a hub."""
        self._first = first
        self._mean_s = 3600.0 / arrivals_per_hour
        self._destinations = destinations
        self._dead_tag_chance = dead_tag_chance
        self._numbers = numbers
        self._codes = codes
        self._random = random
        self._ledger = ledger
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
            self._enter(self._waiting)
            self._waiting = None
            self._pause_s = self._random.expovariate(1.0 / self._mean_s)

    def _enter(self, parcel: Parcel) -> None:
        """Its number is the order of entry."""
        parcel.id = next(self._numbers)
        self._ledger.record(
            Event.ENTERED,
            self._first.name,
            parcel,
            weight_kg=kilograms(parcel.weight_kg),
            length_m=parcel.length_m,
            destination=parcel.destination,
        )
        self._first.take(parcel)
        self.entered += 1

    def _next_parcel(self) -> Parcel:
        random = self._random
        length_m = round(random.uniform(SHORTEST_PARCEL_M, LONGEST_PARCEL_M), 3)
        weight_kg = round(min(HEAVIEST_PARCEL_KG, _LIGHTEST_KG + random.expovariate(1.0 / _MEAN_KG)), 3)
        return Parcel(
            id=0,
            length_m=length_m,
            weight_kg=weight_kg,
            epc=next(self._codes),
            destination=random.choice(self._destinations) if self._destinations else "",
            tag_gain_db=self._tag_gain_db(),
        )

    def _tag_gain_db(self) -> float:
        luck = self._random.random()
        if luck < self._dead_tag_chance:
            return _DEAD_TAG_DB
        ordinary_db = self._random.gauss(0.0, _TAG_SPREAD_DB)
        return ordinary_db + (_WEAK_TAG_DB if luck < self._dead_tag_chance + WEAK_TAG_CHANCE else 0.0)

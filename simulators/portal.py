"""RFID portals: antennas, the tags near them, and how likely each answers. `Portal` is a `faces.PortalFace`.

A tag's signal falls with the fourth power of its distance (there and back again) and flutters. Near the sensitivity of
the reader it becomes a matter of luck whether it answers, so weak and far tags are missed in one round and seen in
another, and two antennas both see the same near one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from simulators.conveyor import Conveyor, ConveyorSpec, Jams
from simulators.epc import EPC_BYTES
from simulators.faces import Sighting
from simulators.ledger import Event, Ledger
from simulators.machine import Machine, Parcel

CHANNELS = 4
"""The four high-power channels of ETSI EN 302 208, numbered from 1."""

_HEIGHT_M = 1.2
_ANTENNA_PITCH_M = 0.5
_AT_ONE_METRE_DBM = -48.0
_DB_PER_DECADE = 40.0
_FLUTTER_DB = 2.0
_EVEN_CHANCE_DBM = -70.0
_SLOPE_DB = 1.5
_WEAKEST_DBM = -85.0
_STRAY_M = (4.0, 6.0)
"""How far off the belt tags stand that have no business there."""


class Tag(NamedTuple):
    """A transponder, `away_m` along the belt from the middle of the portal."""

    epc: bytes
    away_m: float
    gain_db: float = 0.0


class Portal:
    """The antennas hang over the middle, in a row along the belt."""

    def __init__(
        self, name: str, *, antennas: int, passing: Callable[[], Iterable[Tag]], strays: int, random: Random
    ) -> None:
        """`passing` tells which tags move through now. `strays` more never move, some metres away."""
        self.name = name
        self.antennas = antennas
        self.standing: dict[bytes, Tag] = {}
        """Tags that stay where they are, by EPC."""
        self.passing = passing
        self._random = random
        middle = (antennas - 1) / 2
        self._positions_m = {number: (number - 1 - middle) * _ANTENNA_PITCH_M for number in range(1, antennas + 1)}
        for _ in range(strays):
            self.place(random.randbytes(EPC_BYTES), away_m=random.uniform(*_STRAY_M))

    def place(self, epc: bytes, *, away_m: float) -> None:
        """Put a tag down, or move it."""
        self.standing[epc] = Tag(epc, away_m)

    def remove(self, epc: bytes) -> bool:
        """Take away a tag that stands; False when there is none with that EPC."""
        return self.standing.pop(epc, None) is not None

    def inventory(self, antennas: Collection[int]) -> Sequence[Sighting]:
        channel = self._random.randint(1, CHANNELS)
        tags = (*self.passing(), *self.standing.values())
        found = []
        for antenna in antennas:
            position_m = self._positions_m.get(antenna)
            if position_m is None:
                continue
            for tag in tags:
                rssi_dbm = signal_dbm(tag, position_m) + self._random.gauss(0.0, _FLUTTER_DB)
                if answers(rssi_dbm, self._random):
                    found.append(Sighting(antenna, tag.epc, round(rssi_dbm), channel))
        return found

    def reads(self, tag: Tag, random: Random) -> bool:
        """Whether the line's control, with luck of its own, reads `tag` in one round of all antennas."""
        return any(answers(signal_dbm(tag, position_m), random) for position_m in self._positions_m.values())


def signal_dbm(tag: Tag, position_m: float) -> float:
    """What an antenna over `position_m` receives from `tag` without flutter."""
    distance_m = math.hypot(_HEIGHT_M, tag.away_m - position_m)
    return _AT_ONE_METRE_DBM + tag.gain_db - _DB_PER_DECADE * math.log10(distance_m)


def answers(rssi_dbm: float, random: Random) -> bool:
    """Whether a tag of that strength answers in one round."""
    if rssi_dbm < _WEAKEST_DBM:
        return False
    return random.random() < 1.0 / (1.0 + math.exp((_EVEN_CHANCE_DBM - rssi_dbm) / _SLOPE_DB))


@dataclass(frozen=True, slots=True)
class PortalBeltSpec(ConveyorSpec):
    """A belt under a portal."""

    antennas: int = 2
    strays: int = 0


class PortalBelt(Conveyor):
    """A conveyor under a portal. The line's control has a reader of its own there: what it misses is unread for good,
    whoever else asks `portal`."""

    def __init__(
        self,
        spec: PortalBeltSpec,
        *,
        downstream: Machine,
        random: Random,
        radio: Random,
        ledger: Ledger,
        jams: Jams,
    ) -> None:
        """`radio` is the luck of whoever asks `portal`: how often somebody asks must not change the line."""
        super().__init__(spec, downstream=downstream, random=random, ledger=ledger, jams=jams)
        self.portal = Portal(spec.name, antennas=spec.antennas, passing=self._tags, strays=spec.strays, random=radio)

    def step(self, dt_s: float) -> None:
        super().step(dt_s)
        for parcel in self.parcels:
            if not parcel.is_read:
                parcel.is_read = self.portal.reads(self._tag(parcel), self._random)

    def _hand_over(self, parcel: Parcel) -> None:
        self._ledger.record(Event.PASSED, self.name, parcel, read=parcel.is_read)
        super()._hand_over(parcel)

    def _tags(self) -> Iterable[Tag]:
        return map(self._tag, self.parcels)

    def _tag(self, parcel: Parcel) -> Tag:
        """It is stuck on the middle of the parcel."""
        middle_m = parcel.front_m - parcel.length_m / 2
        return Tag(parcel.epc, middle_m - self.length_m / 2, parcel.tag_gain_db)


@dataclass(frozen=True, slots=True)
class DoorSpec:
    """A dock door with a portal and how often a pallet goes through."""

    name: str
    antennas: int = 4
    strays: int = 0
    pallets_per_hour: float = 60.0


class Door:
    """Pallets with several tags are driven through a portal at a walk."""

    _SPEED_M_S = 1.2
    _FROM_M = -3.0
    _TO_M = 3.0
    _MOST_TAGS = 12

    def __init__(self, spec: DoorSpec, *, next_epc: Callable[[], bytes], random: Random, radio: Random, ledger: Ledger):
        self.name = spec.name
        self.portal = Portal(spec.name, antennas=spec.antennas, passing=self._tags, strays=spec.strays, random=radio)
        self._mean_s = 3600.0 / spec.pallets_per_hour
        self._next_epc = next_epc
        self._random = random
        self._ledger = ledger
        self._pallet: list[bytes] = []
        self._at_m = self._FROM_M
        self._left_s = random.expovariate(1.0 / self._mean_s)

    def step(self, dt_s: float) -> None:
        if self._pallet:
            self._at_m += self._SPEED_M_S * dt_s
            if self._at_m > self._TO_M:
                self._ledger.record(Event.GATED, self.name, epcs=[epc.hex().upper() for epc in self._pallet])
                self._pallet = []
                self._left_s = self._random.expovariate(1.0 / self._mean_s)
            return
        self._left_s -= dt_s
        if self._left_s <= 0:
            self._pallet = [self._next_epc() for _ in range(self._random.randint(1, self._MOST_TAGS))]
            self._at_m = self._FROM_M

    def _tags(self) -> Iterable[Tag]:
        return (Tag(epc, self._at_m) for epc in self._pallet)

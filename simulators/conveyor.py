"""One conveyor: a driven bed of rollers with a photo-eye at each end and a motor that can be overloaded.

Control is what a zone controller does. It feeds the next machine only when that accepts; a parcel that may not go on
waits at the end and the ones behind it queue up with a gap (zero-pressure accumulation); when nothing can move, the
drive rests. A parcel that sticks under the exit photo-eye is not known to the controller: it sees the eye blocked while
it drives (`jammed`) and the current rise until the overload relay opens (`tripped`). Both stay until `clear`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from simulators.ledger import Event, Ledger
from simulators.machine import GAP_M, Machine, Parcel

MAX_SPEED_MM_S = 2500
EYE_INSET_M = 0.15
"""How far the photo-eyes sit from the ends; less than the shortest parcel, so a waiting parcel is always seen."""

JAM_DISTANCE_M = 0.5
"""How far the belt runs under a parcel that blocks the exit eye before that is called a jam."""

OVERLOAD_A = 8.0
OVERLOAD_S = 1.0

_ACCELERATION_M_S2 = 0.8
_BRAKING_M_S2 = 1.6
_NO_ROOM_M = 1e-3
_IDLE_A = 0.8
_A_PER_KG_M = 0.04
_STUCK_A = 9.0
_CURRENT_LAG_S = 0.4
_NOISE_A = 0.01
_AMBIENT_C = 22.0
_C_PER_A2 = 0.8
_WARMING_S = 600.0


@dataclass(frozen=True, slots=True)
class ConveyorSpec:
    """What is built: belt length and the speed it is set to when delivered.

    A singulator is a conveyor with a `release_gap_m`: it lets a parcel go only when the one before is that far away.
    """

    name: str
    length_m: float = 4.0
    speed_mm_s: int = 800
    release_gap_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Jams:
    """How jams come and go by themselves."""

    chance: float = 0.0
    """How likely a parcel sticks under each exit photo-eye that it passes."""
    clear_after_s: float = 15.0
    """How long until somebody frees a parcel that stuck by chance."""


@dataclass(slots=True)
class Counters:
    """What the controller counts since it was powered on."""

    arrivals: int = 0
    departures: int = 0
    jams: int = 0
    mass_g: int = 0
    """Mass of everything that has left."""
    distance_m: float = 0.0
    """How far the belt has run."""


class Conveyor:
    """A `simulators.machine.Machine`. Commands are `run`, `setpoint_mm_s`, `jam`, `clear`; the rest is to look at."""

    def __init__(
        self,
        spec: ConveyorSpec,
        *,
        downstream: Machine,
        random: Random,
        ledger: Ledger,
        jams: Jams,
    ) -> None:
        self.name = spec.name
        self.length_m = spec.length_m
        self.nominal_mm_s = spec.speed_mm_s
        self.run = True
        self.setpoint_mm_s = spec.speed_mm_s
        self.parcels: list[Parcel] = []
        """Foremost first."""
        self.speed_m_s = 0.0
        self.current_a = 0.0
        self.temperature_c = _AMBIENT_C
        self.accumulating = False
        """There are parcels and none of them may move."""
        self.jammed = False
        self.tripped = False
        self.stuck: Parcel | None = None
        self.counters = Counters()
        self._downstream = downstream
        self._release_gap_m = spec.release_gap_m
        self._random = random
        self._ledger = ledger
        self._jams = jams
        self._jam_next = False
        self._clears_in_s = math.inf
        self._driven_blocked_m = 0.0
        self._overloaded_s = 0.0

    @property
    def tail_m(self) -> float:
        return self.parcels[-1].rear_m if self.parcels else math.inf

    @property
    def entry_blocked(self) -> bool:
        return any(parcel.covers(EYE_INSET_M) for parcel in self.parcels)

    @property
    def exit_blocked(self) -> bool:
        eye_m = self.length_m - EYE_INSET_M
        return self._downstream.tail_m <= -EYE_INSET_M or any(parcel.covers(eye_m) for parcel in self.parcels)

    @property
    def load_kg(self) -> float:
        return sum(parcel.weight_kg for parcel in self.parcels)

    @property
    def at_setpoint(self) -> bool:
        return math.isclose(self.speed_m_s * 1000, self.setpoint_mm_s, abs_tol=1.0)

    def jam(self, *, clear_after_s: float | None = None) -> None:
        """Make the next parcel under the exit photo-eye stick there, until `clear` or for `clear_after_s`."""
        self._jam_next = True
        self._clears_in_s = math.inf if clear_after_s is None else clear_after_s

    def clear(self) -> None:
        """Free the stuck parcel and reset the trip, as a person at the machine does."""
        if self.stuck is not None:
            self._ledger.record(Event.FREED, self.name, self.stuck)
        self.stuck = None
        self.jammed = self.tripped = self._jam_next = False
        self._clears_in_s = math.inf
        self._driven_blocked_m = self._overloaded_s = 0.0

    def power_cycle(self) -> None:
        """What the controller has counted is gone."""
        self.counters = Counters()

    def accepts(self, parcel: Parcel) -> bool:
        """Only what fits on the belt whole, and only while it runs and is not jammed."""
        return self.run and not (self.jammed or self.tripped) and self.tail_m >= parcel.length_m + GAP_M

    def take(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)
        self.counters.arrivals += 1

    def step(self, dt_s: float) -> None:
        self.accumulating = bool(self.parcels) and self._nothing_can_move()
        driving = self.run and not self.tripped and not self.accumulating
        self._ramp(self.setpoint_mm_s / 1000 if driving else 0.0, dt_s)
        moved_m = self.speed_m_s * dt_s
        self.counters.distance_m += moved_m
        self._watch_for_jam(moved_m)
        self._carry(moved_m)
        self._draw_current(dt_s)
        if self.stuck is not None:
            self._clears_in_s -= dt_s
            if self._clears_in_s <= 0:
                self.clear()

    def _ramp(self, target_m_s: float, dt_s: float) -> None:
        if self.speed_m_s < target_m_s:
            self.speed_m_s = min(target_m_s, self.speed_m_s + _ACCELERATION_M_S2 * dt_s)
        else:
            self.speed_m_s = max(target_m_s, self.speed_m_s - _BRAKING_M_S2 * dt_s)

    def _carry(self, distance_m: float) -> None:
        """Move every parcel as far as the belt and the one ahead of it allow; hand the first over when it leaves."""
        ahead_m = self.length_m + self._downstream.tail_m
        eye_m = self.length_m - EYE_INSET_M
        for index, parcel in enumerate(tuple(self.parcels)):
            before_m = parcel.front_m
            may_leave = index == 0 and self._may_leave(parcel)
            stop_m = min(ahead_m - GAP_M, math.inf if may_leave else self.length_m)
            if parcel is not self.stuck:
                parcel.front_m = max(before_m, min(before_m + distance_m, stop_m))
            ahead_m = parcel.rear_m
            if before_m < eye_m <= parcel.front_m and self._random.random() < self._jams.chance:
                self.jam(clear_after_s=self._jams.clear_after_s)
            if parcel.front_m > self.length_m:
                self._hand_over(parcel)

    def _hand_over(self, parcel: Parcel) -> None:
        self.parcels.remove(parcel)
        parcel.front_m -= self.length_m
        self.counters.departures += 1
        self.counters.mass_g += round(parcel.weight_kg * 1000)
        self._downstream.take(parcel)

    def _may_leave(self, first: Parcel) -> bool:
        downstream = self._downstream
        return downstream.tail_m >= self._release_gap_m and downstream.accepts(first)

    def _watch_for_jam(self, moved_m: float) -> None:
        first = self.parcels[0] if self.parcels else None
        if first is None or not first.covers(self.length_m - EYE_INSET_M):
            self._driven_blocked_m = 0.0
            return
        if self._jam_next:
            self._jam_next = False
            self.stuck = first
            self._ledger.record(Event.STUCK, self.name, first)
        room_m = self._room_m(first)
        if room_m > _NO_ROOM_M:
            self._driven_blocked_m += min(moved_m, room_m)  # behind a slower one it gets on only as fast as that
            if self._driven_blocked_m > JAM_DISTANCE_M:
                self._report_jam()

    def _report_jam(self) -> None:
        if not self.jammed:
            self.jammed = True
            self.counters.jams += 1

    def _draw_current(self, dt_s: float) -> None:
        target_a = 0.0
        if self.speed_m_s > 0:
            target_a = _IDLE_A + _A_PER_KG_M * self.load_kg / self.length_m
            if self.stuck is not None and self._room_m(self.stuck) > _NO_ROOM_M:
                target_a += _STUCK_A
            target_a += self._random.gauss(0.0, _NOISE_A)
        self.current_a += (target_a - self.current_a) * min(1.0, dt_s / _CURRENT_LAG_S)
        self.temperature_c += (_AMBIENT_C + _C_PER_A2 * self.current_a**2 - self.temperature_c) * dt_s / _WARMING_S
        self._overloaded_s = self._overloaded_s + dt_s if self.current_a > OVERLOAD_A else 0.0
        if self._overloaded_s >= OVERLOAD_S and not self.tripped:
            self.tripped = True
            self._report_jam()

    def _nothing_can_move(self) -> bool:
        if self._room_m(self.parcels[0]) > _NO_ROOM_M:
            return False
        pairs = zip(self.parcels, self.parcels[1:], strict=False)
        return all(leader.rear_m - GAP_M - follower.front_m <= _NO_ROOM_M for leader, follower in pairs)

    def _room_m(self, first: Parcel) -> float:
        """How far the controller would let the first parcel go."""
        end_m = math.inf if self._may_leave(first) else self.length_m
        return min(end_m, self.length_m + self._downstream.tail_m - GAP_M) - first.front_m

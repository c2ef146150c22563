"""A sorter: a belt with chutes along it, into which parcels are diverted by destination. A `faces.SorterFace`.

A parcel whose tag nobody has read, whose destination has no chute, or whose chute is full goes to the last chute. When
that is full too the belt stands until somebody empties it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from simulators.faces import PackCommand, PackState
from simulators.ledger import Event, Ledger
from simulators.machine import GAP_M, Parcel
from simulators.packml import PackMachine

CHUTE_PITCH_M = 1.0
"""From one chute to the next; more than the longest parcel, which so is on the sorter whole before it is diverted."""

STARVED_AFTER_S = 10.0
_ACCELERATION_M_S2 = 1.0
_AT_THE_END_M = 1e-6


@dataclass(frozen=True, slots=True)
class SorterSpec:
    """What is built. Chutes are named for the destinations whose parcels they take; the last takes what is left."""

    name: str
    chutes: Sequence[str]
    chute_capacity: int = 40
    emptied_after_s: float = 30.0
    """How long a chute stays full until somebody empties it."""
    design_speed_m_s: float = 2.0
    speed_m_s: float = 1.5


@dataclass(slots=True)
class Chute:
    """What lies in it, and what it has received since the twin began."""

    name: str
    end_m: float
    capacity: int
    held: int = 0
    received: int = 0
    empties_in_s: float = math.inf

    @property
    def is_full(self) -> bool:
        return self.held >= self.capacity


class Sorter:
    """A `simulators.machine.Machine` at the end of a line. It is delivered executing."""

    def __init__(self, spec: SorterSpec, *, needs_reads: bool, ledger: Ledger) -> None:
        """`needs_reads`: it learns destinations from portals, so it does not know those of unread parcels."""
        self.name = spec.name
        self.design_speed_m_s = spec.design_speed_m_s
        self.speed_setpoint_m_s = spec.speed_m_s
        self.speed_m_s = 0.0
        self.blocked = False
        self.sorted_count = 0
        self.missorted_count = 0
        self.last_destination = ""
        self.parcels: list[Parcel] = []
        """Foremost first."""
        self.held: dict[str, Chute] = {
            name: Chute(name, (number + 1) * CHUTE_PITCH_M, spec.chute_capacity)
            for number, name in enumerate(spec.chutes)
        }
        self._last = self.held[spec.chutes[-1]]
        self._emptied_after_s = spec.emptied_after_s
        self._needs_reads = needs_reads
        self._ledger = ledger
        self._machine = PackMachine()
        self._empty_s = 0.0

    @property
    def state(self) -> PackState:
        return self._machine.state

    @property
    def starved(self) -> bool:
        return self.state is PackState.EXECUTE and self._empty_s >= STARVED_AFTER_S

    @property
    def chutes(self) -> Mapping[str, int]:
        return {chute.name: chute.received for chute in self.held.values()}

    @property
    def full_chutes(self) -> Collection[str]:
        return [chute.name for chute in self.held.values() if chute.is_full]

    def set_speed(self, speed_m_s: float) -> bool:
        if not 0 <= speed_m_s <= self.design_speed_m_s:
            return False
        self.speed_setpoint_m_s = speed_m_s
        return True

    def command(self, command: PackCommand) -> bool:
        if not self._machine.command(command):
            return False
        self._state_changed()
        return True

    def empty(self, chute: str) -> None:
        """Take away what lies in a chute of this sorter."""
        emptied = self.held[chute]
        self._ledger.record(Event.EMPTIED, self.name, chute=chute, parcels=emptied.held)
        emptied.held = 0
        emptied.empties_in_s = math.inf

    @property
    def tail_m(self) -> float:
        return self.parcels[-1].rear_m if self.parcels else math.inf

    def accepts(self, parcel: Parcel) -> bool:  # noqa: ARG002 - any parcel fits a sorter
        return self.state is PackState.EXECUTE and not self.blocked and self.tail_m >= GAP_M

    def take(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)

    def step(self, dt_s: float) -> None:
        if self._machine.step(dt_s):
            self._state_changed()
        for chute in self.held.values():
            if chute.is_full:
                chute.empties_in_s -= dt_s
                if chute.empties_in_s <= 0:
                    self.empty(chute.name)
        self._carry(dt_s)
        self._empty_s = 0.0 if self.parcels else self._empty_s + dt_s

    def _carry(self, dt_s: float) -> None:
        first = self.parcels[0] if self.parcels else None
        self.blocked = first is not None and first.front_m >= self._last.end_m - _AT_THE_END_M and self._last.is_full
        if self.state is not PackState.EXECUTE or self.blocked:
            self.speed_m_s = 0.0
            return
        self.speed_m_s = min(self.speed_setpoint_m_s, self.speed_m_s + _ACCELERATION_M_S2 * dt_s)
        if not self.parcels:
            return
        moved_m = self.speed_m_s * dt_s
        if first is not None and self._last.is_full:
            moved_m = min(moved_m, self._last.end_m - first.front_m)
        staying = []
        for parcel in self.parcels:
            parcel.front_m += moved_m
            if not self._divert(parcel, moved_m):
                staying.append(parcel)
        self.parcels = staying

    def _divert(self, parcel: Parcel, moved_m: float) -> bool:
        """Put `parcel` into a chute if it has just come to its own, or is at the last; whether it is gone."""
        unread = self._needs_reads and not parcel.is_read
        wanted = None if unread else self.held.get(parcel.destination)
        if wanted is not None and not wanted.is_full and parcel.front_m - moved_m < wanted.end_m <= parcel.front_m:
            self._sort(parcel, wanted)
            return True
        if parcel.front_m < self._last.end_m - _AT_THE_END_M or self._last.is_full:
            return False
        if wanted is self._last:
            self._sort(parcel, wanted)
        else:
            self._missort(parcel, "unread" if unread else "unknown" if wanted is None else "full")
        return True

    def _sort(self, parcel: Parcel, chute: Chute) -> None:
        self.sorted_count += 1
        self._drop(chute)
        self._ledger.record(Event.SORTED, self.name, parcel, chute=chute.name)

    def _missort(self, parcel: Parcel, reason: str) -> None:
        self.missorted_count += 1
        chute = self._last
        self._drop(chute)
        self._ledger.record(
            Event.MISSORTED, self.name, parcel, chute=chute.name, destination=parcel.destination, reason=reason
        )

    def _drop(self, chute: Chute) -> None:
        chute.held += 1
        chute.received += 1
        if chute.is_full:
            chute.empties_in_s = self._emptied_after_s
        self.last_destination = chute.name

    def _state_changed(self) -> None:
        self._ledger.record(Event.STATE, self.name, state=self.state.name)

"""The one ROSpec of the reader through its life: Disabled, Inactive, Active, round by round. Pure: time is handed in.

A ROSpec with the start trigger Immediate starts when it is enabled, and again whenever it has come to its end by
itself: its trigger is always met. The standard's text leaves that open; clients such as sllurp, which end an AISpec at
a number of tags, rely on it. STOP_ROSPEC leaves it Inactive until it is started.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from simulators.faces import PortalFace
from simulators.llrp.reports import Origin, TagReport
from simulators.llrp.rospec import AiSpec, RoSpec, Start, State
from simulators.llrp.selection import settings_of, takes_part
from simulators.llrp.settings import ReaderSettings


class Watcher(Protocol):
    """Who is told what happens, in the order in which it does."""

    def started(self, rospec: RoSpec) -> None: ...

    def seen(self, tag: TagReport) -> None: ...

    def ai_spec_ended(self, rospec: RoSpec, spec_index: int) -> None: ...

    def ended(self, rospec: RoSpec) -> None: ...


@dataclass(slots=True)
class _AiRun:
    """The AISpec that is on."""

    index: int
    since_s: float
    new_tag_at_s: float
    observations: int = 0
    rounds: int = 0


class Run:
    """`advance` must be called at `due_s`."""

    def __init__(
        self, rospec: RoSpec, *, face: PortalFace, round_s: float, watcher: Watcher, utc_us: Callable[[], int]
    ) -> None:
        self.rospec = rospec
        self.state = State.DISABLED
        self._face = face
        self._round_s = round_s
        self._watcher = watcher
        self._utc_us = utc_us
        self._starts_at_s: float | None = None
        self._since_s = 0.0
        self._next_round_s = 0.0
        self._ai: _AiRun | None = None
        self._known: set[bytes] = set()

    @property
    def due_s(self) -> float | None:
        """When something happens next; None when only a client can make it happen."""
        if self._ai is None:
            return self._starts_at_s
        return min(self._next_round_s, self._ends_at_s(self._ai))

    def enable(self, now_s: float) -> None:
        if self.state is not State.DISABLED:
            return
        self.state = State.INACTIVE
        start = self.rospec.start
        if start.kind is Start.IMMEDIATE:
            self.start(now_s)
        elif start.kind is Start.PERIODIC:
            self._starts_at_s = self._first_start(now_s)

    def disable(self) -> None:
        self.stop()
        self.state = State.DISABLED
        self._starts_at_s = None

    def start(self, now_s: float) -> None:
        """Nothing happens to one that is Active already."""
        if self.state is not State.INACTIVE:
            return
        self.state = State.ACTIVE
        self._since_s = self._next_round_s = now_s
        self._watcher.started(self.rospec)
        self._begin(0, now_s)

    def stop(self) -> None:
        """Nothing happens to one that is not Active."""
        if self._ai is None:
            return
        index, self._ai = self._ai.index, None
        self.state = State.INACTIVE
        self._watcher.ai_spec_ended(self.rospec, index + 1)
        self._watcher.ended(self.rospec)

    def advance(self, now_s: float, *, settings: ReaderSettings, lost: Collection[int]) -> None:
        """Let happen what is due. Rounds that time has passed over are not made up for. `lost` antennas see nothing."""
        if self._ai is None:
            self._start_when_due(now_s)
        if self._ai is not None and now_s >= self._next_round_s:
            self._inventory(self._ai, now_s, settings, lost)
            self._next_round_s += self._round_s
            if self._next_round_s <= now_s:
                self._next_round_s = now_s + self._round_s
        while self._ai is not None and now_s >= self._ends_at_s(self._ai):
            self._end_of(self._ai, now_s)

    def _start_when_due(self, now_s: float) -> None:
        if self._starts_at_s is None or now_s < self._starts_at_s:
            return
        period_s = self.rospec.start.period_ms / 1000
        if self.rospec.start.kind is Start.PERIODIC and period_s:
            missed = (now_s - self._starts_at_s) // period_s
            self._starts_at_s += (missed + 1) * period_s
        else:
            self._starts_at_s = None
        self.start(now_s)

    def _inventory(self, ai: _AiRun, now_s: float, settings: ReaderSettings, lost: Collection[int]) -> None:
        spec = self._spec(ai)
        antennas = [antenna for antenna in spec.antennas if antenna not in lost]
        filters = {
            antenna: settings_of(antenna, spec.settings, settings.antennas).filters or () for antenna in antennas
        }
        ai.rounds += 1
        seen_us = self._utc_us()
        for sighting in self._face.inventory(antennas) if antennas else ():
            if sighting.antenna not in filters or not takes_part(sighting.epc, filters[sighting.antenna]):
                continue
            ai.observations += 1
            if sighting.epc not in self._known:
                self._known.add(sighting.epc)
                ai.new_tag_at_s = now_s
            origin = Origin(self.rospec.id, ai.index + 1, spec.parameter_spec, sighting.antenna)
            self._watcher.seen(
                TagReport(sighting.epc, origin, sighting.rssi_dbm, sighting.channel, first_us=seen_us, last_us=seen_us)
            )

    def _begin(self, index: int, now_s: float) -> None:
        self._known.clear()
        self._ai = _AiRun(index, since_s=now_s, new_tag_at_s=now_s)

    def _end_of(self, ai: _AiRun, now_s: float) -> None:
        last = ai.index + 1 == len(self.rospec.ai_specs)
        if last or now_s >= self._rospec_ends_at_s():
            self.stop()
            if self.rospec.start.kind is Start.IMMEDIATE:
                self._starts_at_s = max(self._next_round_s, now_s)
            return
        self._watcher.ai_spec_ended(self.rospec, ai.index + 1)
        self._begin(ai.index + 1, now_s)

    def _ends_at_s(self, ai: _AiRun) -> float:
        """When the AISpec ends; now and before when what was seen has ended it."""
        stop = self._spec(ai).stop
        if stop.observations is not None and ai.observations >= stop.observations:
            return self._since_s
        if stop.rounds is not None and ai.rounds >= stop.rounds:
            return self._since_s
        ends_s = self._rospec_ends_at_s()
        if stop.after_ms is not None:
            ends_s = min(ends_s, ai.since_s + stop.after_ms / 1000)
        if stop.quiet_ms is not None:
            ends_s = min(ends_s, ai.new_tag_at_s + stop.quiet_ms / 1000)
        return ends_s

    def _rospec_ends_at_s(self) -> float:
        after_ms = self.rospec.stop_after_ms
        return float("inf") if after_ms is None else self._since_s + after_ms / 1000

    def _spec(self, ai: _AiRun) -> AiSpec:
        return self.rospec.ai_specs[ai.index]

    def _first_start(self, now_s: float) -> float:
        trigger = self.rospec.start
        first_s = now_s + trigger.offset_ms / 1000
        if trigger.utc_us is not None:
            first_s += (trigger.utc_us - self._utc_us()) / 1e6
        if first_s < now_s and trigger.period_ms:
            period_s = trigger.period_ms / 1000
            first_s += -((first_s - now_s) // period_s) * period_s
        return max(first_s, now_s)

"""Any sequence of reading, setting the clock, restarting and rebooting: ages and times stay true, and times stay."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drivers.model import Point, PointGroup, Reading
from gateway.buffer.eras import CLOCK_UNSET, CLOCK_UNSET_BEFORE_NS, Eras
from gateway.buffer.timekeeping import STEP_NS, Timekeeper
from gateway.clock import Clock

GROUP = PointGroup("device", 1.0, (Point("a"),))
DAY_S = 86_400
START_NS = 1_800_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """A reading, and when it was truly taken."""

    reading: Reading
    boot: int
    boot_ns: int
    by_gateway: bool


class ClockMachine(RuleBasedStateMachine):
    @initialize(is_set=st.booleans())
    def start(self, is_set: bool) -> None:
        self.boot = 1
        self.boot_ns = 10**9
        self.offset_ns = START_NS if is_set else 0
        self.is_kept = False
        self.taken: list[Taken] = []
        self.shown: dict[int, set[int]] = {}
        """By boot: every difference of the clocks under which the wall clock can have been set."""
        self.told: dict[int, int] = {}
        """The time of each reading since it is known, by its position."""
        self.open(Eras(), newest_ns=0)

    def open(self, eras: Eras, *, newest_ns: int) -> None:
        clock = Clock(
            wall_ns=lambda: self.boot_ns + self.offset_ns,
            boot_ns=lambda: self.boot_ns,
            is_synchronised=lambda: self.is_kept,
            boot_id=str(self.boot),
        )
        self.keeper = Timekeeper(clock, eras, newest_ns=newest_ns)
        self.note_offset()

    def note_offset(self) -> None:
        if self.boot_ns + self.offset_ns >= CLOCK_UNSET_BEFORE_NS:
            self.shown.setdefault(self.boot, set()).add(self.offset_ns)

    def commit(self) -> None:
        """What the writer does when the queue is empty."""
        newest = self.keeper.eras.newest
        if newest is None or not newest.is_same_clock(self.keeper.present):
            era = self.keeper.resolved(self.keeper.present)
            self.keeper.eras.begin(len(self.taken) + 1, era, ended_boot_ns=self.keeper.ended_boot_ns)

    def append(self, reading: Reading, *, boot_ns: int, by_gateway: bool = True) -> None:
        self.keeper.era()
        reading = self.keeper.by_present_clock(reading)
        self.commit()
        self.taken.append(Taken(reading, self.boot, boot_ns, by_gateway))

    def reading(self) -> Reading:
        return Reading(GROUP, self.boot_ns + self.offset_ns, (1.5,))

    @rule(seconds=st.floats(0.0, 1000.0))
    def time_passes(self, seconds: float) -> None:
        self.boot_ns += int(seconds * 1e9)

    @rule()
    def read(self) -> None:
        self.append(self.reading(), boot_ns=self.boot_ns)

    @rule()
    def read_what_a_device_has_dated(self) -> None:
        in_2100 = Reading(GROUP, 4_102_444_800_000_000_000, (1.5,))
        self.append(in_2100, boot_ns=self.boot_ns, by_gateway=False)

    @rule(seconds=st.sampled_from([0.3, -0.3, 2.0, -2.0, 3600.0, -3600.0, 30.0 * DAY_S, -30.0 * DAY_S]))
    def clock_is_stepped(self, seconds: float) -> None:
        self.offset_ns += int(seconds * 1e9)
        self.note_offset()

    @rule()
    def clock_falls_back(self) -> None:
        self.offset_ns = 0

    @rule()
    def clock_is_set(self) -> None:
        self.offset_ns = max(self.offset_ns, START_NS)
        self.note_offset()

    @rule()
    def clock_is_set_while_something_is_read(self) -> None:
        self.read()  # two steps between two readings cannot be told apart
        late, late_ns = self.reading(), self.boot_ns
        self.boot_ns += 10**6
        self.clock_is_set()
        self.append(late, boot_ns=late_ns)

    @rule(is_kept=st.booleans())
    def somebody_keeps_the_clock_or_does_not(self, is_kept: bool) -> None:
        self.is_kept = is_kept

    @rule()
    def second_passes(self) -> None:
        self.keeper.look()
        self.commit()

    @rule()
    def gateway_is_restarted(self) -> None:
        self.open(Eras(list(self.keeper.eras)), newest_ns=self.keeper.newest_ns)

    @rule(saved_s=st.sampled_from([None, 0.0, -DAY_S, 60.0]))
    def machine_is_restarted(self, saved_s: float | None) -> None:
        """Without a clock of its own, or with one that goes on from about the last time."""
        wall_ns, newest_ns = self.boot_ns + self.offset_ns, self.keeper.newest_ns
        self.boot += 1
        self.boot_ns, self.is_kept = 10**9, False
        self.offset_ns = 0 if saved_s is None else wall_ns + int(saved_s * 1e9)
        self.open(Eras(list(self.keeper.eras)), newest_ns=newest_ns)

    @invariant()
    def ages_within_a_boot_are_exact(self) -> None:
        for position, one in enumerate(self.taken, start=1):
            if one.boot == self.boot and one.by_gateway:
                age_ns = self.keeper.age_ns(position, one.reading.observed_at_ns)
                assert age_ns is not None
                assert abs(age_ns - (self.boot_ns - one.boot_ns)) <= STEP_NS

    @invariant()
    def times_are_marked_or_true_and_never_change(self) -> None:
        for position, one in enumerate(self.taken, start=1):
            dated = self.keeper.eras.at(position).dated(one.reading)
            if not one.by_gateway:
                assert dated == one.reading
            elif dated.quality:
                assert dated.quality == {0: CLOCK_UNSET}
                assert dated.observed_at_ns == one.reading.observed_at_ns
                assert position not in self.told
            else:
                offset_ns = dated.observed_at_ns - one.boot_ns
                assert any(abs(offset_ns - shown) <= STEP_NS for shown in self.shown[one.boot])
                assert self.told.setdefault(position, dated.observed_at_ns) == dated.observed_at_ns

    @invariant()
    def nothing_of_a_boot_is_marked_once_its_clock_is_set(self) -> None:
        newest = self.keeper.eras.newest
        if newest is not None and newest.boot_id == str(self.boot) and newest.correction_ns == 0:
            eras = [era for _, era in self.keeper.eras if era.boot_id == newest.boot_id]
            assert all(era.correction_ns is not None for era in eras)

    @invariant()
    def doubt_ends_where_every_reading_is_as_it_was_written(self) -> None:
        for position, one in enumerate(self.taken, start=1):
            if position >= self.keeper.eras.certain_from:
                assert self.keeper.eras.at(position).dated(one.reading) is one.reading


TestClock = ClockMachine.TestCase
TestClock.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)

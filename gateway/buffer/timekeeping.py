"""The wall clock while the buffer is open: which era readings belong to, when it was set, and how old readings are.

Set or not: a clock before 2020 is not set. Nor is one that after a start of the machine is behind the newest time that
the buffer knows while nobody keeps it right: without a battery it goes on from a time that was saved at some point.
Once it was set in a boot, it is believed for the rest of it unless it says that it is before 2020.

Age: within a boot by the boot clock, which nobody sets. The age of what an earlier boot has left depends on the wall
clock. It counts as soon as somebody keeps it right, and of what it has shown from then on the earliest, so that a jump
ahead makes nothing old. Until then no time has passed between the newest that is known and the start of the gateway.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from drivers.model import Reading
from gateway.buffer.eras import CLOCK_UNSET_BEFORE_NS, Era, Eras
from gateway.clock import Clock, utc_text

_log = logging.getLogger(__name__)

STEP_NS = 1_000_000_000
"""A smaller change of the clock is no new era."""
BEHIND_NS = 300_000_000_000
"""How far a clock may be behind after a start: real-time clocks are set rarely and drift."""
_LATE_NS = 2_000_000_000  # so long after the clock was stepped readings may come with times from before
_LATE_AFTER_UNSET_NS = 3_600_000_000_000  # such times can hardly be those of a device


class Timekeeper:
    """Watches the wall clock. `eras` are those of what is committed; `present` may not be among them yet."""

    def __init__(self, clock: Clock, eras: Eras, *, newest_ns: int) -> None:
        """`newest_ns`: wall time; the clock was set and has said so before the buffer was opened."""
        self.eras = eras
        self._clock = clock
        self._newest_ns = newest_ns
        self._former: Era | None = None
        self._stepped_boot_ns = 0
        known = [era for _, era in eras if era.boot_id == clock.boot_id]
        true_ns = [era.true_offset_ns for era in known if era.true_offset_ns is not None]
        self._true_offset_ns = true_ns[-1] if true_ns else None
        self._is_kept = False
        self._least_offset_ns = newest_ns - clock.boot_ns() if newest_ns else None  # it is later, but by how much?
        self._earliest_offset_ns = min(true_ns, default=None)
        goes_on = known and known[-1] is eras.newest
        self.present = known[-1] if goes_on else self._begin(clock.offset_ns())
        if not self._was_stepped() and self.present.correction_ns != 0:
            self._tell_unset()

    @property
    def newest_ns(self) -> int:
        """The newest wall time of a clock that was set."""
        return self._clock.wall_ns() if self.present.correction_ns == 0 else self._newest_ns

    @property
    def ended_boot_ns(self) -> int:
        """For an era that ends now: see `Era`. The clock may have been set by less than a step meanwhile."""
        return self._clock.boot_ns() + STEP_NS

    def era(self) -> Era:
        """That of a reading that is taken now."""
        offset_ns = self._clock.wall_ns() - self._clock.boot_ns()
        if abs(offset_ns - self.present.offset_ns) > STEP_NS:
            self._was_stepped()
        return self.present

    def look(self) -> None:
        """To be called about once a second: the clock may be set while nothing is read, or be found to be right."""
        self._was_stepped()
        if not self._is_kept and self._clock.is_synchronised():
            self._is_kept = True
            self._earliest_offset_ns = self.present.true_offset_ns
        wall_ns = self._clock.wall_ns()
        if (
            self.present.correction_ns is None
            and wall_ns >= CLOCK_UNSET_BEFORE_NS
            and self._clock.is_synchronised()  # of itself it does not become right by running on
        ):
            self.present = self._begin(self.present.offset_ns)
            _log.info("the clock has been set: it was right after all, and is kept so now: %s", utc_text(wall_ns))

    def by_present_clock(self, reading: Reading) -> Reading:
        """A reading that was taken just before the clock was set, with the time that it would have now."""
        if self._former is None or not self._former.told(reading.observed_at_ns):
            return reading
        boot_ns = self._clock.boot_ns()
        if boot_ns - self._stepped_boot_ns > (_LATE_NS if self._former.correction_ns == 0 else _LATE_AFTER_UNSET_NS):
            self._former = None
            return reading
        before_ns = abs(boot_ns + self._former.offset_ns - reading.observed_at_ns)
        if before_ns >= abs(boot_ns + self.present.offset_ns - reading.observed_at_ns):
            return reading
        step_ns = self.present.offset_ns - self._former.offset_ns
        return replace(reading, observed_at_ns=reading.observed_at_ns + step_ns)

    def resolved(self, era: Era) -> Era:
        """An era of this boot, corrected if what it lacks has become known."""
        if era.correction_ns is not None or self._true_offset_ns is None:
            return era
        return era.corrected(self._true_offset_ns, ended_boot_ns=self.ended_boot_ns)

    def age_ns(self, position: int, observed_at_ns: int) -> int | None:
        """How old a committed reading is; None when nobody knows."""
        era, boot_ns = self.eras.at(position), self._clock.boot_ns()
        told = era.told(observed_at_ns)
        if told and era.boot_id == self._clock.boot_id:
            return boot_ns + era.offset_ns - observed_at_ns
        correction_ns = era.correction_ns if told else 0
        if self._earliest_offset_ns is None or correction_ns is None:
            return None
        taken_ns = observed_at_ns + correction_ns
        return None if taken_ns < CLOCK_UNSET_BEFORE_NS else boot_ns + self._earliest_offset_ns - taken_ns

    def since_ns(self, boot_id: str, boot_ns: int) -> int | None:
        """How long ago it was that the boot clock of this boot said so much: at least so long when it was another one;
        None when nobody knows."""
        now_ns = self._clock.boot_ns()
        if boot_id == self._clock.boot_id:
            return now_ns - boot_ns
        true_ns = [era.true_offset_ns for _, era in self.eras if era.boot_id == boot_id]
        known_ns = [one for one in true_ns if one is not None]
        if self._earliest_offset_ns is None or not known_ns:
            return None
        offset_ns = self._earliest_offset_ns
        if self._least_offset_ns is not None and not self._is_kept:
            offset_ns = min(offset_ns, self._least_offset_ns)
        return now_ns + offset_ns - (boot_ns + max(known_ns))

    def _was_stepped(self) -> bool:
        """Take note of it if the clock was stepped."""
        offset_ns, before = self._clock.offset_ns(), self.present
        step_ns = offset_ns - before.offset_ns
        if abs(step_ns) <= STEP_NS:
            return False
        boot_ns = self._clock.boot_ns()
        if before.correction_ns == 0:
            self._newest_ns = boot_ns + before.offset_ns
        self._former, self._stepped_boot_ns = before, boot_ns
        self.present = self._begin(offset_ns)
        was_set, is_set = before.correction_ns == 0, self.present.correction_ns == 0
        now = utc_text(boot_ns + offset_ns)
        if is_set and not was_set:
            _log.info(
                "the clock has been set: it was stepped by %.1f s, to %s; readings that are still here and were taken "
                "since the machine started get their true times",
                step_ns / 1e9,
                now,
            )
        else:
            _log.warning("the clock was stepped by %.1f s, to %s", step_ns / 1e9, now)
        if was_set and not is_set:
            self._tell_unset()
        return True

    def _begin(self, offset_ns: int) -> Era:
        if self._is_set(offset_ns):
            self._true_offset_ns = offset_ns
            earliest_ns = self._earliest_offset_ns
            self._earliest_offset_ns = offset_ns if earliest_ns is None else min(offset_ns, earliest_ns)
            return Era(self._clock.boot_id, offset_ns, 0)
        lacks_ns = None if self._true_offset_ns is None else self._true_offset_ns - offset_ns
        return Era(self._clock.boot_id, offset_ns, lacks_ns)

    def _is_set(self, offset_ns: int) -> bool:
        wall_ns = self._clock.boot_ns() + offset_ns
        if wall_ns < CLOCK_UNSET_BEFORE_NS:
            return False
        believed = self._true_offset_ns is not None or wall_ns >= self._newest_ns - BEHIND_NS
        return believed or self._clock.is_synchronised()

    def _tell_unset(self) -> None:
        if self.present.correction_ns is not None:
            worth = "readings get the time that it had before"
        else:
            worth = "readings are uncertain:clock-unset until it is set"
        _log.warning(
            "the clock is not set: it says %s; %s; let chrony or systemd-timesyncd set it",
            utc_text(self._clock.wall_ns()),
            worth,
        )

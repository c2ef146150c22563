"""One device of a link: its breaker, its report filters, its facts and its edges in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from drivers.contract import BadResponse, DriverError
from drivers.model import Level, PointGroup, Reading, Reason, all_bad
from drivers.settings import DeviceSettings, Priority
from gateway.backoff import Backoff
from gateway.health import DeviceHealth
from gateway.report import Reporter, merged
from gateway.schedule import Due

log = logging.getLogger(__package__)


FAILURES_IN_A_ROW = 3
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
_REASONS = frozenset(reason.value for reason in Reason)


class Sink(Protocol):
    """Where readings go; the buffer is one."""

    def append(self, reading: Reading, *, priority: Priority) -> None: ...


class Device:
    """One device's breaker, report filters and facts; logs its edges, not its level."""

    def __init__(
        self, settings: DeviceSettings, groups: Sequence[PointGroup], *, sink: Sink, health: DeviceHealth
    ) -> None:
        self.health = health
        self.failures = 0
        self._settings = settings
        self._groups = groups
        self._sink = sink
        self._reporters = {
            group: Reporter(group, report=settings.report, heartbeat_s=settings.heartbeat) for group in groups
        }
        self._backoff = Backoff(first_s=FIRST_RETRY_S, longest_s=LONGEST_RETRY_S)
        self._known_bad: set[PointGroup] = set()
        self._probe_at_s: float | None = None
        self._down_since_s: float | None = None

    def may_read(self, due: Due, *, now_s: float) -> bool:
        """Whether to use this tick: always while the breaker is closed, else only when a probe is due."""
        if self._probe_at_s is None:
            self.health.missed += due.missed
            self.health.lateness_seconds.observe(due.lateness_s)
            return True
        return now_s >= self._probe_at_s

    def answered(self, reading: Reading, *, took_s: float, due: Due, now_s: float) -> None:
        health = self.health
        health.read_seconds.observe(took_s)
        health.readings += 1
        health.values += len(reading.values) - len(reading.quality)
        if self.failures or not health.up:
            self.came_up(now_s)
        self._known_bad.discard(due.group)
        self._report(reading, now_s=now_s)

    def spoke(self, reading: Reading, *, now_s: float) -> bool:
        """A reading that came unasked, perhaps without the points that have not changed. Whether any of it is usable.

        Raises KeyError or ValueError, both a bug of the driver, for a reading that is of no group of this device.
        """
        group, health = reading.group, self.health
        state = reading if group.events else merged(health.last.get(group), reading)
        kept = self._reporters[group].reportable_part(reading, state, now_s=now_s)
        health.last[group] = state
        health.readings += 1
        health.values += len(reading.values) - reading.values.count(None)
        self._known_bad.discard(group)
        if kept is not None:
            self._sink.append(kept, priority=self._settings.priority)
        usable = not _all_bad(reading)
        if not usable:
            reason = next(iter(reading.quality.values())).reason
            health.errors[reason if reason in _REASONS else Reason.BAD_RESPONSE.value] += 1
        return usable

    def repeat_states(self, *, now_ns: int, now_s: float) -> float:
        """Report again, complete and as of now, what has not been for a heartbeat. Returns when to call next."""
        next_s = now_s + self._settings.heartbeat
        for group, state in self.health.last.items():
            reporter = self._reporters[group]
            if group.events or group in self._known_bad:
                continue
            if now_s >= reporter.all_due_s:
                repeated = Reading(group, now_ns, state.values, state.quality)
                reporter.reportable_part(repeated, repeated, now_s=now_s)
                self._sink.append(repeated, priority=self._settings.priority)
            next_s = min(next_s, reporter.all_due_s)
        return next_s

    def failed(self, error: BadResponse, group: PointGroup, *, now_ns: int, now_s: float) -> None:
        """One reading of `group` failed; trips the breaker when that is final enough."""
        self.health.errors[error.reason.value] += 1
        self.failures += 1
        self._report_bad(group, error.reason, now_ns=now_ns, now_s=now_s)
        gives_up = error.reason in (Reason.TIMEOUT, Reason.DRIVER_FAULT) or self.failures >= FAILURES_IN_A_ROW
        if gives_up:
            self._probe_at_s = now_s + self._backoff.next_s()
            self._went_down(error, now_ns=now_ns, now_s=now_s)
        elif self.failures == 1 and self._down_since_s is None:
            log.warning("%s: %s", self._settings.name, error, extra={"device": self._settings.name})

    def lost(self, error: DriverError, *, now_ns: int, now_s: float) -> None:
        """The link went, and the device with it. The next session may try it at once."""
        self.health.errors[error.reason.value] += 1
        self.failures = 0
        self._probe_at_s = None
        self._went_down(error, now_ns=now_ns, now_s=now_s)

    def came_up(self, now_s: float) -> None:
        """It answers, or its link is open and it speaks unasked."""
        if self._down_since_s is not None:
            log.warning(
                "%s is up again after %.1f s",
                self._settings.name,
                now_s - self._down_since_s,
                extra={"device": self._settings.name},
            )
        elif not self.health.up:
            log.info("%s is up", self._settings.name, extra={"device": self._settings.name})
        self.failures = 0
        self._probe_at_s = None
        self._down_since_s = None
        self._backoff.reset()
        self.health.up = True
        self.health.reason = self.health.detail = ""

    def _went_down(self, error: DriverError, *, now_ns: int, now_s: float) -> None:
        self.health.up = False
        self.health.reason = error.reason
        self.health.detail = str(error)
        if self._down_since_s is not None:
            return
        self._down_since_s = now_s
        log.warning(
            "%s is down: %s",
            self._settings.name,
            error,
            exc_info=error.__cause__ if error.reason is Reason.DRIVER_FAULT else None,
            extra={"device": self._settings.name, "reason": str(error.reason)},
        )
        for group in self._groups:
            self._report_bad(group, error.reason, now_ns=now_ns, now_s=now_s)

    def _report_bad(self, group: PointGroup, reason: str, *, now_ns: int, now_s: float) -> None:
        """Say once that nothing of `group` can be read; until it can, there is nothing to add."""
        if group not in self._known_bad:
            self._known_bad.add(group)
            self._report(all_bad(group, now_ns, reason), now_s=now_s)

    def _report(self, reading: Reading, *, now_s: float) -> None:
        self.health.last[reading.group] = reading
        reported = self._reporters[reading.group].reportable(reading, now_s=now_s)
        if reported is not None:
            self._sink.append(reported, priority=self._settings.priority)


def _all_bad(reading: Reading) -> bool:
    """Whether it carries something, and every point that it carries is bad."""
    return bool(reading.quality) and all(
        value is None and (index not in reading.quality or reading.quality[index].level is Level.BAD)
        for index, value in enumerate(reading.values)
    )

"""One device of a link: its breaker, its report filters, its facts and its edges in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from drivers.contract import BadResponse, DriverError
from drivers.model import Level, PointGroup, Reading, Reason, all_bad
from drivers.settings import DeviceSettings, Priority
from gateway.acquire.breaker import Breaker
from gateway.health import DeviceHealth
from gateway.report import Reporter, merged
from gateway.schedule import Due

log = logging.getLogger(__package__)

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
        self._settings = settings
        self._groups = groups
        self._sink = sink
        self._reporters = {
            group: Reporter(group, report=settings.report, heartbeat_s=settings.heartbeat) for group in groups
        }
        self._breaker = Breaker(groups)
        self._down_since_s: float | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing of it answers, and that has been tried often enough to suspect the link."""
        return self._breaker.is_exhausted

    def to_read(self, due: Due, *, now_s: float) -> PointGroup | None:
        """What to read at this tick: its group as a rule, and what `Breaker` says while that is not read as ever."""
        if self._breaker.may_read(due.group):
            self.health.missed += due.missed
            self.health.lateness_seconds.observe(due.lateness_s)
            return due.group
        return self._breaker.probe(due.group, now_s=now_s)

    def answered(self, reading: Reading, group: PointGroup, *, took_s: float, now_s: float) -> None:
        """A read of `group` gave `reading`."""
        health = self.health
        health.read_seconds.observe(took_s)
        health.readings += 1
        health.values += len(reading.values) - len(reading.quality)
        bad_since_s = self._breaker.answered(group)
        if not health.up:
            self.came_up(now_s)
        elif bad_since_s is not None:
            log.warning(
                "%s is read again after %.1f s",
                group,
                now_s - bad_since_s,
                extra={"device": self._settings.name},
            )
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
        self._breaker.answered(group)
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
            if group.events or self._breaker.is_bad(group):
                continue
            if now_s >= reporter.all_due_s:
                repeated = Reading(group, now_ns, state.values, state.quality)
                reporter.reportable_part(repeated, repeated, now_s=now_s)
                self._sink.append(repeated, priority=self._settings.priority)
            next_s = min(next_s, reporter.all_due_s)
        return next_s

    def not_asked(self) -> None:
        """A read did not take place, for no fault of the device."""
        self.health.missed += 1

    def failed(self, error: BadResponse, group: PointGroup, *, now_ns: int, now_s: float) -> None:
        """A read of `group` failed. When that was the last group that might have answered, the device is down."""
        self.health.errors[error.reason.value] += 1
        is_news = not self._breaker.is_bad(group)
        self._breaker.failed(group, error.reason, now_s=now_s)
        if is_news:
            self._report(all_bad(group, now_ns, error.reason), now_s=now_s)
        if self._breaker.is_down:
            self._went_down(error, now_s=now_s)
        elif is_news and self._down_since_s is None:
            log.warning(
                "%s: %s",
                self._settings.name,
                error,
                exc_info=_traceback(error),
                extra={"device": self._settings.name},
            )

    def lost(self, error: DriverError, *, now_ns: int, now_s: float) -> None:
        """The link went, and the device with it. The next session may try it at once."""
        self.health.errors[error.reason.value] += 1
        news = [group for group in self._groups if not self._breaker.is_bad(group)]
        self._breaker.lost(now_s=now_s)
        self._went_down(error, now_s=now_s)
        for group in news:
            self._report(all_bad(group, now_ns, error.reason), now_s=now_s)

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
        self._down_since_s = None
        self.health.up = True
        self.health.reason = self.health.detail = ""

    def _went_down(self, error: DriverError, *, now_s: float) -> None:
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
            exc_info=_traceback(error),
            extra={"device": self._settings.name, "reason": str(error.reason)},
        )

    def _report(self, reading: Reading, *, now_s: float) -> None:
        self.health.last[reading.group] = reading
        reported = self._reporters[reading.group].reportable(reading, now_s=now_s)
        if reported is not None:
            self._sink.append(reported, priority=self._settings.priority)


def _traceback(error: DriverError) -> BaseException | None:
    return error.__cause__ if error.reason is Reason.DRIVER_FAULT else None


def _all_bad(reading: Reading) -> bool:
    """Whether it carries something, and every point that it carries is bad."""
    return bool(reading.quality) and all(
        value is None and (index not in reading.quality or reading.quality[index].level is Level.BAD)
        for index, value in enumerate(reading.values)
    )

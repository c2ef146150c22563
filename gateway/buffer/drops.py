"""Loss, accounted for: every dropped reading is counted, every episode of loss is logged at its edges and remembered.

An episode is a run of drops for one reason. It is logged as an ERROR when it begins and every hour that it goes on, and
as an INFO with its totals when its cause is gone, and it is one row of the table `dropped`, which outlives the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from gateway.health import BufferHealth

_log = logging.getLogger(__name__)

_TELL_EVERY_S = 3600.0


class DropReason(StrEnum):
    """Why readings were lost; the `reason` label of `buffer_dropped_readings_total`."""

    MAX_BYTES = "max-bytes"
    MIN_FREE_DISK = "min-free-disk"
    THINNED = "thinned"
    MAX_AGE = "max-age"
    MEMORY = "memory"
    NOT_ENCODABLE = "not-encodable"
    DAMAGED = "damaged"
    DESTINATION_REMOVED = "destination-removed"
    SET_ASIDE_FULL = "set-aside-full"
    SHUTDOWN = "shutdown"


_ADVICE = {
    DropReason.MAX_BYTES: "the buffer has reached max_bytes: bring the destinations back, or raise buffer.max_bytes",
    DropReason.MIN_FREE_DISK: "the disk is down to min_free_disk: free some space, or lower buffer.min_free_disk",
    DropReason.THINNED: "the buffer is full, and keeps every n-th of the readings that were polled: bring the "
    "destinations back, or raise buffer.max_bytes",
    DropReason.MAX_AGE: "they are older than max_age: bring the destinations back, or raise buffer.max_age",
    DropReason.MEMORY: "the database does not accept commits and memory is full: see the error before this one",
    DropReason.NOT_ENCODABLE: "a value cannot be written as JSON (beyond 64 bits, broken Unicode): a driver fault",
    DropReason.DAMAGED: "the database was damaged: check the disk it is on",
    DropReason.DESTINATION_REMOVED: "their only destination is no longer in the configuration",
    DropReason.SET_ASIDE_FULL: "a destination refused too many readings: look at `hub-gateway buffer set-aside`",
    DropReason.SHUTDOWN: "the database did not accept them before the gateway stopped",
}


@dataclass(frozen=True, slots=True)
class Loss:
    """Readings that are gone, when they were taken (ns since 1970 UTC), and between which positions they were; None:
    they had none yet."""

    readings: int
    first_observed_ns: int
    last_observed_ns: int
    first_position: int | None = None
    last_position: int | None = None

    @staticmethod
    def of(observed_ns: Sequence[int]) -> Loss:
        """At least one reading that was not committed, by their times."""
        return Loss(len(observed_ns), min(observed_ns), max(observed_ns))

    @staticmethod
    def at(rows: Sequence[tuple[int, int]]) -> Loss:
        """At least one reading, by position and time."""
        times = [observed_at_ns for _, observed_at_ns in rows]
        positions = [position for position, _ in rows]
        return Loss(len(rows), min(times), max(times), min(positions), max(positions))


@dataclass(slots=True)
class Episode:
    """One run of drops; a row of `dropped`. Times in ns since 1970 UTC; `first_/last_observed_ns` are those of the lost
    readings, `since_/until_ns` are when they were lost. None of those that had a position lay outside `first_position`
    and `last_position`; None: none had one."""

    id: int
    reason: str
    readings: int
    first_observed_ns: int
    last_observed_ns: int
    since_ns: int
    until_ns: int
    first_position: int | None
    last_position: int | None

    def add(self, loss: Loss, *, now_ns: int) -> None:
        """More of the same."""
        self.readings += loss.readings
        self.first_observed_ns = min(self.first_observed_ns, loss.first_observed_ns)
        self.last_observed_ns = max(self.last_observed_ns, loss.last_observed_ns)
        self.until_ns = now_ns
        firsts = [one for one in (self.first_position, loss.first_position) if one is not None]
        lasts = [one for one in (self.last_position, loss.last_position) if one is not None]
        self.first_position, self.last_position = min(firsts, default=None), max(lasts, default=None)


class Drops:
    """The running episodes. `unsaved` holds those that changed since the writer last wrote them down."""

    def __init__(self, health: BufferHealth, *, next_id: int, clock_ns: Callable[[], int]) -> None:
        self._health = health
        health.dropped.update(
            dict.fromkeys((reason.value for reason in DropReason), 0)
        )  # a metric for each from the start
        self._next_id = next_id
        self._clock_ns = clock_ns
        self._running: dict[DropReason, Episode] = {}
        self._told: dict[DropReason, tuple[float, int]] = {}
        self.unsaved: dict[int, Episode] = {}

    def count(self, reason: DropReason, loss: Loss) -> None:
        """These readings are lost for this reason."""
        self._health.dropped[reason.value] += loss.readings
        now_ns = self._clock_ns()
        episode = self._running.get(reason)
        if episode is None:
            episode = Episode(
                id=self._next_id,
                reason=reason.value,
                readings=loss.readings,
                first_observed_ns=loss.first_observed_ns,
                last_observed_ns=loss.last_observed_ns,
                since_ns=now_ns,
                until_ns=now_ns,
                first_position=loss.first_position,
                last_position=loss.last_position,
            )
            self._next_id += 1
            self._running[reason] = episode
            _log.error(
                "dropping readings from the buffer (%s): %d so far, observed from %s to %s; %s",
                reason.value,
                loss.readings,
                utc_text(loss.first_observed_ns),
                utc_text(loss.last_observed_ns),
                _ADVICE[reason],
            )
        else:
            episode.add(loss, now_ns=now_ns)
        self.unsaved[episode.id] = episode

    def look(self, now_s: float) -> None:
        """To be called now and then: says every hour how an episode goes on. `now_s` is monotonic."""
        for reason, episode in self._running.items():
            told_s, told = self._told.setdefault(reason, (now_s, episode.readings))
            if now_s - told_s < _TELL_EVERY_S or episode.readings == told:
                continue
            self._told[reason] = now_s, episode.readings
            _log.error(
                "still dropping readings from the buffer (%s): %d in %.1f hours, %d so far, observed from %s to %s",
                reason.value,
                episode.readings - told,
                (now_s - told_s) / 3600,
                episode.readings,
                utc_text(episode.first_observed_ns),
                utc_text(episode.last_observed_ns),
            )

    def ended(self, reason: DropReason) -> None:
        """The cause is gone. Does nothing when no episode is running."""
        self._told.pop(reason, None)
        episode = self._running.pop(reason, None)
        if episode is not None:
            _log.info(
                "no longer dropping readings (%s): %d were lost, observed from %s to %s",
                reason.value,
                episode.readings,
                utc_text(episode.first_observed_ns),
                utc_text(episode.last_observed_ns),
            )

    def ended_all(self) -> None:
        for reason in tuple(self._running):
            self.ended(reason)


def utc_text(time_ns: int) -> str:
    """`2023-11-14T22:13:20.123Z`."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}Z"

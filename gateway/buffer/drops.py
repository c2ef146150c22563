"""Loss, accounted for: every dropped reading is counted, every episode of loss is logged at its edges and remembered.

An episode is a run of drops for one reason. It is logged as an ERROR when it begins and as an INFO with its totals when
its cause is gone, and it is one row of the table `dropped`, which outlives the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from gateway.health import BufferHealth

_log = logging.getLogger(__name__)


class DropReason(StrEnum):
    """Why readings were lost; the `reason` label of `buffer_dropped_readings_total`."""

    MAX_BYTES = "max-bytes"
    MIN_FREE_DISK = "min-free-disk"
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
    """Readings that are gone, and when they were taken (ns since 1970 UTC)."""

    readings: int
    first_observed_ns: int
    last_observed_ns: int

    @staticmethod
    def of(observed_ns: Sequence[int]) -> Loss:
        """At least one reading, by their times."""
        return Loss(len(observed_ns), min(observed_ns), max(observed_ns))


@dataclass(slots=True)
class Episode:
    """One run of drops; a row of `dropped`. Times in ns since 1970 UTC; `first_/last_observed_ns` are those of the lost
    readings, `since_/until_ns` are when they were lost."""

    id: int
    reason: str
    readings: int
    first_observed_ns: int
    last_observed_ns: int
    since_ns: int
    until_ns: int


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
            episode.readings += loss.readings
            episode.first_observed_ns = min(episode.first_observed_ns, loss.first_observed_ns)
            episode.last_observed_ns = max(episode.last_observed_ns, loss.last_observed_ns)
            episode.until_ns = now_ns
        self.unsaved[episode.id] = episode

    def ended(self, reason: DropReason) -> None:
        """The cause is gone. Does nothing when no episode is running."""
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

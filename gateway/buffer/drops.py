"""Loss, accounted for: every dropped reading is counted, every episode of loss is logged at its edges and remembered.

An episode is a run of drops for one reason. It is logged as an ERROR when it begins, when another destination begins to
lose readings in it and every hour that it goes on, and as an INFO with its totals when its cause is gone. It is one row
of the table `dropped`, which outlives the process, and one of `dropped_for` for each destination that still waited for
some of what was lost. What was not committed yet is lost for all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import orjson

from drivers.model import Reading
from gateway.buffer.encoding import STORABLE
from gateway.clock import utc_text
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
    DropReason.NOT_ENCODABLE: "a value or its time cannot be written down (beyond 64 bits, broken Unicode): a "
    "driver fault",
    DropReason.DAMAGED: "the database was damaged: check the disk it is on",
    DropReason.DESTINATION_REMOVED: "their only destination is no longer in the configuration",
    DropReason.SET_ASIDE_FULL: "a destination refused too many readings: look at `hub-gateway buffer set-aside`",
    DropReason.SHUTDOWN: "the database did not accept them before the gateway stopped",
}


@dataclass(frozen=True, slots=True)
class Share:
    """What one destination has lost: at most so many readings, between these positions."""

    readings: int
    first_position: int
    last_position: int

    @staticmethod
    def at(positions: Sequence[int]) -> Share:
        """Of at least one reading."""
        return Share(len(positions), min(positions), max(positions))

    def __add__(self, other: Share) -> Share:
        return Share(
            self.readings + other.readings,
            min(self.first_position, other.first_position),
            max(self.last_position, other.last_position),
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """Readings that are gone, when they were taken (ns since 1970 UTC), and between which positions they were; None:
    they had none yet. `shares` are those of the destinations that waited for them; without any, those of all."""

    readings: int
    first_observed_ns: int
    last_observed_ns: int
    first_position: int | None = None
    last_position: int | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)

    @staticmethod
    def of(observed_ns: Sequence[int]) -> Loss:
        """At least one reading that was not committed, by their times. One beyond 64 bits counts as the nearest that
        is not: nothing tells it better."""
        times = [min(max(one, STORABLE[0]), STORABLE[-1]) for one in observed_ns]
        return Loss(len(times), min(times), max(times))

    @staticmethod
    def at(rows: Sequence[tuple[int, int]], waited: Mapping[str, Sequence[int]]) -> Loss:
        """Those of the readings, by position and time, that somebody waited for: at least one. `waited` are the
        positions of each destination."""
        lost = {position for some in waited.values() for position in some}
        rows = [row for row in rows if row[0] in lost]
        times = [observed_at_ns for _, observed_at_ns in rows]
        positions = [position for position, _ in rows]
        shares = {destination: Share.at(some) for destination, some in waited.items()}
        return Loss(len(rows), min(times), max(times), min(positions), max(positions), shares)


def encode_losses(losses: Sequence[Loss]) -> str:
    return orjson.dumps(losses).decode()


def decode_losses(text: str) -> list[Loss]:
    """The inverse. Raises KeyError, TypeError or ValueError on anything else."""
    return [
        Loss(**one | {"shares": {name: Share(**share) for name, share in one["shares"].items()}})
        for one in orjson.loads(text)
    ]


@dataclass(frozen=True, slots=True)
class Episode:
    """One run of drops; a row of `dropped` and, with `shares`, some of `dropped_for`. Times in ns since 1970 UTC;
    `first_/last_observed_ns` are those of the lost readings, `since_/until_ns` are when they were lost. None of those
    that had a position lay outside `first_position` and `last_position`; None: none had one."""

    id: int
    reason: str
    readings: int
    first_observed_ns: int
    last_observed_ns: int
    since_ns: int
    until_ns: int
    first_position: int | None
    last_position: int | None
    shares: Mapping[str, Share]

    @staticmethod
    def of(loss: Loss, reason: DropReason, *, number: int, now_ns: int) -> Episode:
        """One that has just begun."""
        return Episode(
            id=number,
            reason=reason.value,
            readings=loss.readings,
            first_observed_ns=loss.first_observed_ns,
            last_observed_ns=loss.last_observed_ns,
            since_ns=now_ns,
            until_ns=now_ns,
            first_position=loss.first_position,
            last_position=loss.last_position,
            shares=loss.shares,
        )

    def with_more(self, loss: Loss, *, now_ns: int) -> Episode:
        """The same, with more of it."""
        firsts = [one for one in (self.first_position, loss.first_position) if one is not None]
        lasts = [one for one in (self.last_position, loss.last_position) if one is not None]
        more = {name: self.shares[name] + one if name in self.shares else one for name, one in loss.shares.items()}
        return replace(
            self,
            readings=self.readings + loss.readings,
            first_observed_ns=min(self.first_observed_ns, loss.first_observed_ns),
            last_observed_ns=max(self.last_observed_ns, loss.last_observed_ns),
            until_ns=now_ns,
            first_position=min(firsts, default=None),
            last_position=max(lasts, default=None),
            shares={**self.shares, **more},
        )

    @property
    def for_whom(self) -> str:
        return for_whom(self.readings, {name: one.readings for name, one in self.shares.items()})


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
            episode = Episode.of(loss, reason, number=self._next_id, now_ns=now_ns)
            self._next_id += 1
            _tell_of(episode)
        else:
            others = loss.shares.keys() - episode.shares.keys()
            episode = episode.with_more(loss, now_ns=now_ns)
            for destination in sorted(others):
                _log.error(
                    "dropping readings from the buffer (%s) for %s as well: %d so far, observed from %s to %s; %s",
                    reason.value,
                    destination,
                    loss.shares[destination].readings,
                    utc_text(loss.first_observed_ns),
                    utc_text(loss.last_observed_ns),
                    _ADVICE[reason],
                )
        self._running[reason] = self.unsaved[episode.id] = episode

    def found(self, episode: Episode) -> None:
        """One that is over and written down: what a damage had cost before the buffer was open."""
        self._health.dropped[episode.reason] += episode.readings
        _tell_of(episode)

    def saved(self, episodes: Iterable[Episode]) -> None:
        """These are written down. One that has grown since stays unsaved."""
        for episode in episodes:
            if self.unsaved.get(episode.id) is episode:
                del self.unsaved[episode.id]

    def count_uncommitted(self, reason: DropReason, readings: Sequence[Reading]) -> None:
        """These are lost before they had a position. Does nothing without any."""
        if readings:
            self.count(reason, Loss.of([one.observed_at_ns for one in readings]))

    def look(self, now_s: float) -> None:
        """To be called now and then: says every hour how an episode goes on. `now_s` is monotonic."""
        for reason, episode in self._running.items():
            told_s, told = self._told.setdefault(reason, (now_s, episode.readings))
            if now_s - told_s < _TELL_EVERY_S or episode.readings == told:
                continue
            self._told[reason] = now_s, episode.readings
            _log.error(
                "still dropping readings from the buffer (%s): %d in %.1f hours, %d so far%s, observed from %s to %s",
                reason.value,
                episode.readings - told,
                (now_s - told_s) / 3600,
                episode.readings,
                episode.for_whom,
                utc_text(episode.first_observed_ns),
                utc_text(episode.last_observed_ns),
            )

    def ended(self, reason: DropReason) -> None:
        """The cause is gone. Does nothing when no episode is running."""
        self._told.pop(reason, None)
        episode = self._running.pop(reason, None)
        if episode is not None:
            _log.info(
                "no longer dropping readings (%s): %d were lost%s, observed from %s to %s",
                reason.value,
                episode.readings,
                episode.for_whom,
                utc_text(episode.first_observed_ns),
                utc_text(episode.last_observed_ns),
            )

    def ended_all(self) -> None:
        for reason in tuple(self._running):
            self.ended(reason)


def _tell_of(episode: Episode) -> None:
    _log.error(
        "dropping readings from the buffer (%s): %d so far%s, observed from %s to %s; %s",
        episode.reason,
        episode.readings,
        episode.for_whom,
        utc_text(episode.first_observed_ns),
        utc_text(episode.last_observed_ns),
        _ADVICE[DropReason(episode.reason)],
    )


def for_whom(readings: int, shares: Mapping[str, int]) -> str:
    """` for a`, when that is all there is to say of these readings, or `, 2 for a, 7 for b`."""
    named = {name: lost for name, lost in sorted(shares.items()) if name}
    if len(named) == 1 and readings in named.values():
        return f" for {''.join(named)}"
    return "".join(f", {lost} for {name}" for name, lost in named.items())

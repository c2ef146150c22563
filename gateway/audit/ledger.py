"""The ledger of what a subscriber receives: bytes in, verdict out. No I/O but a clock.

What is judged
    Within an epoch, everything from the first live reading that was heard (or from where `expect` says) up to the
    greatest position that has arrived must arrive. A gap counts as missing once something beyond it came at least
    `grace_s` ago, and the history lane, if it is running, has passed it as long ago. While the gateway is offline every
    gap is open: its buffer may hold it. An epoch that is expected and never heard is named as unheard.
What is not
    History from before the first live reading: what else belongs there may have come before the audit began. Order
    over connections: what was in flight when one was lost comes again in the next. What was set aside and is sent
    again comes late, and is counted as out of order.

A connection of the gateway begins with its status `online`, which names its epoch and says whether history is to come;
it says so again when all of that has been sent, and may repeat itself. The topic of the status says whose
it is, for an id is unique in its site only. Devices are told apart by their topics, for the same reason. Memory: a few
ranges of positions for each epoch, the digests of the last `remembered` readings, one record for each device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.audit.content import Contents, arrival
from gateway.audit.records import DeviceRecord, EpochRecord
from gateway.audit.verdict import EpochVerdict, Span, Verdict
from gateway.buffer.ranges import Ranges

GRACE_S = 10.0
REMEMBERED = 100_000


@dataclass(slots=True)
class _Presence:
    """What the statuses on one topic have said of one epoch."""

    epoch: str
    connections: int = 0
    away: bool = False
    behind: set[int] = field(default_factory=set)
    """The connections whose history is not all sent; by when they began."""
    known: set[int] = field(default_factory=set)

    def begins(self, connected_ms: object) -> bool:
        """Count a connection that has said nothing before; whether it is one. Older gateways do not name them."""
        if isinstance(connected_ms, int):
            if connected_ms in self.known:
                return False
            self.known.add(connected_ms)
        self.connections += 1
        return True


class Ledger:
    """May be shared between threads. `grace_s` and the clock's seconds are those of one monotonic clock."""

    def __init__(
        self,
        *,
        grace_s: float = GRACE_S,
        remembered: int = REMEMBERED,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interruptions = 0
        """How often the subscriber itself lost its connection."""
        self.forgotten = 0
        """How often the broker had forgotten the subscriber's session after that: what came meanwhile is lost."""
        self.cut_off = False
        """Whether the subscriber has no connection, after it had one, or none that the broker answers on."""
        self.messages = 0
        self._grace_s = grace_s
        self._remembered = remembered
        self._clock_s = clock_s
        self._foreign = self._retained = 0
        self._epochs: dict[tuple[str, str], EpochRecord] = {}
        self._devices: dict[tuple[str, str, str], DeviceRecord] = {}
        self._expected: dict[str, tuple[Ranges, int]] = {}
        self._presences: dict[str, _Presence] = {}
        self._presences_by_epoch: dict[str, _Presence] = {}
        self._changed = threading.Condition()

    def note(self, topic: str, payload: bytes | bytearray, *, retained: bool = False) -> None:
        """Take one message: a reading, an array of them, or the status of a gateway, whose topic says whose it is.
        Others are counted and passed over, and so is all but the status that the broker has kept (`retained`): nobody
        knows since when. Never raises."""
        try:
            body = orjson.loads(payload)
        except ValueError:
            body = None
        with self._changed:
            self.messages += 1
            known = self._note_status(topic, body) or (not retained and self._note_readings(topic, body))
            if not known and retained:
                self._retained += 1
            elif not known:
                self._foreign += 1
            self._changed.notify_all()

    def expect(self, epoch: str, positions: Iterable[Span], *, after: int) -> None:
        """Of this epoch these must arrive, and everything after the position `after`, whatever is heard first."""
        with self._changed:
            self._expected[epoch] = Ranges(positions), after

    def verdict(self, *, now_s: float | None = None) -> Verdict:
        """As of `now_s`, by default now. With `math.inf` nothing more is waited for: every gap is missing."""
        with self._changed:
            now_s = self._clock_s() if now_s is None else now_s
            heard = {one.epoch for one in self._heard()}
            return Verdict(
                epochs=tuple(self._verdict(one, now_s) for one in self._heard()),
                devices=tuple(one.verdict() for one in self._devices.values()),
                unheard=tuple(epoch for epoch in self._expected if epoch not in heard),
                foreign=self._foreign,
                retained=self._retained,
            )

    def missing(self, epoch: str, first: int, last: int) -> int:
        """How many positions from `first` to `last` have not arrived."""
        with self._changed:
            arrived = sum(one.received.count_within(first, last) for one in self._heard() if one.epoch == epoch)
        return last - first + 1 - arrived

    def wait_for(self, epoch: str, first: int, last: int, *, but: int, timeout_s: float) -> None:
        """Block until all positions from `first` to `last` `but` so many have arrived, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.missing(epoch, first, last) <= but, timeout_s)

    def _verdict(self, one: EpochRecord, now_s: float) -> EpochVerdict:
        presence = self._presences_by_epoch.get(one.epoch)
        return one.verdict(
            now_s,
            expected=self._expected.get(one.epoch),
            connections=presence.connections if presence is not None else 0,
            away=presence is not None and presence.away,
            behind=presence is not None and bool(presence.behind),
        )

    def _heard(self) -> list[EpochRecord]:
        return list(self._epochs.values())

    def _note_readings(self, topic: str, body: Any) -> bool:
        found = [arrival(item) for item in body] if isinstance(body, list) else [arrival(body)]
        readings = [one for one in found if one is not None]
        now_s = self._clock_s()
        for one in readings:
            epoch = self._epochs.get((one.gateway, one.epoch))
            if epoch is None:
                epoch = EpochRecord(one.gateway, one.epoch, self._grace_s, Contents(kept=self._remembered))
                self._epochs[one.gateway, one.epoch] = epoch
            device = self._devices.get((topic, one.gateway, one.device))
            if device is None:
                device = self._devices[topic, one.gateway, one.device] = DeviceRecord(one, topic)
            copy = epoch.take(one, now_s, in_array=isinstance(body, list))
            presence = self._presences_by_epoch.get(one.epoch)
            if not device.take(one, copy, connection=presence.connections if presence is not None else 0):
                epoch.out_of_order += 1
        return bool(readings)

    def _note_status(self, topic: str, body: Any) -> bool:
        if not isinstance(body, dict) or not isinstance(body.get("online"), bool):
            return False
        presence = self._presences.get(topic)
        if not body["online"]:
            if presence is not None:
                presence.away = True
                presence.behind.clear()
            return True
        epoch = body.get("epoch")
        if not isinstance(epoch, str):
            return False
        if presence is not None:
            presence.away = False  # also for a new epoch: nothing more will come of the old one
        if presence is None or presence.epoch != epoch:
            presence = self._presences[topic] = self._presences_by_epoch[epoch] = _Presence(epoch)
        self._note_connection(presence, body.get("connected_ms"), body.get("history"))
        return True

    def _note_connection(self, presence: _Presence, connected_ms: object, history: object) -> None:
        begins = presence.begins(connected_ms)
        caught_up = False
        if isinstance(connected_ms, int) and isinstance(history, int):
            caught_up = not history and connected_ms in presence.behind
            (presence.behind.add if history else presence.behind.discard)(connected_ms)
        for one in self._heard():
            if one.epoch == presence.epoch and begins:
                one.connected(self._clock_s())
            elif one.epoch == presence.epoch and caught_up:
                one.history_at_s = self._clock_s()

"""Subscriptions: the server says what changed. One subscription for each device of the link.

A notification is asked for by a publish request, of which a few wait at the server at any time. A server that has
nothing to say of a subscription answers one in every keep-alive period; so silence means that the way is cut, or that
the server has forgotten this one. It is watched besides that the server's clock, which is one of the items, moves: a
server that keeps a subscription alive and has forgotten its items is found out, too. Notifications are numbered; what
did not arrive is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from drivers.contract import BadResponse
from drivers.model import Point, PointGroup, Quality, Reading, Value
from drivers.opcua import failure, gather
from drivers.opcua.complaints import Complaints
from drivers.opcua.items import Item, clock_request, items_of, located
from drivers.opcua.link import Link
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.resolve import Nodes, resolve
from drivers.opcua.settings import OpcuaDeviceSettings
from drivers.opcua.value import quality
from drivers.opcua.writing import write

_log = logging.getLogger(__name__)

_MOST_REQUESTS = 8
"""Publish requests that wait at the server."""
_PAUSE_S = 0.1
"""After a publish request that the server did not want."""
_LIFETIME_IN_KEEP_ALIVES = 10
"""Part 4, 5.14.2: at least three. After that many without a publish request the server gives the subscription up."""
_CLOCK_MAY_REST_S = 5.0
"""A server need not set its clock more often than every second or so."""
_TRY_AGAIN_S = 30.0
"""How often items that the server refused are tried again: its program may be loaded later than it starts."""
_NO_FILTER = frozenset(
    {
        StatusCodes.BadFilterNotAllowed,
        StatusCodes.BadMonitoredItemFilterInvalid,
        StatusCodes.BadMonitoredItemFilterUnsupported,
        StatusCodes.BadDeadbandFilterInvalid,
    }
)


@dataclass(slots=True)
class Watched:
    """A device with its subscription."""

    device: OpcuaDeviceSettings
    groups: Sequence[PointGroup]
    items: Sequence[Item]
    number: int
    silence_s: float
    heard_s: float
    """When it was last heard of, later by the time in which nobody listened."""
    refused: dict[int, Quality] = field(default_factory=dict)
    """Items that the server does not have, or does not let us watch."""
    beats: int = 0
    beat_s: float = 0.0
    sequence: int = 0
    """The number of its last notification. The first is 1 (Part 4, 5.14.1.1)."""

    @property
    def clock_handle(self) -> int:
        return len(self.items)


class SubscribedSession:
    """`drivers.contract.StreamSession` and `WritableSession`."""

    def __init__(self, link: Link, nodes: Nodes, *, complaints: Complaints, clock: Callable[[], int]) -> None:
        """`clock` is wall-clock time in nanoseconds."""
        self._link = link
        self._nodes = nodes
        self._complaints = complaints
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._watched: dict[int, Watched] = {}
        self._acknowledge: list[ua.SubscriptionAcknowledgement] = []
        self._requests = 0
        self._try_again_s = 0.0
        self._left_s = self._loop.time()
        """Until when notifications were listened for."""

    async def subscribe(self, device: OpcuaDeviceSettings, groups: Sequence[PointGroup]) -> None:
        """Create the subscription of a device. Raises as `Link` does."""
        publishing_ms = device.publishing_interval * 1000
        keep_alives = max(1, math.floor(device.silence / 3 / device.publishing_interval))
        made = await self._link.subscribe(
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=ua.Duration(publishing_ms),
                RequestedLifetimeCount=ua.Counter(keep_alives * _LIFETIME_IN_KEEP_ALIVES),
                RequestedMaxKeepAliveCount=ua.Counter(keep_alives),
                MaxNotificationsPerPublish=ua.Counter(0),
                PublishingEnabled=True,
                Priority=ua.Byte(0),
            )
        )
        keep_alive_s = made.RevisedMaxKeepAliveCount * made.RevisedPublishingInterval / 1000
        watched = Watched(
            device,
            groups,
            items_of(device, groups),
            made.SubscriptionId,
            silence_s=max(device.silence, 2 * keep_alive_s),
            heard_s=self._loop.time(),
        )
        self._watched[made.SubscriptionId] = watched
        await self._monitor(watched, range(len(watched.items)))
        await self._link.monitor(watched.number, [clock_request(watched.clock_handle, watched.silence_s)])
        self._requests = min(len(self._watched) + 1, _MOST_REQUESTS)
        self._try_again_s = self._loop.time() + _TRY_AGAIN_S

    async def readings(self) -> AsyncIterator[Reading]:
        """As `drivers.contract.StreamSession.readings`."""
        for watched in self._watched.values():
            for reading in self._refusals(watched, watched.refused):
                yield reading
        waiting: list[asyncio.Task[ua.PublishResult | None]] = []
        try:
            while True:
                while len(waiting) < self._requests:
                    waiting.append(self._ask_for_more())
                for watched, message in await self._next(waiting):
                    for each in [*await self._missed(watched, message), message]:
                        for reading in self._understand(watched, each):
                            yield reading
                self._check_silence()
                for reading in await self._try_refused_again():
                    yield reading
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:  # noqa: ARG002  the contract's
        """As `drivers.contract.WritableSession.write`. Returns what was read back."""
        assert isinstance(point, OpcuaPoint)
        return await write(self._link, self._nodes[point.address], point, value)

    async def _next(
        self, waiting: list[asyncio.Task[ua.PublishResult | None]]
    ) -> list[tuple[Watched, ua.NotificationMessage]]:
        """Wait for notifications; takes the requests that were answered out of `waiting`.

        There are none when a subscription was silent for too long. Raises as `Link.publish`, but not before the
        notifications that came with the error have been handed out.
        """
        resumed_s = self._loop.time()
        for each in self._watched.values():
            each.heard_s += resumed_s - self._left_s
        await asyncio.wait(waiting, timeout=self._patience_s(), return_when=asyncio.FIRST_COMPLETED)
        done = [task for task in waiting if task.done()]
        answered = [task for task in done if task.exception() is None]
        if done and not answered:
            done[0].result()
        waiting[:] = [task for task in waiting if task not in answered]
        results = [task.result() for task in answered]
        if None in results:
            self._requests = max(1, len(waiting))
            await asyncio.sleep(_PAUSE_S)
        self._left_s = self._loop.time()
        found = []
        for (
            result
        ) in results:  # one of a subscription that nobody knows is of one that the server has not forgotten yet
            if result is not None and (watched := self._watched.get(result.SubscriptionId)) is not None:
                watched.heard_s = self._left_s
                found.append((watched, result.NotificationMessage))
        return found

    async def _missed(self, watched: Watched, message: ua.NotificationMessage) -> list[ua.NotificationMessage]:
        """The notifications before this one that did not arrive, as far as the server still has them (Part 4, 5.14.6).

        Raises `DeviceUnavailable`.
        """
        if not message.NotificationData:  # what only keeps alive has the number of the next one
            return []
        found: list[ua.NotificationMessage] = []
        for number in range(message.SequenceNumber - 1, watched.sequence, -1):
            try:
                again = await self._link.republish(watched.number, number)
            except BadResponse as error:
                _log.error(
                    "%s: changes are lost: notifications %d to %d of the subscription of %s did not arrive (%s)",
                    self._link.name,
                    watched.sequence + 1,
                    number,
                    watched.device.name,
                    error.message,
                )
                break
            found.insert(0, again)
        return found

    async def _monitor(self, watched: Watched, indices: Sequence[int]) -> list[int]:
        """Create these items of a device; those that cannot be are `refused`. Returns those that are."""
        found, lost = located([watched.items[index] for index in indices], self._nodes)
        watched.refused.update({indices[at]: why for at, why in lost.items()})
        wanted = [(indices[at], node) for at, node in found]
        created: list[int] = []
        for filtered in (True, False):
            requests = [watched.items[index].request(node, index, filtered=filtered) for index, node in wanted]
            results = await self._link.monitor(watched.number, requests)
            unfiltered = []
            for (index, node), result in zip(wanted, results, strict=True):
                status = result.StatusCode
                if status.value in _NO_FILTER and filtered and watched.items[index].deadband:
                    unfiltered.append((index, node))
                elif status.is_bad():
                    watched.refused[index] = quality(status.value)
                else:
                    watched.refused.pop(index, None)
                    created.append(index)
            wanted = unfiltered
        return created

    def _ask_for_more(self) -> asyncio.Task[ua.PublishResult | None]:
        acknowledged, self._acknowledge = self._acknowledge, []
        return asyncio.create_task(self._link.publish(acknowledged), name=f"{self._link.name} publish")

    def _understand(self, watched: Watched, message: ua.NotificationMessage) -> Iterator[Reading]:
        """What a notification says. Raises `DeviceUnavailable` when it says that a subscription is at its end."""
        now_s = self._left_s
        if not message.NotificationData:
            self._check_clock(watched, now_s)
            return
        watched.sequence = message.SequenceNumber
        self._acknowledge.append(ua.SubscriptionAcknowledgement(watched.number, message.SequenceNumber))
        for data in message.NotificationData:
            if isinstance(data, ua.StatusChangeNotification):
                raise failure.ended(self._link.name, watched.device.name, data.Status.value)
            if isinstance(data, ua.DataChangeNotification):
                if any(change.ClientHandle == watched.clock_handle for change in data.MonitoredItems):
                    watched.beats, watched.beat_s = watched.beats + 1, now_s
                for reading in gather.readings(
                    watched.items,
                    data.MonitoredItems,
                    watched.device.effective_timestamp,
                    now_ns=self._clock(),
                    lost_some=self._complaints.lost_some,
                ):
                    if reading.quality:
                        self._complaints.look_at(reading)
                    yield reading

    def _patience_s(self) -> float:
        """How long the next notification may take."""
        return max(0.0, min(each.heard_s + each.silence_s for each in self._watched.values()) - self._loop.time())

    def _check_silence(self) -> None:
        """Raise when a subscription was not heard of in time, whatever the others say."""
        for each in self._watched.values():
            if self._left_s >= each.heard_s + each.silence_s:
                raise failure.silent(self._link.name, each.device.name, each.silence_s)

    def _check_clock(self, watched: Watched, now_s: float) -> None:
        """Raise when the server's clock has moved before and does so no longer."""
        limit_s = max(watched.silence_s, _CLOCK_MAY_REST_S)
        if watched.beats > 1 and now_s - watched.beat_s > limit_s:
            raise failure.stands_still(self._link.name, watched.device.name, limit_s)

    async def _try_refused_again(self) -> list[Reading]:
        """Once in a while. What the server has by now brings its first value by itself."""
        if self._loop.time() < self._try_again_s:
            return []
        self._try_again_s = self._loop.time() + _TRY_AGAIN_S
        changed: list[Reading] = []
        for watched in self._watched.values():
            if not watched.refused:
                continue
            before = dict(watched.refused)
            self._nodes.update(await resolve(self._link, [watched.items[index].address for index in before]))
            await self._monitor(watched, list(before))
            news = {index: why for index, why in watched.refused.items() if before[index] != why}
            changed += self._refusals(watched, news)
        return changed

    def _refusals(self, watched: Watched, refused: dict[int, Quality]) -> list[Reading]:
        """What is bad from the start, one reading for each group."""
        found: dict[PointGroup, dict[int, Quality]] = {}
        for index, why in refused.items():
            for sink in watched.items[index].sinks:
                found.setdefault(sink.group, {})[sink.index] = why
        readings = [Reading(group, self._clock(), (None,) * len(group.points), why) for group, why in found.items()]
        for reading in readings:
            self._complaints.look_at(reading)
        return readings

"""From the buffer onto one connection: what is sent when, how much at once, and what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.buffer import Buffer, StoredReading
from gateway.config import DestinationSettings
from gateway.forward.pace import (
    CHUNK_READINGS,
    HistoryWindow,
    TokenBucket,
    chunk_after,
    messages,
    turn_is_over,
    values_in,
)
from gateway.forward.refusals import Refusals
from gateway.mqtt import Acknowledgement, Connection, MessageTooLarge, Token
from gateway.payloads.json import JsonPayload

ALONE_S = 1.0
"""How long live readings may wait for a suspect that is sent alone. A broker that hangs up does so sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """How a range of readings is sent: how much of the window it may take, and what limits its rate."""

    historical: bool
    share: float = 1.0
    bucket: TokenBucket | None = None
    window: HistoryWindow | None = None


class Sender:
    """Publishes ranges of the buffer on one connection. `in_flight` are the positions that have no answer yet.

    `accepted` counts the readings that the destination has acknowledged.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        settings: DestinationSettings,
        buffer: Buffer,
        payload: JsonPayload,
        refusals: Refusals,
    ) -> None:
        self.in_flight: set[int] = set()
        self.accepted = 0
        self.window = HistoryWindow()
        self._connection = connection
        self._name = settings.name
        self._batch = settings.batch
        self._buffer = buffer
        self._payload = payload
        self._refusals = refusals
        self._suspects = refusals.suspects
        self._bars = refusals.bars
        self._devices: dict[Token, str] = {}
        self._history_in_flight: set[Token] = set()
        self._nobody_alone = asyncio.Event()
        self._nobody_alone.set()
        self._progress = asyncio.Event()

    async def send(self, lane: Lane, *, after: int, until: int) -> None:
        """Publish what is unacknowledged and not in flight after `after` and up to `until`, oldest first."""
        limit = CHUNK_READINGS
        while after < until:
            stored = await self._buffer.peek(self._name, after=after, until=until, limit=limit)
            await self._send(lane, [item for item in stored if item.position not in self.in_flight])
            after = stored[-1].position if len(stored) == limit else until
            limit = chunk_after(stored)
            await asyncio.sleep(0)

    def answered(self, answer: Acknowledgement, *, now_s: float) -> str | None:
        """A message is no longer in flight: whose it was, None if nobody's. To be followed by `progressed` when what it
        means has been done."""
        self.in_flight.difference_update(answer.token)
        self._history_in_flight.discard(answer.token)
        self.window.answered(answer.waited_s, now_s=now_s)
        return self._devices.pop(answer.token, None)

    def progressed(self) -> None:
        """Wake those who wait for `progress`."""
        self._progress.set()

    async def progress(self) -> None:
        """Wait until messages have been answered or set aside."""
        self._progress.clear()
        await self._progress.wait()

    async def _send(self, lane: Lane, stored: Sequence[StoredReading]) -> None:
        sent_values = sent_messages = 0
        barred: dict[str, list[int]] = {}
        for message in messages(stored, batch=self._batch, alone=self._suspects):
            if message[0].position in self._suspects.deferred and not self._deferred_may_go():
                continue
            why = self._why_not(message) if self._bars else None
            if why is not None:
                barred.setdefault(why, []).extend(item.position for item in message)
                continue
            values = values_in(message)
            if lane.bucket is not None:
                delay_s = lane.bucket.delay_s(values, now_s=asyncio.get_running_loop().time())
                if delay_s > 0:
                    await asyncio.sleep(delay_s)
            if message[0].position in self._suspects:
                await self._publish_alone(message, lane)
            else:
                await self._publish(message, lane)
            sent_values, sent_messages = sent_values + values, sent_messages + 1
            if lane.historical and turn_is_over(sent_values, sent_messages):
                sent_values = sent_messages = 0
                await asyncio.sleep(0)
        for why, positions in barred.items():
            await self._refusals.set_aside(positions, why)
            self.progressed()

    def _why_not(self, message: Sequence[StoredReading]) -> str | None:
        first = message[0]
        return self._bars.why_not(first.reading.group.device, first.position, now_s=asyncio.get_running_loop().time())

    def _deferred_may_go(self) -> bool:
        """Others have been accepted, or there are none."""
        return self.accepted > 0 or self._buffer.backlog(self._name) <= len(self._suspects.deferred)

    async def _publish_alone(self, message: Sequence[StoredReading], lane: Lane) -> None:
        """Publish a suspect when nothing is in flight, and nothing else until it is answered, if that is soon.

        Live readings then get as much time, before the next suspect.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._nobody_alone.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALONE_S):
                    while self.in_flight:
                        await self.progress()
            await self._publish(message, lane, alone=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(ALONE_S):
                    while message[0].position in self.in_flight:
                        await self.progress()
        finally:
            self._nobody_alone.set()
        if lane.window is not None:
            await asyncio.sleep(loop.time() - began_s)

    async def _publish(self, message: Sequence[StoredReading], lane: Lane, *, alone: bool = False) -> None:
        await self._room(lane, alone=alone)
        topic, body = self._payload.encode(message, historical=lane.historical)
        token = tuple([item.position for item in message])
        try:
            self._connection.publish(topic, body, token=token)
        except MessageTooLarge as error:
            await self._publish_smaller(message, lane, reason=str(error), alone=alone)
            return
        self.in_flight.update(token)
        self._devices[token] = message[0].reading.group.device
        if lane.window is not None:
            self._history_in_flight.add(token)

    async def _room(self, lane: Lane, *, alone: bool) -> None:
        while True:
            while not alone and lane.window is not None and len(self._history_in_flight) >= lane.window.messages:
                await self.progress()
            await self._connection.room(share=lane.share)
            if alone or self._nobody_alone.is_set():
                return
            await self._nobody_alone.wait()

    async def _publish_smaller(self, message: Sequence[StoredReading], lane: Lane, *, reason: str, alone: bool) -> None:
        """What is too large for one packet goes in two halves; a reading that is too large alone is set aside."""
        if len(message) == 1:
            await self._refusals.set_aside((message[0].position,), reason)
            self.progressed()
            return
        middle = len(message) // 2
        await self._publish(message[:middle], lane, alone=alone)
        await self._publish(message[middle:], lane, alone=alone)

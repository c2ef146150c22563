"""One connection's worth of forwarding: its lanes, its acknowledgements, its orderly end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from gateway.buffer import Buffer
from gateway.config import DestinationSettings, ReplayOrder
from gateway.forward.pace import TokenBucket
from gateway.forward.refusals import Refusals, refusal
from gateway.forward.sender import Lane, Sender
from gateway.forward.status import Status
from gateway.health import DestinationHealth
from gateway.mqtt import (
    GOODBYE_S,
    Acknowledgement,
    Connection,
    DestinationUnavailable,
    Verdict,
    is_about_the_topic,
    verdict,
    words,
)
from gateway.payloads.json import JsonPayload

HISTORY_SHARE = 0.75
"""How much of the window history may take beside a live lane."""
SWEEP_S = 30.0
"""How often a sweep looks for readings that the lanes have passed by."""
DEFERRED_S = 1.0
"""How often a sweep looks for readings that are deferred until others have been accepted."""
SETTLE_S = 2.0
"""How long the last acknowledgements are waited for before the connection is left."""
LEAVING_S = SETTLE_S + GOODBYE_S
"""The most that the end of a connection takes, once the lanes have ended."""


Beside = Callable[[Connection], Coroutine[Any, Any, None]]
"""What else is to be done over a connection while it lasts. May raise `DestinationUnavailable` when it is lost."""


class Session:
    """Forwards over one connection."""

    def __init__(
        self,
        connection: Connection,
        *,
        settings: DestinationSettings,
        buffer: Buffer,
        payload: JsonPayload,
        health: DestinationHealth,
        refusals: Refusals,
        status: Status,
        bucket: TokenBucket,
        history_delay_s: float,
        beside: Beside | None,
    ) -> None:
        """`bucket` limits the history, which starts after `history_delay_s`. `beside` runs next to the lanes, until
        they end or it does."""
        self._connection = connection
        self._settings = settings
        self._name = settings.name
        self._buffer = buffer
        self._status = status
        self._health = health
        self._refusals = refusals
        self._bucket = bucket
        self._history_delay_s = history_delay_s
        self._beside = beside
        self._boundary = buffer.last_committed
        self._passed = self._boundary
        self._sender = Sender(connection, settings=settings, buffer=buffer, payload=payload, refusals=refusals)
        self._refused: dict[str, list[int]] = defaultdict(list)
        self._refused_count = 0
        self._postponed: list[Acknowledgement] = []
        self._answered = False
        self._history_sent = asyncio.Event()

    @property
    def accepted(self) -> int:
        """How many readings the destination has acknowledged in it."""
        return self._sender.accepted

    @property
    def got_on(self) -> bool:
        """Whether any reading is no longer waited for because of it, as accepted or as set aside."""
        return self.accepted > 0 or self._refused_count > 0

    @property
    def caught_up(self) -> bool:
        """Whether everything has been sent that the destination had missed before this connection."""
        return self._history_sent.is_set()

    async def run(self, stopping: asyncio.Event, *, drain_s: float) -> None:
        """Forward until `stopping` is set and all is acknowledged, at most `drain_s` longer; then say offline.

        Raises `DestinationUnavailable` when the connection is lost or the broker refuses messages for now.
        """
        self._status.online()
        failures = await self._forward(stopping, drain_s=drain_s)
        await self._set_aside()
        if failures:
            await self._lost()
            raise failures[0]
        try:
            async with asyncio.timeout(SETTLE_S):
                if not self._postponed:
                    await self._connection.room()
                    self._status.offline()
                while self._connection.in_flight:
                    await self._settle(await self._connection.acknowledgements())
        except TimeoutError as error:
            raise DestinationUnavailable("the broker has not acknowledged the last messages") from error
        if self._postponed:
            await self._refusals.postponed(self._postponed, others_accepted=self.accepted > 0)
            first = self._postponed[0]
            raise DestinationUnavailable(
                f"the broker refuses messages for now: {words(first.code, said=first.said)}",
                hint="they are sent again after a pause; check the broker's limits and quotas",
            )

    async def _forward(self, stopping: asyncio.Event, *, drain_s: float) -> list[DestinationUnavailable]:
        """Run the lanes until there is nothing left to do, or they cannot go on; what they failed with."""
        failures: list[DestinationUnavailable] = []
        lanes: dict[str, Coroutine[Any, Any, None]]
        if self._settings.replay.order is ReplayOrder.LIVE_FIRST:
            lanes = {"live lane": self._live(), "history lane": self._history(stopping), "sweep": self._sweep()}
        else:
            lanes = {"lane": self._in_order(stopping), "sweep": self._sweep()}
        lanes["refused status"], lanes["doubted status"] = self._status.send_refused(), self._status.stay_true()
        if self._beside is not None:
            lanes["what runs beside the lanes"] = self._beside(self._connection)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(lane, name=f"{what} of {self._name}") for what, lane in lanes.items()]
                tasks.append(group.create_task(self._acknowledge(), name=f"acknowledgements of {self._name}"))
                await self._drained(stopping, drain_s=drain_s)
                for task in tasks:
                    task.cancel()
        except* DestinationUnavailable as lost:
            failures.extend(error for error in lost.exceptions if isinstance(error, DestinationUnavailable))
        except* _RefusedForNow:
            pass  # `self._postponed` says what
        this = asyncio.current_task()
        if this is not None and this.cancelling():  # Python 3.11: errors of a group hide a cancellation from outside
            raise asyncio.CancelledError
        return failures

    async def _lost(self) -> None:
        """Take in the answers that came before the end, and ask what the end says about what has none."""
        self._connection.cut()
        with suppress(DestinationUnavailable):
            while True:
                await self._settle(await self._connection.acknowledgements())
        await self._refusals.postponed(self._postponed, others_accepted=self.accepted > 0)
        if self._answered:
            await self._refusals.hung_up(
                self._sender.in_flight,
                others_accepted=self.accepted > 0,
                now_s=asyncio.get_running_loop().time(),
            )

    async def _drained(self, stopping: asyncio.Event, *, drain_s: float) -> None:
        await stopping.wait()
        try:
            async with asyncio.timeout(drain_s):
                await self._buffer.flush()
                while self._buffer.backlog(self._name):
                    await self._sender.progress()
        except TimeoutError:
            return

    async def _live(self) -> None:
        after = self._boundary
        lane = Lane(historical=False)
        while True:
            until = await self._buffer.committed(after)
            await self._sender.send(lane, after=after, until=until)
            after = self._passed = until

    async def _history(self, stopping: asyncio.Event) -> None:
        await self._history_may_start(stopping)
        await self._sender.send(self._replay(), after=0, until=self._boundary)
        self._history_sent.set()
        await self._status.history_sent()

    async def _in_order(self, stopping: asyncio.Event) -> None:
        await self._history_may_start(stopping)
        await self._sender.send(Lane(historical=True, bucket=self._bucket), after=0, until=self._boundary)
        self._history_sent.set()
        await self._status.history_sent()
        await self._live()

    async def _history_may_start(self, stopping: asyncio.Event) -> None:
        """A stop does not wait: what is left has little time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._history_delay_s):
                await stopping.wait()

    async def _sweep(self) -> None:
        lane = self._replay()
        await self._history_sent.wait()
        returned = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(DEFERRED_S if self._refusals.suspects.deferred else SWEEP_S):
                    returned = await self._buffer.returned(self._name, seen=returned)
                    self._refusals.try_again()
            await self._sender.send(lane, after=0, until=self._passed)

    def _replay(self) -> Lane:
        """History beside a live lane."""
        return Lane(historical=True, share=HISTORY_SHARE, bucket=self._bucket, window=self._sender.window)

    async def _acknowledge(self) -> None:
        while not self._postponed:
            await self._settle(await self._connection.acknowledgements())
        raise _RefusedForNow

    async def _settle(self, answers: Sequence[Acknowledgement]) -> None:
        """Do what the broker's answers say: all that was accepted leaves the buffer in one step."""
        done: list[int] = []
        now_s = asyncio.get_running_loop().time()
        self._answered = True
        for answer in answers:
            device = self._sender.answered(answer, now_s=now_s)
            if not answer.token:
                self._status.answered(answer)
                continue
            match verdict(answer.code):
                case Verdict.ACCEPTED:
                    done.extend(answer.token)
                    self._health.publish_seconds.observe(answer.waited_s)
                case Verdict.NEVER:
                    self._refused[refusal(answer)] += answer.token
                    if device is not None and is_about_the_topic(answer.code):
                        self._refusals.because_of(device, answer, now_s=now_s)
                case Verdict.LATER | Verdict.UNEXPLAINED:
                    self._postponed.append(answer)
        if done:
            self._buffer.acknowledge(self._name, done)
            self._refusals.accepted(done)
            self._health.acknowledged += len(done)
            self._sender.accepted += len(done)
        await self._set_aside()
        self._health.backlog = self._buffer.backlog(self._name)
        self._sender.progressed()

    async def _set_aside(self) -> None:
        """Set aside what was refused for good. To be called again when the end of the lanes has cancelled it."""
        await self._refusals.finish()
        while self._refused:
            reason = next(iter(self._refused))
            positions = self._refused.pop(reason)
            self._refused_count += len(positions)
            await self._refusals.set_aside(positions, reason)


class _RefusedForNow(Exception):
    """The broker has refused a message that it may accept later."""

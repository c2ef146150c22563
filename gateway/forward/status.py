"""What one connection says of the gateway on the status topic, and when it says it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.forward.refusals import Refusals, refusal
from gateway.mqtt import Acknowledgement, Connection, MessageTooLarge, Verdict, verdict
from gateway.payloads.json import JsonPayload

PAUSE_S = 30.0
"""How long a status that was refused for now waits before it is sent again."""


class Status:
    """The retained status of one connection. No reading waits for it."""

    def __init__(
        self,
        connection: Connection,
        *,
        payload: JsonPayload,
        refusals: Refusals,
        connected_ms: int,
        history: int,
        doubted: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """`connected_ms` names the connection. `history` is how many readings it has to bring that were missed.
        `doubted` returns whenever another connection may have left the status wrong."""
        self._connection = connection
        self._payload = payload
        self._refusals = refusals
        self._connected_ms = connected_ms
        self._history = history
        self._doubted = doubted
        self._refused = asyncio.Event()

    def online(self) -> None:
        """Say that the gateway is connected. There must be room on the connection."""
        self._say(*self._payload.online(connected_ms=self._connected_ms, history=self._history))

    def offline(self) -> None:
        """As `online`: that it leaves."""
        self._say(*self._payload.offline())

    async def history_sent(self) -> None:
        """All the history is on its way: say so, if there was any."""
        if self._history:
            self._history = 0
            await self._connection.room()
            self.online()

    def answered(self, answer: Acknowledgement) -> None:
        """The broker has taken a status, or has not."""
        decision = verdict(answer.code)
        self._refusals.status("" if decision is Verdict.ACCEPTED else refusal(answer))
        if decision in {Verdict.LATER, Verdict.UNEXPLAINED}:
            self._refused.set()

    async def send_refused(self) -> None:
        """Send again what was refused for now, for ever."""
        while True:
            await self._refused.wait()
            await asyncio.sleep(PAUSE_S)
            await self._connection.room()
            self._refused.clear()
            self.online()

    async def stay_true(self) -> None:
        """Say it again whenever it is in doubt, for ever."""
        while True:
            await self._doubted()
            await self._connection.room()
            self.online()

    def _say(self, topic: str, body: bytes) -> None:
        try:
            self._connection.publish(topic, body, token=(), retain=True)
        except MessageTooLarge as error:
            self._refusals.status(str(error))

"""Frames over an open byte stream: those that come unasked, and those that answer a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from drivers.transport import MOST_TAKEN_BYTES, ByteStream

F = TypeVar("F")
A = TypeVar("A")

_SHOWN_CHARACTERS = 60
_FRAMING_BYTES = 512
"""Enough of the last bytes to know whether a frame is in the middle of coming: twice the longest one."""


class Framer(Protocol[F]):
    """Cuts bytes into frames; bounded."""

    def feed(self, data: bytes) -> list[F]: ...

    def forget(self) -> None:
        """Drop a frame that is not complete, because a request follows; what comes of it is not to be mistaken."""
        ...


class Channel(Generic[F]):
    """One instrument's frames.

    `frames` hands on what comes unasked. A `conversation` sends requests and picks their answers out of what comes; it
    may be held while somebody else goes through `frames`, and then gets its answers from there.
    """

    def __init__(self, stream: ByteStream, framer: Framer[F], *, link: str) -> None:
        self.link = link
        self._stream = stream
        self._framer = framer
        self._pending: deque[F] = deque()
        self._streams = False
        self._turn = asyncio.Lock()
        self._conversation: Conversation[F, Any] | None = None

    async def send(self, data: bytes) -> None:
        """Raises `DeviceUnavailable`."""
        await self._stream.write(data)

    async def frames(self, *, silence_s: float | None) -> AsyncGenerator[F, None]:
        """What comes and answers nothing. Raises `DeviceUnavailable`, also after `silence_s` without a frame."""
        self._streams = True
        try:
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        frame = await self.next()
                except TimeoutError:
                    if self._conversation is None:
                        raise self._silence(silence_s) from None
                    continue
                if self._conversation is None or not self._conversation.offer(frame):
                    yield frame
        finally:
            self._streams = False

    @asynccontextmanager
    async def conversation(self, pick: Callable[[F], A | None]) -> AsyncIterator[Conversation[F, A]]:
        """A turn to ask in. `pick` returns None for frames that are no answers. Before it, what came is forgotten."""
        async with self._turn:
            if not self._streams:
                self._forget()
            talk = Conversation(self, pick)
            self._conversation = talk
            try:
                yield talk
            finally:
                self._conversation = None

    async def next(self) -> F:
        """The next frame, whatever it is."""
        while not self._pending:
            self._pending.extend(self._framer.feed(await self._stream.read()))
        return self._pending.popleft()

    @property
    def streams(self) -> bool:
        """Whether somebody goes through `frames`."""
        return self._streams

    def _forget(self) -> None:
        """Leave behind what came so far, and the rest of a frame that has come in part."""
        taken, last = 0, b""
        for data in self._stream.take_input():
            taken, last = taken + len(data), data
        if taken >= MOST_TAKEN_BYTES // 2:
            raise DeviceUnavailable(
                f"{self.link}: more came unasked than can be thrown away; connecting it anew",
                reason=Reason.BAD_RESPONSE,
                hint="the instrument sends by itself: use read: streaming, or switch that off",
            )
        self._framer.feed(last[-_FRAMING_BYTES:])
        self._framer.forget()
        self._pending.clear()

    def _silence(self, silence_s: float | None) -> DeviceUnavailable:
        return DeviceUnavailable(
            f"{self.link}: nothing came for {silence_s:g} s",
            reason=Reason.TIMEOUT,
            hint="check power and wiring, and that the instrument is set to send by itself",
        )


class Conversation(Generic[F, A]):
    """A turn on a channel. Made by `Channel.conversation`."""

    def __init__(self, channel: Channel[F], pick: Callable[[F], A | None]) -> None:
        self._channel = channel
        self._pick = pick
        self._answers: deque[A] = deque(maxlen=16)
        self._came = asyncio.Event()
        self._other: object = None

    def offer(self, frame: F) -> bool:
        """Whether it is an answer."""
        answer = self._pick(frame)
        if answer is None:
            self._other = frame
            return False
        self._answers.append(answer)
        self._came.set()
        return True

    async def ask(self, request: bytes, *, name: str, timeout_s: float) -> A:
        """Send a request and hear its answer. Raises `BadResponse` without one, `DeviceUnavailable`."""
        self._answers.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._channel.send(request)
                return await self._hear()
        except TimeoutError:
            raise self._unanswered(name, timeout_s) from None

    async def hear(self, *, timeout_s: float) -> A | None:
        """One more answer; None when there is none within `timeout_s`. Raises `DeviceUnavailable`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._hear()
        except TimeoutError:
            return None

    async def _hear(self) -> A:
        while not self._answers:
            if self._channel.streams:
                self._came.clear()
                await self._came.wait()
            else:
                self.offer(await self._channel.next())
        return self._answers.popleft()

    def _unanswered(self, name: str, timeout_s: float) -> BadResponse:
        what = f"{name} on {self._channel.link}: no answer within {timeout_s:g} s"
        if self._other is None or self._channel.streams:
            hint = "check power, wiring, line settings, and that protocol is what the instrument is set to"
            return BadResponse(what, reason=Reason.TIMEOUT, hint=hint)
        shown = repr(str(self._other))
        more = "…" if len(shown) > _SHOWN_CHARACTERS else ""
        return BadResponse(
            f"{what}, but {shown[:_SHOWN_CHARACTERS]}{more}",
            reason=Reason.BAD_RESPONSE,
            hint="check that protocol and line settings are what the instrument is set to",
        )

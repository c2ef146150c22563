"""An instrument whose lines a pattern describes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

from drivers.contract import BadResponse
from drivers.model import Reason
from drivers.pattern import LineSplitter, Pattern, TooSlow
from drivers.scale.channel import Channel
from drivers.scale.indication import GARBLED, Indication, Status, Tare
from drivers.scale.text import indication
from drivers.transport import ByteStream


@dataclass(frozen=True, slots=True)
class Format:
    """What its lines look like, and what it is asked with; `request` is empty for one that only speaks unasked.

    `starts_alike`: no line looks like the second part of another one, so that the first one to come can be trusted.
    """

    pattern: Pattern
    statuses: Mapping[str, Status]
    request: bytes
    starts_alike: bool


class Lines:
    """A `Framer` of lines; one that is too long comes as an empty one."""

    def __init__(self, *, joined: bool) -> None:
        self._lines = LineSplitter(joined=joined)

    def feed(self, data: bytes) -> list[str]:
        return [line or "" for line in self._lines.feed(data)]

    def forget(self) -> None:
        self._lines.drop_line()


class Text:
    """`drivers.scale.instrument.Instrument`, but for what writes."""

    def __init__(
        self, stream: ByteStream, form: Format, *, link: str, timeout_s: float, silence_s: float | None, asked: bool
    ) -> None:
        self._channel: Channel[str] = Channel(stream, Lines(joined=not asked), link=link)
        self._form = form
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._in_step = form.starts_alike

    async def weigh(self) -> Indication:
        if not self._in_step:
            await self._fall_in_step()
        async with self._channel.conversation(self._picked) as talk:
            return await talk.ask(
                self._form.request, name=f"asking with {_shown(self._form.request)}", timeout_s=self._timeout_s
            )

    async def held_tare(self) -> Tare | None:
        raise NotImplementedError("there is no command for it")

    async def indications(self) -> AsyncGenerator[Indication, None]:
        async with aclosing(self._channel.frames(silence_s=self._silence_s)) as lines:
            async for line in lines:
                found = self._understood(line)
                if found is not None:
                    yield found

    def settled(self) -> AsyncGenerator[Indication, None]:
        return self.indications()

    async def zero(self) -> None:
        raise ValueError("a pattern knows no command to set to zero")

    async def tare(self) -> Tare | None:
        raise ValueError("a pattern knows no command to tare")

    async def preset_tare(self, weight: Decimal, *, unit: str) -> Tare | None:  # noqa: ARG002  it cannot be done
        raise ValueError("a pattern knows no command to tare")

    async def clear_tare(self) -> Tare | None:
        raise ValueError("a pattern knows no command to tare")

    async def leave(self) -> None:
        """It was not asked to go on sending."""

    async def _fall_in_step(self) -> None:
        """The first line after connecting may be the second half of one, and look like another weight: not used."""
        async with self._channel.conversation(lambda line: line) as talk:
            await talk.ask(self._form.request, name="the first request", timeout_s=self._timeout_s)
        self._in_step = True

    def _picked(self, line: str) -> Indication | None:
        found = self._understood(line)
        return None if found is GARBLED else found

    def _understood(self, line: str) -> Indication | None:
        try:
            return indication(line, self._form.pattern, self._form.statuses) if line else GARBLED
        except TooSlow as error:
            raise BadResponse(
                f"reading a line of {self._channel.link}: {error}",
                reason=Reason.BAD_RESPONSE,
                hint="write it without repetitions inside of repetitions",
            ) from None


def _shown(request: bytes) -> str:
    return repr(request)[1:]

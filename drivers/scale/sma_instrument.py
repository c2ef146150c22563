"""A conversation in SMA SCP-0499."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from decimal import Decimal

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from drivers.scale.channel import Channel, Conversation
from drivers.scale.indication import GARBLED, WITH_WEIGHT, Indication, Tare
from drivers.scale.instrument import SETTLING_S, refused
from drivers.scale.sma import Answer, Frame, Refusal, Response, SmaFramer, command
from drivers.transport import ByteStream

_ESCAPE = b"\x1b"
"""Ends whatever goes on, and is never answered."""
_QUIET_S = 0.2
_LATE_FRAMES = 64
"""A scale that goes on repeating after so many frames does not know `ESC`."""
_LEAVE_S = 0.1


class Sma:
    """`drivers.scale.instrument.Instrument`."""

    def __init__(self, stream: ByteStream, *, link: str, timeout_s: float, silence_s: float | None) -> None:
        self._channel: Channel[Frame] = Channel(stream, SmaFramer(), link=link)
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._repeats = False

    async def weigh(self) -> Indication:
        response = await self._ask("W", timeout_s=self._timeout_s)
        if response is None:
            raise self._unknown("W")
        return response.indication

    async def held_tare(self) -> Tare | None:
        response = await self._ask("M", timeout_s=self._timeout_s)
        if response is None:
            return None
        if response.shows != "T" or response.weight is None:
            raise refused("M", self._channel.link, "the answer is no tare", reason=Reason.BAD_RESPONSE)
        return Tare(response.weight, response.unit)

    async def indications(self) -> AsyncGenerator[Indication, None]:
        self._repeats = True
        await self._channel.send(command("R"))
        understood = False
        async with aclosing(self._channel.frames(silence_s=self._silence_s)) as frames:
            async for frame in frames:
                if isinstance(frame, Response):
                    understood = True
                    yield frame.indication
                elif isinstance(frame, Refusal):
                    error = self._unknown("R") if frame.is_unknown else self._unheard("R")
                    raise DeviceUnavailable(error.message, reason=error.reason, hint=error.hint)
                elif understood:
                    yield GARBLED

    def settled(self) -> AsyncGenerator[Indication, None]:
        return self.indications()

    async def zero(self) -> None:
        await self._command("Z")

    async def tare(self) -> Tare | None:
        await self._command("T")
        return await self._held_if_told()

    async def preset_tare(self, weight: Decimal, *, unit: str) -> Tare | None:
        """How the weight is written behind `T` is not certain, so that it is read back by all means."""
        shown = await self._ask("W", timeout_s=self._timeout_s)
        if shown is not None and unit and unit != shown.unit:
            raise ValueError(f"the tare is to be in {unit}, but the scale shows {shown.unit or 'no unit'}")
        await self._command("T", f"{weight:f}")
        held = await self.held_tare()
        if held is None or held.weight != weight:
            what = "it cannot tell its tare" if held is None else f"it holds {held.weight} {held.unit} now"
            raise refused("T", self._channel.link, f"the tare was to be {weight}, but {what}")
        return held

    async def clear_tare(self) -> Tare | None:
        await self._command("C")
        return await self._held_if_told()

    async def leave(self) -> None:
        if self._repeats:
            with suppress(DeviceUnavailable, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._channel.send(_ESCAPE)

    async def _held_if_told(self) -> Tare | None:
        try:
            return await self.held_tare()
        except BadResponse:  # it was done, and confirmed; not being able to show it is no failure of that
            return None

    async def _ask(self, letter: str, data: str = "", *, timeout_s: float) -> Response | None:
        """None when the command is not known. Answers carry no name, so that repeating stops first."""
        async with self._channel.conversation(_answer) as talk:
            streams = self._channel.streams
            if streams:
                await self._silence(talk)
            try:
                answer = await talk.ask(command(letter, data), name=letter, timeout_s=timeout_s)
            finally:
                if streams:
                    await self._channel.send(command("R"))
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Refusal) and answer.is_unknown:
            return None
        raise self._unheard(letter)

    async def _silence(self, talk: Conversation[Frame, Answer]) -> None:
        await self._channel.send(_ESCAPE)
        for _ in range(_LATE_FRAMES):
            if await talk.hear(timeout_s=_QUIET_S) is None:
                return

    async def _command(self, letter: str, data: str = "") -> None:
        """Something that is done once the load has settled. Raises `BadResponse` when it is refused."""
        response = await self._ask(letter, data, timeout_s=SETTLING_S)
        if response is None:
            raise self._unknown(letter)
        if response.error or response.indication.status not in WITH_WEIGHT:
            raise refused(
                letter,
                self._channel.link,
                response.error or f"it shows {response.indication.status}",
                reason=Reason.IN_MOTION if response.in_motion else Reason.DEVICE_ERROR,
                hint="let the load settle, and try again",
            )

    def _unknown(self, letter: str) -> BadResponse:
        hint = "the scale does not have this command of level 2" if letter not in "WZ" else "check the protocol"
        return refused(letter, self._channel.link, "it does not know the command (?)", hint=hint)

    def _unheard(self, letter: str) -> BadResponse:
        hint = "check the line settings, parity above all"
        return refused(
            letter, self._channel.link, "it received it with errors (!)", reason=Reason.BAD_RESPONSE, hint=hint
        )


def _answer(frame: Frame) -> Answer | None:
    return frame if isinstance(frame, Answer) else None

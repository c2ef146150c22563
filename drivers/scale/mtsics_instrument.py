"""A conversation in MT-SICS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from drivers.pattern import LineSplitter
from drivers.scale.channel import Channel, Conversation
from drivers.scale.indication import GARBLED, Indication, Status, Tare
from drivers.scale.instrument import SETTLING_S, refused
from drivers.scale.mtsics import Answer, indication, parse
from drivers.transport import ByteStream

_REFUSALS = {
    "I": ("not possible now", Reason.IN_MOTION, "let the load settle, and try again"),
    "E": ("the load did not settle in time", Reason.IN_MOTION, "let the load settle, and try again"),
    "L": (
        "it does not allow this value",
        Reason.OUT_OF_RANGE,
        "compare it with the capacity and the unit of the scale",
    ),
    "+": ("above the upper limit", Reason.OVERLOAD, "the load is outside of the range for this"),
    "-": ("below the lower limit", Reason.UNDERLOAD, "the load is outside of the range for this"),
    "^": ("outside of the range", Reason.OUT_OF_RANGE, "the load is outside of the range for this"),
}
_ERRORS = {
    "ES": ("it does not know the command (ES)", Reason.DEVICE_ERROR, "check that the scale has MT-SICS level 0 and 1"),
    "ET": ("it received it with errors (ET)", Reason.BAD_RESPONSE, "check the line settings, parity above all"),
    "EL": ("it cannot carry it out (EL)", Reason.DEVICE_ERROR, "look at the display of the scale"),
}
_NO_TARE = ("the answer is no tare", Reason.BAD_RESPONSE, "check the line settings, parity above all")
_LEAVE_S = 0.1
_REPEAT = b"SIR\r\n"
"""Goes on until the scale is told something else."""

_Pick = Callable[[Answer | str], Answer | None]


class Lines:
    """A `Framer` of the answers in lines; what is no answer comes as its text, an endless line as an empty one."""

    def __init__(self) -> None:
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> list[Answer | str]:
        return [parse(line) or line if line is not None else "" for line in self._lines.feed(data)]

    def forget(self) -> None:
        self._lines.drop_line()


class MtSics:
    """`drivers.scale.instrument.Instrument`."""

    def __init__(
        self, stream: ByteStream, *, link: str, timeout_s: float, silence_s: float | None, look_every_s: float
    ) -> None:
        """`look_every_s` is how often a load that has settled is looked at, to see it go."""
        self._channel: Channel[Answer | str] = Channel(stream, Lines(), link=link)
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._look_every_s = look_every_s
        self._repeats = False

    async def weigh(self) -> Indication:
        return indication(await self._ask("SI", "S", timeout_s=self._timeout_s))

    async def held_tare(self) -> Tare | None:
        answer = await self._ask("TA", "TA", timeout_s=self._timeout_s, errors={"ES"})
        if answer.is_error:
            return None
        held = _tare(answer)
        if held is None:
            raise self._failed("TA", _REFUSALS.get(answer.status, _NO_TARE))
        return held

    async def indications(self) -> AsyncGenerator[Indication, None]:
        self._repeats = True
        await self._channel.send(_REPEAT)
        understood = False
        async with aclosing(self._channel.frames(silence_s=self._silence_s)) as frames:
            async for frame in frames:
                if isinstance(frame, Answer) and frame.is_power_up:
                    yield Indication(Status.POWER_UP)
                    await self._channel.send(_REPEAT)
                elif isinstance(frame, Answer) and frame.id == "S":
                    understood = True
                    yield indication(frame)
                elif isinstance(frame, Answer) and frame.is_error:
                    why, reason, hint = _ERRORS[frame.status]
                    raise DeviceUnavailable(f"SIR on {self._channel.link}: {why}", reason=reason, hint=hint)
                elif isinstance(frame, str) and understood:
                    yield GARBLED

    async def settled(self) -> AsyncGenerator[Indication, None]:
        while True:
            found = await self._weigh_settled()
            yield found
            if not found.stable:  # it would say so again at once
                await asyncio.sleep(self._look_every_s)
            while found.stable:
                await asyncio.sleep(self._look_every_s)
                found = await self._look()
                yield found

    async def zero(self) -> None:
        await self._command("Z")

    async def tare(self) -> Tare | None:
        answer = await self._command("T")
        return _tare(answer) or await self._held_if_told()

    async def preset_tare(self, weight: Decimal, *, unit: str) -> Tare | None:
        shown = (await self.weigh()).unit
        if not shown:
            raise refused("TA", self._channel.link, "its unit is not known while it shows no weight")
        if unit and unit != shown:
            raise ValueError(f"the tare is to be in {unit}, but the scale shows {shown}")
        return _tare(await self._command(f"TA {weight:f} {shown}")) or await self._held_if_told()

    async def clear_tare(self) -> Tare | None:
        await self._command("TAC")
        return await self._held_if_told()

    async def leave(self) -> None:
        if self._repeats:
            with suppress(DeviceUnavailable, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._channel.send(b"SI\r\n")

    async def _weigh_settled(self) -> Indication:
        """A scale that waits for longer than we do is still there when it tells what it shows meanwhile."""
        try:
            answer = await self._ask("S", "S", timeout_s=self._silence_s or SETTLING_S, takes_text=True)
        except BadResponse as error:
            if error.reason is not Reason.TIMEOUT:
                raise
            return await self._look()
        found = indication(answer)
        return await self._look() if found is GARBLED else found

    async def _look(self) -> Indication:
        """As `weigh`, but one answer that noise has spoilt is no reason to give up the link."""
        try:
            return await self.weigh()
        except BadResponse as error:
            if error.reason is not Reason.BAD_RESPONSE:
                raise
            return await self.weigh()

    async def _held_if_told(self) -> Tare | None:
        try:
            return await self.held_tare()
        except BadResponse:  # it was done, and confirmed; not being able to show it is no failure of that
            return None

    async def _ask(
        self,
        command: str,
        found_id: str,
        *,
        timeout_s: float,
        errors: Collection[str] = (),
        takes_text: bool = False,
    ) -> Answer:
        """Raises `BadResponse` for a general error that is not among `errors`."""
        async with self._conversation(_answers_with(found_id, takes_text=takes_text)) as talk:
            answer = await talk.ask(f"{command}\r\n".encode("ascii"), name=command, timeout_s=timeout_s)
        if answer.is_error and answer.status not in errors:
            raise self._failed(command, _ERRORS[answer.status])
        return answer

    async def _command(self, command: str) -> Answer:
        """Something that is done once the load has settled. Raises `BadResponse` when it is refused."""
        name = command.partition(" ")[0]
        async with self._conversation(_answers_with(name)) as talk:
            answer = await talk.ask(f"{command}\r\n".encode("ascii"), name=name, timeout_s=SETTLING_S)
            answer = await self._last_of(talk, answer)
        if answer.is_error:
            raise self._failed(name, _ERRORS[answer.status])
        if answer.status in _REFUSALS:
            raise self._failed(name, _REFUSALS[answer.status])
        return answer

    @asynccontextmanager
    async def _conversation(self, pick: _Pick) -> AsyncIterator[Conversation[Answer | str, Answer]]:
        """A turn to ask in. What is asked ends the repetition, which is begun again."""
        async with self._channel.conversation(pick) as talk:
            try:
                yield talk
            finally:
                if self._channel.streams:
                    await self._channel.send(_REPEAT)

    async def _last_of(self, talk: Conversation[Answer | str, Answer], answer: Answer) -> Answer:
        """RADWAG and KERN say A for "accepted" and then how it went; to Mettler-Toledo A is all there is to say."""
        if answer.status == "A" and answer.weight is None and not answer.is_error:
            return await talk.hear(timeout_s=self._timeout_s) or answer
        return answer

    def _failed(self, command: str, refusal: tuple[str, Reason, str]) -> BadResponse:
        why, reason, hint = refusal
        return refused(command, self._channel.link, why, reason=reason, hint=hint)


def _answers_with(found_id: str, *, takes_text: bool = False) -> _Pick:
    """Picks the answers with this ID, and general errors; with `takes_text` also what cannot be understood."""

    def pick(frame: Answer | str) -> Answer | None:
        if isinstance(frame, str):
            return Answer(found_id, "", text=frame) if takes_text and frame else None
        return frame if frame.is_error or frame.id == found_id else None

    return pick


def _tare(answer: Answer) -> Tare | None:
    return None if answer.weight is None else Tare(answer.weight, answer.unit)

"""An instrument with Toledo continuous output. It cannot be asked, and confirms what it is told by what it shows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from decimal import Decimal

from drivers.contract import BadResponse
from drivers.scale.channel import Channel
from drivers.scale.indication import Indication, Status, Tare
from drivers.scale.instrument import SETTLING_S
from drivers.scale.toledo import Checksum, ToledoFramer
from drivers.transport import ByteStream


class Toledo:
    """`drivers.scale.instrument.Instrument`, but for what asks.

    The letters `T`, `Z` and `C` with CR LF are taken by KERN and Mettler-Toledo terminals in this mode, not by all;
    what does not show in time has not been done, as far as anybody knows.
    """

    def __init__(self, stream: ByteStream, *, link: str, silence_s: float | None, checksum: Checksum) -> None:
        self._channel: Channel[Indication] = Channel(stream, ToledoFramer(checksum), link=link)
        self._silence_s = silence_s

    async def weigh(self) -> Indication:
        raise NotImplementedError("settings do not let anybody ask who cannot be asked")

    async def held_tare(self) -> Tare | None:
        raise NotImplementedError("every frame carries the tare")

    def indications(self) -> AsyncGenerator[Indication, None]:
        return self._channel.frames(silence_s=self._silence_s)

    def settled(self) -> AsyncGenerator[Indication, None]:
        return self.indications()

    async def zero(self) -> None:
        await self._command("Z", lambda shown: shown.gross is not None and not shown.gross)

    async def tare(self) -> Tare | None:
        return _held(
            await self._command("T", lambda shown: shown.net is not None and not shown.net and bool(shown.tare))
        )

    async def preset_tare(self, weight: Decimal, *, unit: str) -> Tare | None:  # noqa: ARG002  it cannot be done
        raise ValueError("a scale with continuous output takes no tare weight; true tares what is on it, false clears")

    async def clear_tare(self) -> Tare | None:
        return _held(await self._command("C", lambda shown: shown.gross is not None and not shown.tare))

    async def leave(self) -> None:
        """It goes on whether or not somebody listens."""

    async def _command(self, letter: str, is_done: Callable[[Indication], bool]) -> Indication:
        """Raises `BadResponse` when nothing shows that it was done."""

        def pick(shown: Indication) -> Indication | None:
            return shown if shown.status in (Status.OK, Status.MOTION) and is_done(shown) else None

        async with self._channel.conversation(pick) as talk:
            try:
                return await talk.ask(f"{letter}\r\n".encode("ascii"), name=letter, timeout_s=SETTLING_S)
            except BadResponse as error:
                raise BadResponse(
                    f"{letter} on {self._channel.link}: sent, but within {SETTLING_S:g} s nothing shows it done",
                    reason=error.reason,
                    hint="let the load settle; and not every terminal takes commands in this mode",
                ) from error


def _held(shown: Indication) -> Tare | None:
    return None if shown.tare is None else Tare(shown.tare, shown.unit)

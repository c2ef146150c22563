"""Readings that a destination has refused: which are set aside, and which are sent again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from gateway.buffer import Buffer
from gateway.forward.bars import TRY_EVERY_S, Bars
from gateway.forward.suspects import MOST_HANG_UPS, Suspects
from gateway.health import DestinationHealth
from gateway.mqtt import Acknowledgement, Verdict, verdict, words

log = logging.getLogger(__name__)

MOST_UNEXPLAINED = 3


class Refusals:
    """What one destination has refused, in words or by hanging up, over all its connections."""

    def __init__(self, name: str, *, buffer: Buffer, health: DestinationHealth) -> None:
        self.suspects = Suspects()
        self.bars = Bars()
        self._name = name
        self._buffer = buffer
        self._health = health
        self._unexplained: Counter[int] = Counter()
        self._logged: set[str] = set()
        self._interrupted: list[tuple[Sequence[int], str]] = []
        self._status_trouble = ""

    async def set_aside(self, positions: Sequence[int], reason: str) -> None:
        """Move readings out of the way, with the reason. Logged once for each reason: a person must come.

        Cancelled, it leaves them to `finish`.
        """
        try:
            async with asyncio.TaskGroup() as group:  # at once, so that they share a commit
                for position in positions:
                    group.create_task(
                        self._buffer.set_aside(self._name, position, reason), name=f"set aside {position}"
                    )
        except asyncio.CancelledError:
            self._interrupted.append((positions, reason))
            raise
        self._health.set_aside += len(positions)
        self.forget(positions)
        if reason not in self._logged:
            self._logged.add(reason)
            log.error(
                "%s: reading %d is set aside, and others like it will be: %s; see hub-gateway buffer set-aside",
                self._name,
                positions[0],
                reason,
            )

    async def finish(self) -> None:
        """Set aside what was cancelled half-way: some of it may be in the database, and none of it is counted yet."""
        while self._interrupted:
            positions, reason = self._interrupted.pop()
            await self.set_aside(positions, reason)

    def status(self, trouble: str) -> None:
        """How the status message fared: why it is not published, or nothing. No reading waits for it."""
        if trouble and trouble != self._status_trouble:
            log.error("%s: the status message is %s", self._name, trouble)
        elif self._status_trouble and not trouble:
            log.info("%s: the status message is published again", self._name)
        self._status_trouble = trouble

    def because_of(self, device: str, answer: Acknowledgement, *, now_s: float) -> None:
        """A message was refused because of the device that it is from."""
        why = (
            f"not sent, because the broker refuses {device} and hangs up (one is tried every {TRY_EVERY_S:.0f} s): "
            f"{words(answer.code, said=answer.said)}"
        )
        self.bars.refused(device, why, now_s=now_s)

    def accepted(self, positions: Sequence[int]) -> None:
        """The broker has taken these."""
        self.forget(positions)
        if self.bars:
            for device, why in self.bars.accepted(positions):
                self._logged.discard(why)
                log.info(
                    "%s: the broker takes %s again; hub-gateway buffer set-aside --retry sends what it has refused",
                    self._name,
                    device,
                )

    def try_again(self) -> None:
        """Somebody wants what was set aside to be sent again."""
        self.bars.lift()

    def forget(self, positions: Sequence[int]) -> None:
        """These have been accepted, or set aside."""
        self.suspects.forget(positions)
        if self._unexplained:
            for position in positions:
                self._unexplained.pop(position, None)

    async def hung_up(self, in_flight: AbstractSet[int], *, others_accepted: bool, now_s: float) -> None:
        """A connection in which the broker has answered is over, and this was not answered."""
        if self.bars.ended(now_s=now_s):
            return
        hopeless = self.suspects.ended(in_flight, others_accepted=others_accepted)
        if hopeless is not None:
            await self.set_aside(
                (hopeless,), f"{MOST_HANG_UPS} connections ended when it was sent alone, after others were accepted"
            )

    async def postponed(self, answers: Iterable[Acknowledgement], *, others_accepted: bool) -> None:
        """Messages were refused for now, in a connection in which others were accepted or not.

        A broker that takes others but refuses the same reading without an explanation, connection after connection,
        will not take it: it is set aside.
        """
        if not others_accepted:
            return
        hopeless: dict[str, list[int]] = defaultdict(list)
        for answer in answers:
            if verdict(answer.code) is Verdict.UNEXPLAINED:
                self._unexplained.update(answer.token)
                if self._unexplained[answer.token[0]] >= MOST_UNEXPLAINED:
                    self.forget(answer.token)
                    hopeless[refusal(answer)] += answer.token
        for reason, positions in hopeless.items():
            await self.set_aside(positions, reason)


def refusal(answer: Acknowledgement) -> str:
    """Why the broker has not taken a message, as the reason for which its readings are set aside."""
    return f"refused by the broker: {words(answer.code, said=answer.said)}"

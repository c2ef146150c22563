"""What the sessions need of an instrument, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Protocol

from drivers.contract import BadResponse
from drivers.model import Reason
from drivers.scale.indication import Indication, Tare

SETTLING_S = 20.0
"""Zeroing and taring wait until the load has settled; instruments give up by themselves after 10 to 15 s."""


class Instrument(Protocol):
    """An open link to one instrument. Everything raises `DeviceUnavailable` when the link is gone.

    `weigh`, `held_tare` and what writes raise `BadResponse`; what writes also does when the instrument refuses.
    """

    async def weigh(self) -> Indication:
        """Ask what it indicates now."""
        ...

    async def held_tare(self) -> Tare | None:
        """Ask for the tare memory; None when the instrument has no such command."""
        ...

    def indications(self) -> AsyncGenerator[Indication, None]:
        """What it indicates, as often as it tells."""
        ...

    def settled(self) -> AsyncGenerator[Indication, None]:
        """What it indicates, at least once for each load that has settled."""
        ...

    async def zero(self) -> None:
        """Set to zero, once the load has settled."""
        ...

    async def tare(self) -> Tare | None:
        """Take what lies on it as tare, once that has settled. What is held then, where the instrument tells."""
        ...

    async def preset_tare(self, weight: Decimal, *, unit: str) -> Tare | None:
        """Set the tare memory. An empty `unit` is that of the display.

        Raises ValueError when it cannot be done, or not in this unit.
        """
        ...

    async def clear_tare(self) -> Tare | None:
        """Empty the tare memory. What is held then, where the instrument tells."""
        ...

    async def leave(self) -> None:
        """Ask it to stop sending, if we have asked it to start. Raises nothing."""
        ...


def refused(attempt: str, link: str, why: str, *, reason: Reason = Reason.DEVICE_ERROR, hint: str = "") -> BadResponse:
    """The instrument understood, and did not do it."""
    return BadResponse(f"{attempt} on {link}: {why}", reason=reason, hint=hint)

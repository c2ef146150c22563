"""Waiting for something to have happened again."""

from __future__ import annotations

import asyncio


class Progress:
    """Each announcement wakes everybody who waits at that moment. (An `asyncio.Condition` needs its lock for that.)"""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Until the next announcement."""
        await self._next.wait()

    def announce(self) -> None:
        happened, self._next = self._next, asyncio.Event()
        happened.set()

"""Waiting for what other processes do, and writing down when they did it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path


class Diary:
    """What happened when, in seconds since the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started_s = time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._started_s

    def note(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{self.now_s:8.3f} {text}\n")


async def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Look again and again until it is true. Raises AssertionError when it does not come true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.05)

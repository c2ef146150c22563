"""Commands that come a second time, because their sender or a bridge between brokers has sent them again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

REMEMBERED_S = 300.0
MOST_REMEMBERED = 1000


class Key(NamedTuple):
    """Two commands that are equal in all this are the same command."""

    device: str
    point: str
    payload: bytes
    response_topic: str | None
    correlation: bytes


@dataclass(frozen=True, slots=True)
class _Known:
    answer: asyncio.Future[bytes]
    since_s: float


class Repeats:
    """The answers to the commands of the last `REMEMBERED_S` seconds, of at most `MOST_REMEMBERED`."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}

    def answer(self, key: Key, *, now_s: float) -> asyncio.Future[bytes] | None:
        """The answer that this command got or will get; None for a new one."""
        for old in list(self._known):
            if now_s - self._known[old].since_s < REMEMBERED_S and len(self._known) <= MOST_REMEMBERED:
                break
            del self._known[old]
        known = self._known.get(key)
        return None if known is None else known.answer

    def remember(self, key: Key, answer: asyncio.Future[bytes], *, now_s: float) -> None:
        """This command is new, and `answer` will be its answer."""
        self._known[key] = _Known(answer, now_s)

    def forget(self, key: Key) -> None:
        """Should this command come again, it is new."""
        self._known.pop(key, None)

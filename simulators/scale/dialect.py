"""What the three protocols have in common. No clock and no I/O: the caller says what time it is and comes when it is due."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from simulators.scale.display import Display

DISPLAY_S = 0.05
"""How often an indicator measures: somebody who waits for stability waits for a multiple of this."""


class Message(NamedTuple):
    """What is sent at once. `unasked` is a stream or a greeting; else it answers what has just come."""

    data: bytes
    unasked: bool = False


class Dialect(ABC):
    """One client's conversation about a display that it may share with others.

    Times are seconds of one monotonic clock. What is kept of the client's bytes is bounded.
    """

    def __init__(self, display: Display) -> None:
        self._display = display

    @property
    @abstractmethod
    def due_s(self) -> float | None:
        """When `advance` has something to do; None: not before something is received."""

    @abstractmethod
    def start(self, now_s: float) -> list[Message]:
        """The client is there from now on, or the indicator is on again: forget everything that was said."""

    @abstractmethod
    def greet(self) -> list[Message]:
        """What the indicator sends by itself when it has been switched on."""

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> list[Message]:
        """The client has sent `data`."""

    @abstractmethod
    def advance(self, now_s: float) -> list[Message]:
        """Time has passed."""


def next_due(due_s: float, period_s: float, now_s: float) -> float:
    """The first of `due_s`, `due_s + period_s` … that is later than `now_s`. What was missed is not made up for."""
    if now_s < due_s:
        return due_s
    return max(due_s + period_s, now_s + period_s / 2)

"""What all dialects of a scale's indicator have in common: lines in, lines out, and what time brings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from math import inf

from simulators.faces import ScaleFace

MOST_WAITING_BYTES = 128
"""A command longer than this is noise."""


class Dialect(ABC):
    """An indicator talking to one client. Times are monotonic seconds.

    `answer_to` and `tick` return whole messages in the order in which they go out. `next_s` says when `tick` has
    something to do.
    """

    def __init__(self, face: ScaleFace) -> None:
        self._face = face
        self.next_s = inf

    @abstractmethod
    def answer_to(self, data: bytes, now_s: float) -> list[bytes]:
        """What is answered at once to these bytes, which may be part of a command or several."""

    @abstractmethod
    def tick(self, now_s: float) -> list[bytes]:
        """What goes out because of the time: a repeated weight, or the answer to one who waits for it to be stable."""

    @property
    @abstractmethod
    def speaks_unasked(self) -> bool:
        """Whether `tick` says what nobody waits for now."""

    def powered_up(self, now_s: float) -> list[bytes]:  # noqa: ARG002  not every dialect tells the time by it
        """The machine has lost its power and is back: forget everything; returns what it announces."""
        self.next_s = inf
        return []


def decimals(interval_kg: Decimal) -> int:
    """Digits behind the point of a weight on this grid: 3 for 0.005."""
    exponent = interval_kg.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def shown(weight_kg: Decimal, interval_kg: Decimal) -> str:
    """The weight with all digits of the display; never minus zero."""
    text = f"{weight_kg:.{decimals(interval_kg)}f}"
    return text if weight_kg else text.lstrip("-")

"""How long to wait before trying again: exponential, capped, with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays that grow while attempts fail. Call `reset` after success, and success only: a connection that was
    accepted and dropped at once is no success.

    Full jitter (a uniform draw between zero and the ceiling) keeps a thousand gateways from knocking together.
    """

    def __init__(
        self, *, first_s: float, longest_s: float, draw: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._draw = draw
        self._ceiling_s = first_s
        self.failures = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt; counts one failure."""
        self.failures += 1
        delay_s = self._draw(0.0, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._longest_s)
        return delay_s

    def reset(self) -> None:
        self._ceiling_s = self._first_s
        self.failures = 0

"""`thin`: which readings give way so that a long outage leaves a coarser history, and not a shorter one. Pure.

Sweeps go from the oldest reading to the newest, each as far as there is need for room, and on from there the next time.
The first keeps every second reading of each poll group, the next every fourth of those that were taken, and so on: it
halves what the sweep before it has left, and takes as much out of what has come since. So at any time the whole history
has one or two densities. What comes unasked is an event, or stands for a change: it is never thinned.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from drivers.settings import Priority

COARSEST = 10
"""The last sweep keeps every 1024th reading."""

Scanned = tuple[int, int, int, bool]
"""position, group, observed_at_ns, whether report by exception has left out most points"""


@dataclass(slots=True)
class Sweep:
    """Where the thinning of some readings stands."""

    level: int = 1
    """It keeps every 2^level-th reading."""
    after: int = 0
    """Up to this position it is done."""
    before: int = 0
    """Up to this position the sweep before it has come."""
    _since: dict[int, int] = field(default_factory=dict)
    """By group: how many readings were taken since one that is kept."""

    def is_over(self, last: int) -> bool:
        """Whether nothing up to `last` can be thinned any more."""
        return self.level == COARSEST and self.after >= last

    def thin(self, rows: Iterable[Scanned], groups: Container[int], *, most: int) -> list[tuple[int, int]]:
        """Go on over these rows, which follow `after`. Returns (position, observed_at_ns) of those to drop, and stops
        with the last of `most`.

        Rows of other groups than these are passed over. A reading that has most of its points is worth more than one
        of those that say what has changed, so it is waited for, up to as many readings again.
        """
        victims: list[tuple[int, int]] = []
        distance = 2**self.level
        for position, group, observed_at_ns, is_sparse in rows:
            self.after = position
            if group not in groups:
                continue
            stands_for = 2 ** (self.level - 1) if position <= self.before else 1
            since = self._since.get(group, 2 * distance)  # the first one is kept
            if since >= (2 * distance if is_sparse else distance):
                self._since[group] = stands_for
            else:
                self._since[group] = since + stands_for
                victims.append((position, observed_at_ns))
                if len(victims) == most:
                    break
        return victims

    def end(self, last: int) -> None:
        """There are no more rows up to `last`: the next sweep begins, unless this was the coarsest."""
        self.before = last
        if self.level < COARSEST:
            self.level, self.after = self.level + 1, 0
            self._since.clear()
        else:
            self.after = last


def new_sweeps() -> dict[Priority, Sweep]:
    """Nothing has been thinned."""
    return {priority: Sweep() for priority in Priority}


def encode_sweeps(sweeps: Mapping[Priority, Sweep]) -> str:
    """JSON: `{"low": [level, after, before], ...}`."""
    return orjson.dumps(
        {priority.value: (one.level, one.after, one.before) for priority, one in sweeps.items()}
    ).decode()


def decode_sweeps(text: str) -> dict[Priority, Sweep]:
    """The inverse; nothing has been thinned of what is not in there."""
    return new_sweeps() | {Priority(name): Sweep(*numbers) for name, numbers in orjson.loads(text).items()}

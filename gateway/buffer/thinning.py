"""`thin`: which readings give way so that a long outage leaves a coarser history, and not a shorter one. Pure.

Sweeps go from the oldest reading to the newest, each as far as there is need for room, and on from there the next time.
The first keeps every second reading of each poll group, the next every fourth of those that were taken, and so on: it
halves what the sweep before it has left, and takes as much out of what has come since. So at any time the whole history
has one or two densities. What comes unasked is an event, or stands for a change: it is never thinned.

A sweep reads all that there is, so the next one has to be worth it: where thinned readings are few among the others,
nothing more is to be had from them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from drivers.settings import Priority

COARSEST = 10
"""The last sweep keeps every 1024th reading."""
_RAREST = 32  # one row of so many in all is worth reading the others

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
    kept: int = 0
    """Readings that it has left so far."""
    _since: dict[int, int] = field(default_factory=dict)
    """By group: how many readings were taken since one that is kept."""

    def is_worth_another(self, rows: int, *, rows_per_page: int) -> bool:
        """Whether another sweep, which halves what this one has kept among so many rows in all, would free pages: of
        rows that share pages it has to drop one on each."""
        sharing = min(rows_per_page, _RAREST) if rows_per_page > 1 else _RAREST
        return self.level < COARSEST and self.kept * sharing >= 2 * rows

    def begin_another(self) -> None:
        self.before = max(self.before, self.after)
        self.level, self.after, self.kept = self.level + 1, 0, 0
        self._since.clear()

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
                self.kept += 1
            else:
                self._since[group] = since + stands_for
                victims.append((position, observed_at_ns))
                if len(victims) == most:
                    break
        return victims

    def end(self, last: int) -> None:
        """There are no more rows up to `last`. It goes on with those that come, until another begins."""
        self.after = self.before = last


def new_sweeps() -> dict[Priority, Sweep]:
    """Nothing has been thinned."""
    return {priority: Sweep() for priority in Priority}


def encode_sweeps(sweeps: Mapping[Priority, Sweep]) -> str:
    """JSON: `{"low": [level, after, before, kept], ...}`."""
    numbers = {priority.value: (one.level, one.after, one.before, one.kept) for priority, one in sweeps.items()}
    return orjson.dumps(numbers).decode()


def decode_sweeps(text: str) -> dict[Priority, Sweep]:
    """The inverse; nothing has been thinned of what is not in there. Raises AttributeError, TypeError or ValueError on
    anything else."""
    found = {Priority(name): numbers for name, numbers in orjson.loads(text).items()}
    if not all(isinstance(number, int) for numbers in found.values() for number in numbers):
        raise TypeError(f"{text} are no sweeps")
    return new_sweeps() | {priority: Sweep(*numbers) for priority, numbers in found.items()}

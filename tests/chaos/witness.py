"""What the database holds, seen from outside in SQL and not through the gateway's code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from bisect import bisect_right
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

LOOK_EVERY_S = 0.1

_NEW_ROWS = """
SELECT reading.id, point_group.device, reading.observed_at_ns, point_group.points, reading.body, reading.quality
FROM reading JOIN point_group ON point_group.id = reading.group_id WHERE reading.id > ? ORDER BY reading.id
"""

_CLOCKS = "SELECT first_position, offset_ns, correction_ns, ended_boot_ns FROM clock_era"

Content = tuple[str, int, bytes, bytes]
"""Of a reading: device, ts_ms, values and quality as JSON objects with sorted keys."""


def content(device: str, ts_ms: int, values: dict[str, Any], quality: dict[str, str]) -> Content:
    """The same for the same reading, whether it was read from the database or received from a broker."""
    return (
        device,
        ts_ms,
        orjson.dumps(values, option=orjson.OPT_SORT_KEYS),
        orjson.dumps(quality, option=orjson.OPT_SORT_KEYS),
    )


_YEAR_NS = 365 * 86_400_000_000_000
_UNSET = "uncertain:clock-unset"


@dataclass(frozen=True, slots=True)
class Clock:
    """What the table `clock_era` says of the clock by which a reading was taken: see gateway/buffer/schema."""

    started_ns: int
    """When the machine started, by that clock."""
    lacks_ns: int | None
    ended_ns: int | None

    def told(self, time_ns: int) -> bool:
        """Whether the time is that of the clock; a device may have one of its own."""
        longest_ns = _YEAR_NS if self.ended_ns is None else self.ended_ns
        return 0 <= time_ns - self.started_ns <= longest_ns

    def true_ns(self, time_ns: int) -> int:
        """The time that it would have been by a clock that is set, as far as that is known."""
        return time_ns + (self.lacks_ns or 0) if self.told(time_ns) else time_ns


@dataclass(slots=True)
class Stand:
    """What a destination has not acknowledged, as the table `destination` has it: see gateway/buffer/schema."""

    through: int
    pending: list[tuple[int, int]]

    def acknowledged(self, first: int) -> set[int]:
        """The positions from `first` on that the destination waits for no more."""
        found = set(range(first, self.through + 1))
        for low, high in self.pending:
            found.difference_update(range(low, high + 1))
        return found


@dataclass(slots=True)
class Stay:
    """A destination from when it was first seen in the database to when it was last seen, or to the end."""

    joined_after: int
    owes: list[tuple[int, int]]
    """What it waited for when it was first seen."""
    last: Stand

    def acknowledged(self) -> set[int]:
        """Everything that came after it, or waited for it, and does so no more."""
        waited = set(range(self.joined_after + 1, self.last.through + 1))
        waited.update(*(range(low, high + 1) for low, high in self.owes))
        return waited & self.last.acknowledged(min(waited, default=1))


@dataclass(slots=True)
class Witness:
    """Everything that was seen, look after look. Rows that came and went between two looks were not."""

    path: Path
    rows: dict[int, Content] = field(default_factory=dict)
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    epochs: set[str] = field(default_factory=set)
    clocks: dict[int, Clock] = field(default_factory=dict)
    """By the first position, as they were seen last."""
    highest: int = 0
    looks: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Looks that failed, by SQLite's words."""
    largest_bytes: int = 0
    _present: set[str] = field(default_factory=set)
    _taken_ns: dict[int, int] = field(default_factory=dict)
    """What the clock said."""

    async def watch(self) -> None:
        """Look every now and then, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await self._weigh(LOOK_EVERY_S)

    def look(self) -> None:
        """Take note of what there is. A database that cannot be read at the moment is looked at later."""
        try:
            with closing(read_only(self.path)) as database:
                self._look(database)
        except sqlite3.OperationalError as error:
            self.refused[str(error)] += 1

    @property
    def dropped_when_full(self) -> int:
        return self.dropped["max-bytes"] + self.dropped["thinned"]

    def times_ms(self, position: int) -> set[int]:
        """When the reading was taken: by the clock, as it was known when it was seen, as it is known now."""
        taken_ns = self._taken_ns[position]
        return {self.rows[position][1], taken_ns // 1_000_000, self._clock(position).true_ns(taken_ns) // 1_000_000}

    def has_everything(self, destination: str, *, until: int) -> bool:
        """Whether a destination waits for nothing up to a position that has been committed."""
        last = self.stays[destination][-1].last
        return last.through >= until and all(low > until for low, _ in last.pending)

    async def _weigh(self, seconds: float) -> None:
        """For so long, see how large the files are."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self.largest_bytes = max(self.largest_bytes, _bytes_on_disk(self.path))
            await asyncio.sleep(0.005)

    def _look(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN")  # one state of things for all that follows
        self.clocks |= {first: Clock(*found) for first, *found in database.execute(_CLOCKS)}
        for position, device, observed_at_ns, points, body, quality in database.execute(_NEW_ROWS, (self.highest,)):
            self._taken_ns[position] = observed_at_ns
            clock = self._clock(position)
            self.rows[position] = _content(device, observed_at_ns, points, body, quality, clock=clock)
            self.highest = position
        stands = {
            name: Stand(through, [(low, high) for low, high in json.loads(pending)])
            for name, through, pending in database.execute("SELECT name, through, pending FROM destination")
        }
        for name, stand in stands.items():
            if name in self._present:
                self.stays[name][-1].last = stand
            else:
                self.stays.setdefault(name, []).append(Stay(stand.through, stand.pending, stand))
        self._present = set(stands)
        self.highest = max([self.highest, *(stand.through for stand in stands.values())])
        self.dropped = Counter(dict(database.execute("SELECT reason, sum(readings) FROM dropped GROUP BY reason")))
        self.epochs |= {value for (value,) in database.execute("SELECT value FROM state WHERE key = 'epoch'")}
        self.looks += 1

    def _clock(self, position: int) -> Clock:
        firsts = sorted(self.clocks)
        return self.clocks[firsts[bisect_right(firsts, position) - 1]]


def read_only(path: Path) -> sqlite3.Connection:
    """The database of a gateway that may be running."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10, isolation_level=None)


def _content(device: str, observed_at_ns: int, points: str, body: str, quality: str | None, *, clock: Clock) -> Content:
    names = [point["name"] for point in orjson.loads(points)]
    found = orjson.loads(body)
    if isinstance(found, list):
        values = {name: value for name, value in zip(names, found, strict=True) if value is not None}
    else:
        values = {names[int(index)]: value for index, value in found.items() if value is not None}
    said = {} if quality is None else orjson.loads(quality)
    qualities = (
        dict.fromkeys(names, said) if isinstance(said, str) else {names[int(index)]: one for index, one in said.items()}
    )
    if clock.lacks_ns is None and clock.told(observed_at_ns):
        qualities |= dict.fromkeys(values, _UNSET)
    return content(device, clock.true_ns(observed_at_ns) // 1_000_000, values, qualities)


def _bytes_on_disk(path: Path) -> int:
    total = 0
    for one in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(FileNotFoundError):  # between two runs of the gateway there is no log
            total += one.stat().st_size
    return total

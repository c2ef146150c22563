"""How the wall clock stood when readings were taken: what their times are worth, and what they lack.

An era is a run of positions whose readings were taken while nobody set the wall clock; within a boot its difference
from the boot clock is what tells one era from the next. The first time that the clock is set in a boot dates the eras
before it in that boot. Eras stand for ranges of positions, so they cost nothing for each reading.

A device may have a clock of its own. A time that the wall clock of the era cannot have shown is taken for such a one
and left alone: one from before the start of the machine, or from after the era.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from drivers.model import Quality, Reading, uncertain

CLOCK_UNSET_BEFORE_NS = 1_577_836_800_000_000_000
"""2020-01-01 UTC. A clock that says it is earlier has not been set."""

MOST_ERAS = 1_000
"""When there are more, the readings of the oldest are taken at their word."""

CLOCK_UNSET = uncertain("clock-unset")

_LONGEST_BOOT_NS = 365 * 86_400_000_000_000
_EVERYTHING = 2**63
_SINCE_VERSION = 3


@dataclass(frozen=True, slots=True)
class Era:
    """The wall clock from one setting to the next."""

    boot_id: str
    offset_ns: int
    """Wall clock less boot clock: what the wall clock would have said when the machine started."""
    correction_ns: int | None
    """What has to be added to its times; 0: it was set; None: it was not, and what it lacked is not known."""
    ended_boot_ns: int | None = None
    """No time of this clock was later, by the boot clock; None while it has not ended."""

    @property
    def true_offset_ns(self) -> int | None:
        """As `offset_ns`, of a clock that is set; None while that is not known."""
        return None if self.correction_ns is None else self.offset_ns + self.correction_ns

    def told(self, observed_at_ns: int) -> bool:
        """Whether this is a time of the wall clock, as far as one can see."""
        longest_ns = _LONGEST_BOOT_NS if self.ended_boot_ns is None else self.ended_boot_ns
        return 0 <= observed_at_ns - self.offset_ns <= longest_ns

    def dated(self, reading: Reading) -> Reading:
        """With the true time, or marked when that is not known."""
        if self.correction_ns == 0 or not self.told(reading.observed_at_ns):
            return reading
        if self.correction_ns is None:
            return replace(reading, quality=_marked(reading))
        return replace(reading, observed_at_ns=self.dated_ns(reading.observed_at_ns))

    def dated_ns(self, observed_at_ns: int) -> int:
        """The true time, or what the clock said when that is not known."""
        return observed_at_ns + (self.correction_ns or 0) if self.told(observed_at_ns) else observed_at_ns

    def is_same_clock(self, other: Era) -> bool:
        """Whether nobody set the clock between the two."""
        ours, theirs = (self.boot_id, self.offset_ns), (other.boot_id, other.offset_ns)
        return ours == theirs and (self.correction_ns == 0) == (other.correction_ns == 0)

    def corrected(self, true_offset_ns: int, *, ended_boot_ns: int) -> Era:
        """The same, now that it has ended and is known what a clock that is set says."""
        return replace(self, correction_ns=true_offset_ns - self.offset_ns, ended_boot_ns=ended_boot_ns)


_BEFORE_ERAS_WERE_KEPT = Era("", 0, 0)


class Eras:
    """The eras of all readings in the buffer, by their first positions."""

    def __init__(self, eras: Iterable[tuple[int, Era]] = ()) -> None:
        """`eras` ascending by their first positions."""
        self._firsts: list[int] = []
        self._eras: list[Era] = []
        self.certain_from = 0
        """From this position on every reading is as it was written."""
        for first, era in eras:
            self._firsts.append(first)
            self._eras.append(era)
        self._look_for_doubt()

    def __len__(self) -> int:
        return len(self._eras)

    def __iter__(self) -> Iterator[tuple[int, Era]]:
        return zip(self._firsts, self._eras, strict=True)

    @property
    def newest(self) -> Era | None:
        return self._eras[-1] if self._eras else None

    def at(self, position: int) -> Era:
        """That of a reading. Readings from before there were eras were taken at their word."""
        index = bisect_right(self._firsts, position) - 1
        return self._eras[index] if index >= 0 else _BEFORE_ERAS_WERE_KEPT

    def begin(self, first: int, era: Era, *, ended_boot_ns: int) -> None:
        """Readings from the position `first` on belong to `era`. It dates those of the same boot that are undated, and
        that have ended with it."""
        if self._firsts and self._firsts[-1] == first:  # no reading belongs to that one
            self._firsts.pop()
            self._eras.pop()
        true_offset_ns = era.true_offset_ns
        if true_offset_ns is not None:
            for index, one in enumerate(self._eras):
                if one.boot_id == era.boot_id and one.correction_ns is None:
                    self._eras[index] = one.corrected(true_offset_ns, ended_boot_ns=ended_boot_ns)
        self._firsts.append(first)
        self._eras.append(era)
        del self._firsts[:-MOST_ERAS], self._eras[:-MOST_ERAS]
        self._look_for_doubt()

    def _look_for_doubt(self) -> None:
        self.certain_from = 0
        for index in range(len(self._eras) - 1, -1, -1):
            if self._eras[index].correction_ns != 0:
                self.certain_from = self._firsts[index + 1] if index + 1 < len(self._firsts) else _EVERYTHING
                return


def read_eras(database: sqlite3.Connection) -> Eras:
    """Those of a database; none of one that is of an older gateway. Raises `sqlite3.Error`, also for a row that says
    what was never written like this."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version < _SINCE_VERSION:
        return Eras()
    rows = database.execute("SELECT * FROM clock_era ORDER BY first_position")
    return Eras((first, _era(*columns)) for first, *columns in rows)


def _era(boot_id: object, offset_ns: object, correction_ns: object, ended_boot_ns: object) -> Era:
    if not (
        isinstance(boot_id, str)
        and isinstance(offset_ns, int)
        and isinstance(correction_ns, int | None)
        and isinstance(ended_boot_ns, int | None)
    ):
        raise sqlite3.DatabaseError("an era of the clock says what was never written")
    return Era(boot_id, offset_ns, correction_ns, ended_boot_ns)


def _marked(reading: Reading) -> dict[int, Quality]:
    """A point without a value stays what it is: it has nothing whose time could matter, and why it is bad is worth
    more."""
    marked = {index: CLOCK_UNSET for index, value in enumerate(reading.values) if value is not None}
    return marked | {index: one for index, one in reading.quality.items() if reading.values[index] is None}

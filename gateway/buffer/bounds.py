"""How full the buffer is, decided from measurements. Pure: measuring and dropping are done elsewhere.

`max_bytes` is what the file system shows: the database and its write-ahead log. Both only grow while they are written,
so each has a budget that no sequence of steps can pass (`Budget`). Pages that were freed stay in the file and are used
again, so a full buffer drops and fills in place without growing; what is free beyond a reserve is given back.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.buffer.drops import DropReason

PAGE_BYTES = 4096
_LEAST_WAL_BYTES = 192 * 2**10
_MOST_WAL_BYTES = 64 * 2**20
_MOST_CHECKPOINT_BYTES = 8 * 2**20
_MOST_TRANSACTION_BYTES = 4 * 2**20
_OVERHEAD_BYTES = 20 * PAGE_BYTES  # what there is besides readings, and a transaction may write: tables, indexes, maps
_LEAST_ROW_BYTES = 32
_MOST_RESERVE_BYTES = 2**20  # free pages worth keeping
_SMOOTHING_S = 60.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How `max_bytes` is divided. All in bytes.

    A transaction of `transaction` bytes of readings writes at most twice as much (a row of half a page and a little
    more fills a page) and `_OVERHEAD_BYTES`. Hence

        truncate_wal + 2 * transaction + overhead == wal       a log that is just short enough, and one transaction more
        ceiling + 4 * transaction + overhead      == file      two transactions between two looks
        wal + file                                == max_bytes

    On a disk that is smaller than `max_bytes` the log has its share of the disk.
    """

    wal: int
    transaction: int
    file: int
    """The most that the pages of the database may take, in use or free."""
    ceiling: int
    """The most that may be in use when nobody looks. Beyond it readings have to go."""

    @staticmethod
    def of(max_bytes: int, *, disk_bytes: int) -> Budget:
        wal = min(_MOST_WAL_BYTES, max(min(max_bytes, disk_bytes) // 8, _LEAST_WAL_BYTES))
        transaction = min(_MOST_TRANSACTION_BYTES, wal // 12)
        file = max_bytes - wal
        return Budget(wal, transaction, file, file - 4 * transaction - _OVERHEAD_BYTES)

    def disk_room(self, measured: Measured, *, min_free_disk: int) -> int:
        """How far the disk is from being too full for the buffer to grow; negative when it is.

        Beside what is to stay free for others there has to be room for what is not to be seen yet: a log of its usual
        length, and the pages that are in the log only. Without it the log can neither grow nor be begun again.
        """
        log = max(0, self.checkpoint + 2 * self.transaction + _OVERHEAD_BYTES - measured.wal_bytes)
        pages = max(0, measured.pages * PAGE_BYTES - measured.file_bytes)
        return measured.disk_free_bytes - max(min_free_disk, log + pages + self.growth)

    @property
    def checkpoint(self) -> int:
        """A log of this length is copied into the database, and then written from its beginning again."""
        return min(_MOST_CHECKPOINT_BYTES, self.truncate_wal // 2)

    @property
    def truncate_wal(self) -> int:
        """A log beyond this has been kept from beginning again by somebody who reads it: it has to be cut off."""
        return self.wal - 2 * max(self.transaction, self.largest_reading) - _OVERHEAD_BYTES

    @property
    def growth(self) -> int:
        """The most that the pages of the database grow by between two looks."""
        return 4 * self.transaction + _OVERHEAD_BYTES

    @property
    def largest_reading(self) -> int:
        """One reading may take a transaction of its own."""
        return self.wal // 8


@dataclass(frozen=True, slots=True)
class Measured:
    """The database as it is now. Sizes in bytes; `first_*` of the oldest row, None without rows."""

    file_bytes: int
    wal_bytes: int
    pages: int
    free_pages: int
    disk_free_bytes: int
    first_position: int | None
    first_observed_ns: int | None
    has_set_aside: bool = False

    @property
    def used_bytes(self) -> int:
        return (self.pages - self.free_pages) * PAGE_BYTES

    def row_bytes(self, rows: int) -> int:
        """What one of so many rows takes, on average."""
        return max(_LEAST_ROW_BYTES, (self.used_bytes - _OVERHEAD_BYTES) // max(1, rows))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`surplus_bytes` > 0: that much has to go, because of `reason`. `relieved`: well below every limit."""

    reason: DropReason | None
    surplus_bytes: int
    relieved: bool
    disk_is_low: bool
    """The buffer does not grow, whatever `max_bytes` is."""
    spare_pages: int
    """Free pages to give back to the file system."""


class Bounds:
    """`max_bytes` and `min_free_disk`. Below the floor of free disk the buffer stops growing: it keeps what it has and
    makes room for new readings in place."""

    def __init__(self, budget: Budget, *, min_free_disk: int) -> None:
        self._budget = budget
        self._min_free_disk = min_free_disk
        self._frozen_bytes: int | None = None  # size of the file when the disk ran low

    def judge(self, measured: Measured) -> Verdict:
        budget = self._budget
        disk_room = budget.disk_room(measured, min_free_disk=self._min_free_disk)
        if disk_room >= budget.growth:
            self._frozen_bytes = None
        elif disk_room < 0 and self._frozen_bytes is None:
            self._frozen_bytes = max(measured.pages * PAGE_BYTES, 2 * _OVERHEAD_BYTES)
        ceiling, reason = budget.ceiling, DropReason.MAX_BYTES
        if self._frozen_bytes is not None and self._frozen_bytes < ceiling:
            ceiling, reason = self._frozen_bytes - self._frozen_bytes // 32, DropReason.MIN_FREE_DISK
        full = measured.used_bytes > ceiling
        return Verdict(
            reason=reason if full else None,
            surplus_bytes=measured.used_bytes - ceiling + min(ceiling // 32, 4 * budget.transaction) if full else 0,
            relieved=measured.used_bytes < ceiling - ceiling // 8,
            disk_is_low=self._frozen_bytes is not None,
            spare_pages=self._spare_pages(measured),
        )

    def _spare_pages(self, measured: Measured) -> int:
        beyond_budget = measured.pages - self._budget.file // PAGE_BYTES
        most_reserve = min(_MOST_RESERVE_BYTES, self._budget.file // 8) // PAGE_BYTES
        reserve = max(most_reserve, (measured.pages - measured.free_pages) // 4)
        return max(0, min(measured.free_pages, max(beyond_budget, measured.free_pages - reserve)))


class Forecast:
    """When the first bound will be reached if everything goes on as in the last minute.

    The buffer fills at its own rate. The disk under it is also filled by others, so it has a rate of its own.
    """

    def __init__(self, budget: Budget, *, min_free_disk: int) -> None:
        self._budget = budget
        self._min_free_disk = min_free_disk
        self._filling = Rate()
        self._disk_filling = Rate()

    def seconds_until_full(self, measured: Measured, *, now_s: float) -> float:
        """0 when a bound is reached, infinity while none comes nearer. `now_s` is monotonic."""
        filling = self._filling.observe(now_s, measured.used_bytes)
        disk_room = self._budget.disk_room(measured, min_free_disk=self._min_free_disk)
        disk_filling = self._disk_filling.observe(now_s, -disk_room)
        reusable = measured.free_pages * PAGE_BYTES
        return min(
            _seconds(self._budget.ceiling - measured.used_bytes, filling),
            _seconds(disk_room + reusable, filling),
            _seconds(disk_room + reusable, disk_filling),
        )


class Rate:
    """The growth of something by the second: its mean over the first minute, then smoothed over about one."""

    def __init__(self) -> None:
        self._per_s = 0.0
        self._first_s = 0.0
        self._last: tuple[float, int] | None = None

    def observe(self, now_s: float, value: int) -> float:
        """Returns the rate as of now."""
        if self._last is None:
            self._first_s = now_s
        elif now_s > self._last[0]:
            elapsed_s = now_s - self._last[0]
            weight = elapsed_s / max(elapsed_s, min(_SMOOTHING_S, now_s - self._first_s))
            self._per_s += weight * ((value - self._last[1]) / elapsed_s - self._per_s)
        self._last = (now_s, value)
        return self._per_s


def _seconds(room: int, per_s: float) -> float:
    if room <= 0:
        return 0.0
    return room / per_s if per_s > 0 else float("inf")

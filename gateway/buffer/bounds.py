"""How full the buffer is, decided from measurements. Pure: measuring and dropping are done elsewhere.

The budget of `max_bytes` is split: a small part for the write-ahead log, the rest for the pages of the database that
are in use. Pages that were freed stay in the file and are used again, so a full buffer drops and fills in place without
growing; what is free beyond a reserve is given back to the file system.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.buffer.drops import DropReason

PAGE_BYTES = 4096
_MOST_WAL_BYTES = 16 * 2**20
_LEAST_CEILING_BYTES = 256 * 2**10  # whatever the limits: an empty database, and room for readings to pass through
_RESERVE_BYTES = 2**20  # free pages worth keeping
_SMOOTHING_S = 60.0


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

    @property
    def used_bytes(self) -> int:
        return (self.pages - self.free_pages) * PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Verdict:
    """`surplus_bytes` > 0: that much has to go, because of `reason`. `relieved`: well below every limit."""

    reason: DropReason | None
    surplus_bytes: int
    relieved: bool
    spare_pages: int
    """Free pages to give back to the file system."""


def wal_budget_bytes(max_bytes: int) -> int:
    """How large the write-ahead log may stay: 16 MiB, or an eighth of a small buffer."""
    return min(_MOST_WAL_BYTES, max(max_bytes // 8, 8 * PAGE_BYTES))


class Bounds:
    """`max_bytes` and `min_free_disk`. Below the floor of free disk the buffer stops growing: it keeps what it has and
    makes room for new readings in place."""

    def __init__(self, *, max_bytes: int, min_free_disk: int) -> None:
        self._budget_bytes = max(max_bytes - wal_budget_bytes(max_bytes), _LEAST_CEILING_BYTES)
        self._min_free_disk = min_free_disk
        self._frozen_bytes: int | None = None  # size of the file when the disk ran low

    def judge(self, measured: Measured) -> Verdict:
        if measured.disk_free_bytes >= self._min_free_disk:
            self._frozen_bytes = None
        elif self._frozen_bytes is None:
            self._frozen_bytes = max(measured.pages * PAGE_BYTES, _LEAST_CEILING_BYTES)
        ceiling, reason = self._budget_bytes, DropReason.MAX_BYTES
        if self._frozen_bytes is not None and self._frozen_bytes < ceiling:
            ceiling, reason = self._frozen_bytes - self._frozen_bytes // 32, DropReason.MIN_FREE_DISK
        full = measured.used_bytes > ceiling
        return Verdict(
            reason=reason if full else None,
            surplus_bytes=measured.used_bytes - (ceiling - ceiling // 32) if full else 0,
            relieved=measured.used_bytes < ceiling - ceiling // 8,
            spare_pages=self._spare_pages(measured),
        )

    def headroom_bytes(self, measured: Measured) -> int:
        """How much more can be stored before something has to go."""
        room = self._budget_bytes - measured.used_bytes
        reusable = measured.free_pages * PAGE_BYTES
        return max(0, min(room, measured.disk_free_bytes - self._min_free_disk + reusable))

    def _spare_pages(self, measured: Measured) -> int:
        beyond_budget = measured.pages - self._budget_bytes // PAGE_BYTES
        reserve = max(_RESERVE_BYTES // PAGE_BYTES, (measured.pages - measured.free_pages) // 4)
        return max(0, min(measured.free_pages, max(beyond_budget, measured.free_pages - reserve)))


class FillRate:
    """The net growth of the buffer, smoothed over about a minute."""

    def __init__(self) -> None:
        self._rate = 0.0  # bytes per second
        self._last: tuple[float, int] | None = None

    def observe(self, now_s: float, *, used_bytes: int) -> None:
        if self._last is not None and now_s > self._last[0]:
            elapsed_s = now_s - self._last[0]
            weight = min(1.0, elapsed_s / _SMOOTHING_S)
            self._rate += weight * ((used_bytes - self._last[1]) / elapsed_s - self._rate)
        self._last = (now_s, used_bytes)

    def seconds_until(self, headroom_bytes: int) -> float:
        """Infinity while the buffer does not grow."""
        return headroom_bytes / self._rate if self._rate > 0 else float("inf")

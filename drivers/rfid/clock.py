"""Whose clock says when a tag was seen."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

BELIEVED_WITHIN_NS = 5_000_000_000
"""A reader that keeps time by NTP is right within milliseconds; one that does not is wrong by hours or years."""
_LAST_NS = 2**63 - 1
"""In the year 2262: no later time can be stored, and no reader is that far ahead."""


class ClockChoice(StrEnum):
    """`auto` believes the reader's clock when it is right within seconds at the time of connecting."""

    AUTO = "auto"
    READER = "reader"
    GATEWAY = "gateway"


class ReaderClock:
    """Turns the reader's times into ours. Made when a connection is, from the time in the reader's first message."""

    def __init__(self, choice: ClockChoice, *, utc_us: int | None, now_ns: int) -> None:
        """`utc_us` is microseconds since 1970-01-01 on the reader's clock; None when it only knows its uptime."""
        self._choice = choice
        self.offset_s: float | None = None if utc_us is None else (utc_us * 1000 - now_ns) / 1e9
        """How far it is ahead of ours."""
        is_right = self.offset_s is not None and abs(self.offset_s) * 1e9 <= BELIEVED_WITHIN_NS
        self.is_believed = choice is ClockChoice.READER or (choice is ClockChoice.AUTO and is_right)
        self.is_distrusted = choice is ClockChoice.AUTO and not is_right

    def time_ns(self, utc_us: int | None, *, now_ns: int) -> int:
        """When the reader saw something, if that can be believed; else `now_ns`, which is when it was told."""
        if utc_us is None or not self.is_believed or utc_us * 1000 > _LAST_NS:
            return now_ns
        seen_ns = utc_us * 1000
        if self._choice is ClockChoice.AUTO and seen_ns > now_ns + BELIEVED_WITHIN_NS:
            return now_ns  # its clock has jumped ahead since
        return seen_ns


def iso_text(time_ns: int) -> str:
    """ISO 8601 in UTC with microseconds, `2026-01-01T00:00:00.123456Z`."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1000:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")

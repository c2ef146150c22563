"""The clocks of this machine: one for what people call time, one that only ever runs, and whether the first is right.

The wall clock (CLOCK_REALTIME) can be set at any moment. The boot clock (CLOCK_BOOTTIME) counts from the start of the
machine, through suspension too, and nobody can set it. Both follow the same frequency corrections (clock_gettime(2)),
so their difference stays the same until the wall clock is set.
"""

from __future__ import annotations

import ctypes
import errno
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_TIME_ERROR = 5  # <sys/timex.h>
_SHORT_NS = 1_000_000
_MOST_ATTEMPTS = 100


@cache
def boot_id() -> str:
    """Identifies this run of the kernel, or only this process where the kernel does not say."""
    return _BOOT_ID.read_text("ascii").strip() if _BOOT_ID.exists() else str(uuid.uuid4())


def is_synchronised() -> bool:
    """Whether somebody keeps the wall clock right. False when nobody can tell.

    The kernel knows (adjtimex(2)). Where a sandbox does not let it be asked, systemd-timesyncd leaves a mark
    (systemd-timesyncd.service(8)).
    """
    ctypes.set_errno(0)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    if state == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        return _TIMESYNCD.exists()
    return state not in (-1, _TIME_ERROR)


def utc_text(time_ns: int) -> str:
    """ISO 8601 in UTC, cut to milliseconds: `2023-11-14T22:13:20.123Z`. Any time that fits into 64 bits."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}Z"


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Clock:
    """What the time is: `wall_ns` since 1970-01-01 UTC, `boot_ns` since the start of the machine, named `boot_id`."""

    wall_ns: Callable[[], int] = time.time_ns
    boot_ns: Callable[[], int] = _boot_ns
    is_synchronised: Callable[[], bool] = is_synchronised
    boot_id: str = field(default_factory=boot_id)

    def offset_ns(self) -> int:
        """Wall time less boot time, read as at one instant though this process may be stopped between two reads."""
        for _ in range(_MOST_ATTEMPTS):
            before_ns = self.boot_ns()
            wall_ns = self.wall_ns()
            if self.boot_ns() - before_ns < _SHORT_NS:
                break
        return wall_ns - before_ns


class _Timex(ctypes.Structure):
    """`struct timex`. All zero, it only asks; what follows the status is not looked at, and has room."""

    _fields_ = (("all", ctypes.c_char * 512),)

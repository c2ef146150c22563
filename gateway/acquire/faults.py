"""Where a bug in a driver stops."""

from __future__ import annotations

import asyncio
from types import TracebackType

from drivers.contract import BadResponse, DeviceUnavailable, DriverError
from drivers.model import Reason


class BugsRaisedAs:
    """A block in which a bug faults the device that met it and nothing else: the one place that takes any exception.

    A cancellation that nobody has asked for is a bug too, of a library that has cancelled what it was waiting for.

    A class because entering a generator would cost every read a tenth of what reading costs.
    """

    __slots__ = ("_attempt", "_kind")

    def __init__(self, kind: type[BadResponse | DeviceUnavailable], attempt: object) -> None:
        self._kind = kind
        self._attempt = attempt

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if (isinstance(error, Exception) and not isinstance(error, DriverError)) or _is_unasked(error):
            raise self._kind(
                f"{self._attempt} failed on a bug: {error!r}",
                reason=Reason.DRIVER_FAULT,
                hint="report it with the traceback in the log",
            ) from error


def _is_unasked(error: BaseException | None) -> bool:
    """Whether it is a cancellation and this task was not cancelled."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling()

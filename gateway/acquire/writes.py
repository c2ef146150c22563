"""What people ask to write to the devices of one link: a short queue that the supervisor carries out."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from drivers.contract import BadResponse, DeviceUnavailable, DriverError, WritableSession
from drivers.model import Point, PointGroup, Reason, Value
from gateway.acquire.faults import BugsRaisedAs

log = logging.getLogger(__package__)

MOST_WAITING = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    group: PointGroup
    point: Point
    value: Value
    done: asyncio.Future[Value]


class Writes:
    """The writes that wait for their turn on one link. None waits while the link is down.

    `request` is for those who want something written; the rest belongs to the one task that uses the session.
    """

    def __init__(self, link: str) -> None:
        self._link = link
        self._session: object | None = None
        self._requests: deque[_Request] = deque()
        self._sleeper: asyncio.Future[None] | None = None

    async def request(self, group: PointGroup, point: Point, value: Value) -> Value:
        """Wait for its turn and for what the device then holds. Raises as `gateway.acquire.Link.write` does."""
        if self._session is None:
            raise self._down(f"cannot write {group.device} {point.name}: {self._link} is down")
        can_write = isinstance(self._session, WritableSession)
        if not can_write:
            raise ValueError(f"{group.device}: nothing can be written to this kind of device")
        if len(self._requests) >= MOST_WAITING:
            raise BadResponse(
                f"cannot write {group.device} {point.name}: {MOST_WAITING} writes wait for {self._link} already",
                reason=Reason.TIMEOUT,
                hint="send fewer commands at a time",
            )
        request = _Request(group, point, value, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        if self._sleeper is not None:
            _wake(self._sleeper)
        try:
            return await request.done
        finally:
            if request in self._requests:  # cancelled before its turn
                self._requests.remove(request)

    @contextmanager
    def open(self, session: object) -> Iterator[None]:
        """Take requests for this session; whatever still waits at the end has failed."""
        self._session = session
        try:
            yield
        finally:
            self._session = None
            while self._requests:
                request = self._requests.popleft()
                if not request.done.done():
                    request.done.set_exception(self._down(f"{self._link} went down before this was written"))

    @property
    def waiting(self) -> bool:
        return bool(self._requests)

    async def wait(self, seconds: float) -> None:
        """Sleep, at most until somebody wants to write."""
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = loop.call_later(seconds, _wake, self._sleeper)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    async def carry_out(self) -> None:
        """Write what has waited longest; its outcome goes to the one who asked.

        Raises `DeviceUnavailable` when that has shown that the link is gone.
        """
        request = self._requests.popleft()
        if request.done.cancelled():
            return
        session = self._session
        assert isinstance(session, WritableSession)
        attempt = f"writing {request.group.device} {request.point.name}"
        try:
            value = await _written(session, request, attempt)
        except (ValueError, DriverError) as error:
            _fail(request, error)
            if isinstance(error, DeviceUnavailable):
                raise
            if isinstance(error, DriverError) and error.reason is Reason.DRIVER_FAULT:
                log.error("%s", error, exc_info=error.__cause__)  # noqa: TRY400  the traceback is that of the bug
        except asyncio.CancelledError:
            _fail(request, self._down(f"{attempt}: {self._link} was closed meanwhile; it may have been written"))
            raise
        else:
            if not request.done.done():
                request.done.set_result(value)

    def _down(self, message: str) -> DeviceUnavailable:
        return DeviceUnavailable(message, reason=Reason.COMM_FAILURE, hint="try again when the device is up")


async def _written(session: WritableSession, request: _Request, attempt: str) -> Value:
    """Raises `BadResponse` for a bug in the driver; a ValueError is a refusal, and passes."""
    refusal: ValueError | None = None
    with BugsRaisedAs(BadResponse, attempt):
        try:
            return await session.write(request.group, request.point, request.value)
        except ValueError as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _fail(request: _Request, error: Exception) -> None:
    if not request.done.done():
        request.done.set_exception(error)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)

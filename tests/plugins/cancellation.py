"""Cancels a coroutine at one await after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from enum import StrEnum
from typing import Any

from drivers.contract import DriverError


class Moment(StrEnum):
    """When a task is cancelled at an await: before what it waits for has come, or just when it has."""

    WAITS = "while it waits"
    ANSWERED = "when it is answered"


async def cancelled_at_every_await(make: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run what `make` returns again and again, cancelled at its first, second, … await, until it comes to its end.

    At each of both moments. Returns how many awaits there were, the fewer of both. The end may be a `DriverError` of
    the device that was left in the middle.
    """
    return min([await _cancelled_at_every_await(make, moment) for moment in Moment])


async def _cancelled_at_every_await(make: Callable[[], Coroutine[Any, Any, None]], moment: Moment) -> int:
    awaits = 0
    with suppress(DriverError):
        while await cancelled_at(awaits + 1, make(), moment):
            awaits += 1
            assert awaits < 1000, "it never comes to an end"
    return awaits


async def cancelled_at(number: int, coroutine: Coroutine[Any, Any, None], moment: Moment) -> bool:
    """Run it in a task that is cancelled at its await of this number. Whether it came to that.

    A task that goes on although it was cancelled would keep the whole gateway from stopping.
    """
    counting = _CancelledAt(number, coroutine, moment)

    async def counted() -> None:
        await counting

    task = asyncio.create_task(counted())
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled() == counting.came_to_it, f"the cancellation at await {number} was swallowed"
    return counting.came_to_it


class _CancelledAt:
    """Awaits a coroutine; its task is cancelled when it suspends for the n-th time."""

    def __init__(self, number: int, coroutine: Awaitable[None], moment: Moment) -> None:
        self._number = number
        self._moment = moment
        self._inner = coroutine.__await__()
        self.came_to_it = False

    def __await__(self) -> Generator[Any, Any, None]:
        suspended = 0
        send: Any = self._inner.send
        given: Any = None
        while True:
            try:
                waiting_for = send(given)
            except StopIteration:
                return
            suspended += 1
            if suspended == self._number:
                self.came_to_it = True
                self._cancel(waiting_for)
            try:
                given = yield waiting_for
                send = self._inner.send
            except BaseException as error:  # noqa: BLE001  whatever is thrown in here is for the coroutine inside
                given, send = error, self._inner.throw

    def _cancel(self, waiting_for: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._moment is Moment.ANSWERED and isinstance(waiting_for, asyncio.Future):
            waiting_for.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)

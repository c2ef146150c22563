"""Cancels a coroutine at one await after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

from drivers.contract import DriverError


async def cancelled_at_every_await(make: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run what `make` returns again and again, cancelled at its first, second, … await, until it comes to its end.

    Returns how many awaits there were. The end may be a `DriverError` of the device that was left in the middle.
    """
    number = 0
    while True:
        number += 1
        assert number < 1000, "it never comes to an end"
        if not await _cancelled_at(number, make()):
            return number - 1


async def _cancelled_at(number: int, coroutine: Coroutine[Any, Any, None]) -> bool:
    async def counted() -> None:
        await _CancelledAt(number, coroutine)

    task = asyncio.create_task(counted())
    with suppress(asyncio.CancelledError, DriverError):
        await task
    return task.cancelled()


class _CancelledAt:
    """Awaits a coroutine; its task is cancelled when it suspends for the n-th time."""

    def __init__(self, number: int, coroutine: Awaitable[None]) -> None:
        self._number = number
        self._inner = coroutine.__await__()

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
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                given = yield waiting_for
                send = self._inner.send
            except BaseException as error:  # noqa: BLE001  whatever is thrown in here is for the coroutine inside
                given, send = error, self._inner.throw

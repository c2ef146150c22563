"""A non-blocking file descriptor as a byte stream: a socket or a serial port, watched by the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from drivers.transport import failure
from drivers.transport.endpoint import Endpoint

_CHUNK_BYTES = 65536
MOST_TAKEN_BYTES = 2**20
"""At once: who sends faster than it can be thrown away must not hold up everybody else."""


class DescriptorStream:
    """`drivers.transport.ByteStream` over a file descriptor that somebody else closes."""

    def __init__(self, descriptor: int, endpoint: Endpoint) -> None:
        self._descriptor = descriptor
        self._endpoint = endpoint

    async def read(self) -> bytes:
        await asyncio.sleep(0)  # else who sends without a pause would never let anybody else have a turn
        while True:
            try:
                data = os.read(self._descriptor, _CHUNK_BYTES)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                raise failure.lost(self._endpoint, error) from error
            else:
                if not data:
                    raise failure.lost(self._endpoint)
                return data

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise failure.lost(self._endpoint, error) from error

    def take_input(self) -> Iterator[bytes]:
        """What has come, piece by piece, without waiting; ends also when the line is gone."""
        taken = 0
        with suppress(OSError):
            while taken < MOST_TAKEN_BYTES and (data := os.read(self._descriptor, _CHUNK_BYTES)):
                taken += len(data)
                yield data

    def discard_input(self) -> None:
        for _ in self.take_input():
            pass

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        await _ready(self._descriptor, loop.add_reader, loop.remove_reader)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        await _ready(self._descriptor, loop.add_writer, loop.remove_writer)


async def _ready(descriptor: int, watch: Callable[..., Any], unwatch: Callable[[int], object]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch(descriptor, _settle, ready)
    try:
        await ready
    finally:
        unwatch(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

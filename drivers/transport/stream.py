"""One open byte stream, and how it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Protocol

from drivers.transport import failure, tcp
from drivers.transport.endpoint import Endpoint, Rfc2217Endpoint, SerialEndpoint
from drivers.transport.rfc2217 import Rfc2217Stream


class ByteStream(Protocol):
    """Bytes to and from one device. `read` is never called concurrently, nor `write`; one may wait beside the other."""

    async def read(self) -> bytes:
        """Whatever came, at least one byte; waits for it. Raises `DeviceUnavailable` when the line is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the kernel. Raises `DeviceUnavailable` when the line is gone."""
        ...

    def take_input(self) -> Iterator[bytes]:
        """What has come and was not read, piece by piece, without waiting; at most `MOST_TAKEN_BYTES` and a piece more.

        That the line is gone is for `read` to say.
        """
        ...

    def discard_input(self) -> None:
        """Throw away what has come and was not read, without waiting. That the line is gone is for `read` to say."""
        ...


@asynccontextmanager
async def open_stream(endpoint: Endpoint, *, timeout_s: float) -> AsyncIterator[ByteStream]:
    """Open it, within `timeout_s`; leaving the context closes it at once. Raises `DeviceUnavailable` on entering."""
    if isinstance(endpoint, SerialEndpoint):
        # pyserial is not needed to check a config, nor for a device on the network.
        from drivers.transport.port import opened_port  # noqa: PLC0415

        with opened_port(endpoint) as stream:
            yield stream
        return
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    try:
        async with asyncio.timeout_at(deadline_s):
            connected = await tcp.connect(endpoint, timeout_s=timeout_s)
    except TimeoutError:
        raise failure.no_connection(endpoint, timeout_s) from None
    with connected as stream:
        if not isinstance(endpoint, Rfc2217Endpoint):
            yield stream
            return
        remote = Rfc2217Stream(stream, endpoint)
        try:
            async with asyncio.timeout_at(deadline_s):
                await remote.set_up()
        except TimeoutError:
            raise failure.no_settings(endpoint, remote.waiting_for, timeout_s) from None
        yield remote

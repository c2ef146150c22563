"""TCP connections whose other end may vanish without a word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from drivers.transport import failure
from drivers.transport.descriptor import DescriptorStream
from drivers.transport.endpoint import Rfc2217Endpoint, TcpEndpoint

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A peer that is gone is noticed within half a minute, whether we are silent (keepalive) or send (user timeout, ms)."""


async def connect(
    endpoint: TcpEndpoint | Rfc2217Endpoint, *, timeout_s: float
) -> AbstractContextManager[DescriptorStream]:
    """Connect to the first address of the host that takes us; each has its share of the time. The context closes it.

    Raises `DeviceUnavailable`, and TimeoutError when an address did not answer and no other took us.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter for a host that cannot be a name, like "a..b"
        raise failure.cannot_open(endpoint, error) from error
    failed: OSError | None = None
    share_s = timeout_s / len(found)
    for family, kind, protocol, _, address in found:
        try:
            async with asyncio.timeout(share_s):
                connected = await _connected(loop, socket.socket(family, kind, protocol), address)
            return _closing(connected, endpoint)
        except OSError as error:  # TimeoutError is one
            failed = failed or error
    assert failed is not None, "a host that resolves has an address"
    if isinstance(failed, TimeoutError):
        raise failed
    raise failure.cannot_open(endpoint, failed) from failed


async def _connected(loop: asyncio.AbstractEventLoop, made: socket.socket, address: Any) -> socket.socket:
    try:
        made.setblocking(False)
        for level, option, value in _OPTIONS:
            made.setsockopt(level, option, value)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


@contextmanager
def _closing(connected: socket.socket, endpoint: TcpEndpoint | Rfc2217Endpoint) -> Iterator[DescriptorStream]:
    with connected:
        yield DescriptorStream(connected.fileno(), endpoint)

"""HTTP/1.1 for a handful of read-only pages: one request a connection, parsed by h11, and every part of it bounded.

The bounds, because a page that somebody leaves open must never cost the gateway its readings: a request is at most
16 KiB and arrives within `REQUEST_S`; an answer is taken within `ANSWER_S`; at most `MAX_CONNECTIONS` are open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import h11

from gateway import metrics
from gateway.health import Health
from gateway.web import pages
from gateway.web.pages import Identity, Now, Page

MAX_CONNECTIONS = 64
MAX_REQUEST_BYTES = 16 * 1024
REQUEST_S = 5.0
ANSWER_S = 30.0
LINGER_S = 1.0

_log = logging.getLogger(__name__)

Pages = Mapping[bytes, Callable[[], Page]]


class HttpUnavailable(Exception):
    """The address of the status page cannot be listened on; the message says which, why and what to do."""


@asynccontextmanager
async def serve(
    listen: str,
    health: Health,
    *,
    identity: Identity,
    request_s: float = REQUEST_S,
    answer_s: float = ANSWER_S,
) -> AsyncIterator[str]:
    """Serve the pages about `health` on `listen` (`host:port`, port 0 for a free one) until the block ends.

    Yields the bound address as `host:port`. Raises `HttpUnavailable` on entering. On leaving, open connections are cut.
    """
    listener = await _listener(listen)
    address = _address(listener)
    routes = _pages(health, identity)
    async with asyncio.TaskGroup() as group:
        open_connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(open_connections) >= MAX_CONNECTIONS or not server.is_serving():
                writer.transport.abort()
                return
            connection = _Connection(reader, writer)
            task = group.create_task(_serve_one(connection, routes, request_s, answer_s), name="http-connection")
            open_connections.add(task)
            task.add_done_callback(open_connections.discard)

        server = await asyncio.start_server(accept, sock=listener, limit=MAX_REQUEST_BYTES)
        try:
            yield address
        finally:
            server.close()
            for task in open_connections:
                task.cancel()
            await server.wait_closed()


def _pages(health: Health, identity: Identity) -> Pages:
    def status() -> Page:
        return pages.status(health, Now(time.time_ns(), time.monotonic_ns()), identity)

    registry = metrics.registry(health)

    def scrape() -> Page:
        return Page(HTTPStatus.OK, metrics.CONTENT_TYPE, metrics.render(registry))

    return {
        b"/": pages.index,
        b"/api/v1/status": status,
        b"/healthz": lambda: pages.healthz(health),
        b"/readyz": lambda: pages.readyz(health),
        b"/metrics": scrape,
    }


class _Connection:
    """One accepted connection: h11 decides what the bytes mean, asyncio moves them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
        writer.transport.set_write_buffer_limits(high=0)  # so that drain() means: all of it is with the kernel

    async def request(self) -> h11.Request | None:
        """The request's head; None when the peer left without one. Raises `h11.RemoteProtocolError`, OSError."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(MAX_REQUEST_BYTES))
        return event if isinstance(event, h11.Request) else None

    async def answer(self, page: Page, *, with_body: bool) -> None:
        """Send the page and say that nothing follows it."""
        for event in (
            h11.Response(status_code=page.status, reason=page.status.phrase.encode(), headers=_headers(page)),
            *([h11.Data(data=page.body)] if with_body else []),
        ):
            self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()
        self._writer.write_eof()

    async def linger(self) -> None:
        """Read what the peer still sends: closing on unread bytes resets the connection and destroys the answer."""
        while await self._reader.read(MAX_REQUEST_BYTES):
            pass

    async def close(self) -> None:
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


async def _serve_one(connection: _Connection, routes: Pages, request_s: float, answer_s: float) -> None:
    """A peer that goes away, is too slow or talks nonsense ends its own connection, and nothing else."""
    try:
        page, with_body = await _page(connection, routes, request_s)
        if page is not None:
            async with asyncio.timeout(answer_s):
                await connection.answer(page, with_body=with_body)
            async with asyncio.timeout(LINGER_S):
                await connection.linger()
    except (OSError, TimeoutError) as error:
        _log.debug("a connection to the status page ended early: %r", error)
    finally:
        await connection.close()


async def _page(connection: _Connection, routes: Pages, request_s: float) -> tuple[Page | None, bool]:
    """What to answer, and whether with its body; no page when the peer asked for nothing."""
    try:
        async with asyncio.timeout(request_s):
            request = await connection.request()
    except h11.RemoteProtocolError as error:
        return pages.plain(HTTPStatus(error.error_status_hint), f"this is not a request: {error}"), True
    except TimeoutError:
        text = f"no complete request came within {request_s:g} s"
        return pages.plain(HTTPStatus.REQUEST_TIMEOUT, text), True
    if request is None:
        return None, False
    page = routes.get(request.target.partition(b"?")[0])
    if page is None:
        known = ", ".join(path.decode() for path in routes)
        return pages.plain(HTTPStatus.NOT_FOUND, f"there is no such page; there are {known}"), request.method != b"HEAD"
    if request.method not in {b"GET", b"HEAD"}:
        return pages.plain(HTTPStatus.METHOD_NOT_ALLOWED, "pages can only be read: use GET or HEAD"), True
    return await _drawn(page, request.target), request.method == b"GET"


async def _drawn(page: Callable[[], Page], target: bytes) -> Page:
    """The page, drawn in a thread: for hundreds of devices that takes a tenth of a second, and they do not wait."""
    try:
        return await asyncio.to_thread(page)
    except Exception:  # noqa: BLE001  a page that cannot be drawn must not cost a reading
        _log.exception("the page %s cannot be drawn", target.decode("ascii", "replace"))
        return pages.plain(HTTPStatus.INTERNAL_SERVER_ERROR, "this page cannot be drawn; the gateway's log says why")


def _headers(page: Page) -> list[tuple[str, str]]:
    headers = [
        ("Content-Type", page.content_type),
        ("Content-Length", str(len(page.body))),
        ("Connection", "close"),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", page.policy),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return [*headers, ("Allow", "GET, HEAD")] if page.status == HTTPStatus.METHOD_NOT_ALLOWED else headers


async def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise HttpUnavailable(f"http.listen: {listen!r} is not host:port; for example 127.0.0.1:9464 or [::1]:9464")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=MAX_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise HttpUnavailable(
            f"http.listen: cannot listen on {listen}: {reason}; "
            "choose a free port on an address of this machine (`ss -ltnp` shows who has it)"
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        _log.warning("http.listen: %s is not a loopback address, and the pages ask for no password", host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

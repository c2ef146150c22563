"""The server with real sockets: what it answers, what it refuses, and that nothing on the wire can hurt it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.health import Health
from gateway.web import HttpUnavailable, Identity, serve
from gateway.web.server import MAX_CONNECTIONS

PATIENCE_S = 20.0
PAGES = {
    "/": "text/html; charset=utf-8",
    "/api/v1/status": "application/json",
    "/healthz": "text/plain; charset=utf-8",
    "/readyz": "text/plain; charset=utf-8",
    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
}


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def talk(address: str, *sent: bytes, then_eof: bool = False) -> bytes:
    """Everything the server says to these bytes until it closes."""
    async with connection(address) as (reader, writer):
        for part in sent:
            writer.write(part)
            await writer.drain()
        if then_eof:
            writer.write_eof()
        return await reader.read()


async def request(address: str, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    head, _, body = (await talk(address, f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())).partition(
        b"\r\n\r\n"
    )
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize(("path", "content_type"), PAGES.items())
async def test_every_page_answers_get(address: str, path: str, content_type: str) -> None:
    code, headers, body = await request(address, "GET", path)
    assert (code, headers["content-type"]) == (200, content_type)
    assert len(body) == int(headers["content-length"]) > 0


@pytest.mark.parametrize("path", PAGES)
async def test_head_is_get_without_the_body(address: str, path: str) -> None:
    code, headers, body = await request(address, "HEAD", path)
    assert (code, headers["content-type"], body) == (200, PAGES[path], b"")
    assert int(headers["content-length"]) > 0


async def test_a_query_does_not_change_the_page(address: str) -> None:
    assert (await request(address, "GET", "/healthz?from=monitoring"))[0] == 200


async def test_metrics_carry_the_facts(address: str) -> None:
    _, _, body = await request(address, "GET", "/metrics")
    assert b'hub_gateway_device_up{device="sorter",driver="modbus"} 0.0\n' in body


async def test_a_buffer_that_cannot_write_is_503(address: str, health: Health) -> None:
    health.buffer.writable = False
    assert (await request(address, "GET", "/healthz"))[0] == 503


async def test_an_unknown_page_is_404_and_lists_those_there_are(address: str) -> None:
    code, _, body = await request(address, "GET", "/admin")
    assert code == 404
    assert b"/api/v1/status" in body


async def test_writing_is_405_and_says_what_is_allowed(address: str) -> None:
    code, headers, _ = await request(address, "POST", "/healthz")
    assert (code, headers["allow"]) == (405, "get, head")


async def test_nonsense_is_400(address: str) -> None:
    assert (await talk(address, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_endless_headers_are_431_and_the_answer_arrives(address: str) -> None:
    flood = b"GET / HTTP/1.1\r\n" + b"X-Flood: 1\r\n" * 3000
    assert (await talk(address, flood)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_nobody_asked_for_does_not_destroy_the_answer(address: str) -> None:
    head = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
    assert (await talk(address, head, b"x" * 300_000)).startswith(b"HTTP/1.1 405 ")


async def test_a_peer_that_asks_nothing_and_leaves_gets_nothing(address: str) -> None:
    assert await talk(address, then_eof=True) == b""


async def test_a_request_that_does_not_come_to_its_end_is_408(health: Health, identity: Identity) -> None:
    async with serve("127.0.0.1:0", health, identity=identity, request_s=0.05) as address:
        assert (await talk(address, b"GET / HTTP/1.1\r\nHost: ")).startswith(b"HTTP/1.1 408 ")


async def test_a_peer_that_does_not_take_the_answer_is_cut_off(health: Health, identity: Identity) -> None:
    health.buffer.detail = "x" * 30_000_000
    async with (
        serve("127.0.0.1:0", health, identity=identity, answer_s=0.1) as address,
        connection(address) as (reader, writer),
    ):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await request(address, "GET", "/readyz"))[0] == 200
        serving = [task for task in asyncio.all_tasks() if task.get_name() == "http-connection"]
        _, still_serving = await asyncio.wait(serving) if serving else (None, set())
        assert not still_serving


async def cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection without a word."""
    try:
        return not await reader.read()
    except ConnectionResetError:
        return True


async def test_one_connection_too_many_is_closed_and_the_others_live(address: str) -> None:
    async with AsyncExitStack() as crowd:
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await crowd.enter_async_context(connection(address))
        async with connection(address) as (refused, _):
            assert await cut_off(refused)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_leaving_cuts_open_connections(health: Health, identity: Identity) -> None:
    async with AsyncExitStack() as peer:
        async with serve("127.0.0.1:0", health, identity=identity) as address:
            reader, _ = await peer.enter_async_context(connection(address))
            await request(address, "GET", "/healthz")  # by now the older connection has been accepted
        assert await cut_off(reader)


async def test_security_headers_are_on_every_answer(address: str) -> None:
    for path in (*PAGES, "/nowhere"):
        _, headers, _ = await request(address, "GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def fuzz() -> st.SearchStrategy[bytes]:
    pieces = st.sampled_from(
        [
            *(b"GET ", b"HEAD ", b"POST ", b"CONNECT ", b"PRI * ", b"/", b"/metrics", b"*", b"http://x/", b" HTTP/1.1"),
            *(b" HTTP/1.0", b" HTTP/2.0", b" HTTP/0.9", b"\r\n", b"\n", b"\r\n\r\n", b"Host: x", b"Host:", b": "),
            *(b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Connection: upgrade"),
            *(b"Upgrade: websocket", b"Expect: 100-continue", b"\0", b"\xff", b"5\r\nhello\r\n0\r\n\r\n"),
        ]
    )
    return st.binary(max_size=300) | st.lists(pieces | st.binary(max_size=8), max_size=20).map(b"".join)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=fuzz())
def test_no_bytes_can_hurt_the_server(sent: bytes, health: Health, identity: Identity) -> None:
    async def scenario() -> None:
        seen: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(str(context)))
        async with serve("127.0.0.1:0", health, identity=identity) as address:
            answer = await talk(address, sent, then_eof=True)
            assert not answer or answer.startswith(b"HTTP/1.1 ")
            assert (await request(address, "GET", "/healthz"))[0] == 200
        assert not seen

    asyncio.run(scenario())


async def test_an_address_in_use_is_explained(address: str, health: Health, identity: Identity) -> None:
    with pytest.raises(HttpUnavailable, match=f"cannot listen on {address}: Address already in use.*ss -ltnp"):
        async with serve(address, health, identity=identity):
            pass


@pytest.mark.parametrize("listen", ["", "9464", ":9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "[]:1"])
async def test_what_is_no_address_is_explained(listen: str, health: Health, identity: Identity) -> None:
    with pytest.raises(HttpUnavailable, match="is not host:port"):
        async with serve(listen, health, identity=identity):
            pass


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "[2001:db8::1]:0", "a..b:80", "x" * 70 + ":80"])
async def test_an_address_of_another_machine_is_explained(listen: str, health: Health, identity: Identity) -> None:
    with pytest.raises(HttpUnavailable, match="cannot listen on"):
        async with serve(listen, health, identity=identity):
            pass


async def test_ipv6_loopback_is_served(health: Health, identity: Identity) -> None:
    async with serve("[::1]:0", health, identity=identity) as address:
        assert address.startswith("[::1]:")
        assert (await request(address, "GET", "/healthz"))[0] == 200


async def test_an_address_that_others_can_reach_is_warned_about(
    health: Health, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with serve("0.0.0.0:0", health, identity=identity):
            pass
    assert "ask for no password" in caplog.text

"""Cancelled at any await, the driver leaves no task, socket or serial port behind; the leak checks look after each."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.model import Reading

READS_SPEED = {"timeout": "10s", "points": [{"name": "speed", "address": "holding:0", "type": "uint16"}]}
"""With more patience than the default, for a machine with other things to do: what is cancelled is not late."""


async def connect_and_read(driver: Any) -> Reading:
    async with driver.connect() as session:
        for _ in range(2):
            reading = await session.read(driver.groups[0])
        return reading  # type: ignore[no-any-return]


async def cancelled_after(turns: int, driver: Any) -> bool:
    """Let it run for so many turns of the event loop, then cancel. Whether it was cancelled."""
    task = asyncio.create_task(connect_and_read(driver))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        assert (await task).values == (7,)
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("turns", range(30))
async def test_over_tcp(turns: int, scripted: Any, mbap: Any, make_driver: Any) -> None:
    server = await scripted(lambda request, send: send(mbap(request, b"\3\2\0\7")))
    await cancelled_after(turns, make_driver({"url": server.url, **READS_SPEED}))
    if server.connected.is_set():
        await asyncio.wait_for(server.disconnected.wait(), 5)


@pytest.mark.parametrize("turns", range(30))
@pytest.mark.parametrize("scheme", ["rtu+tcp", "ascii+tcp"])
async def test_in_frames_of_a_line_over_tcp(
    scheme: str, turns: int, scripted: Any, framed: Any, make_driver: Any
) -> None:
    server = await scripted(lambda request, send: send(framed(scheme, 1, b"\3\2\0\7")))
    driver = make_driver({"url": server.url_of(scheme), "pause": "1ms", **READS_SPEED})
    await cancelled_after(turns, driver)
    if server.connected.is_set():
        await asyncio.wait_for(server.disconnected.wait(), 5)


@pytest.mark.parametrize("turns", [*range(20), *range(20, 1000, 35)])
async def test_in_tls_in_the_handshake_and_in_a_read(
    turns: int, libmodbus: Any, forwarder: Any, make_driver: Any, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "plc.pem"))
    with libmodbus("tcp", values={"h:0": 7}) as port:
        url = f"tls://127.0.0.1:{await forwarder(port, context=context)}"
        driver = make_driver({"url": url, "tls": {"ca": str(tmp_path / "plc.pem")}, **READS_SPEED})
        await cancelled_after(turns, driver)


def self_signed(path: Path) -> Path:
    """Certificate and key in one file."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path))
    name = ("-subj", "/CN=plc", "-addext", "subjectAltName=IP:127.0.0.1")
    made = subprocess.run(["openssl", "req", "-x509", *key, *name], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + made.stdout)
    return path


@pytest.mark.parametrize("turns", range(30))
async def test_on_a_serial_line(
    turns: int, serial_line: Any, rtu: Any, make_driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line = serial_line(lambda request, send: send(rtu(1, b"\3\2\0\7")))
    device = {"url": line.url, **READS_SPEED}
    await cancelled_after(turns, make_driver(device))
    assert (await connect_and_read(make_driver(device))).values == (7,)  # the port is free and in step
    assert not caplog.records  # nothing failed in a callback of the loop


async def test_a_cancellation_that_meets_the_answer_is_not_swallowed(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    task: asyncio.Task[Reading] | None = None

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        send(mbap(request, b"\3\2\0\7"))

    server = await scripted(answer)
    driver = make_driver({"url": server.url, **READS_SPEED})
    async with driver.connect() as session:
        line = session._line
        heard = line.on_packet

        def cancel_when_it_is_in(sending: bool, data: bytes) -> bytes:
            if not sending:
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            return heard(sending, data)  # type: ignore[no-any-return]

        line._client.ctx.trace_packet = cancel_when_it_is_in
        task = asyncio.create_task(session.read(driver.groups[0]))
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_read_that_was_cancelled_does_not_spoil_the_next(scripted: Any, mbap: Any, make_driver: Any) -> None:
    first: list[bytes] = []

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        if not first:
            first.append(request)
            return
        send(mbap(first[0], b"\3\2\0\1") + mbap(request, b"\3\2\0\2"))

    server = await scripted(answer)
    driver = make_driver({"url": server.url, **READS_SPEED})
    async with driver.connect() as session:
        task = asyncio.create_task(session.read(driver.groups[0]))
        await server.requested.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.read(driver.groups[0])).values == (2,)

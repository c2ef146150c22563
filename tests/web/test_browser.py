"""The status page in a real browser."""

from __future__ import annotations

import asyncio
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.health import DeviceHealth, Health
from gateway.web import pages

PATIENCE_S = 90.0


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("the status page is tested in a browser: apt-get install chromium", pytrace=False)
    return found


async def page_in_browser(chromium: str, address: str, profile: Path) -> str:
    """The document as the browser has it after five seconds of its own time."""
    switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    browser = await asyncio.create_subprocess_exec(
        chromium,
        *switches.split(),
        *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        *("--virtual-time-budget=5000", "--dump-dom", f"http://{address}/"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await browser.communicate()
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return output.decode()


async def test_the_page_shows_devices_values_and_reasons(chromium: str, address: str, tmp_path: Path) -> None:
    document = await page_in_browser(chromium, address, tmp_path)
    for text in (
        "sort-01",
        "1 of 2 devices down.",
        "infeed-conveyor",
        "1.4213 m/s",
        "bad: not a number",
        "does not answer in time: no answer from unit 3",
        "hub-broker",
        "2 readings waiting",
    ):
        assert f">{text}" in document


async def test_the_page_shows_weights_as_their_display_does_and_the_tag_that_came_last(
    chromium: str, address: str, health: Health, tmp_path: Path
) -> None:
    scale = PointGroup("weigh-1", 0.0, (Point("gross", "kg"),))
    portal = PointGroup("portal-1", 0.0, (Point("epc"), Point("antenna")), events=True)
    for group, values in ((scale, (Decimal("12345.340"),)), (portal, ("3034257bf400b7800004cb2f", 2))):
        device = health.devices[group.device] = DeviceHealth(group.device, "x", up=True)
        device.last[group] = Reading(group, 1_700_000_000_123_000_000, values)
    document = await page_in_browser(chromium, address, tmp_path)
    for text in ("12345.340 kg", "3034257bf400b7800004cb2f"):
        assert f">{text}" in document


async def test_the_page_says_when_the_buffer_loses_readings(
    chromium: str, address: str, health: Health, tmp_path: Path
) -> None:
    health.buffer.dropped["max-bytes"] = 7
    assert "7 (max-bytes)" in await page_in_browser(chromium, address, tmp_path)


async def test_the_page_says_plainly_that_the_gateway_does_not_answer(chromium: str, tmp_path: Path) -> None:
    async def only_the_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET / "):
            page = pages.index()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {page.content_type}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + page.body)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(only_the_page, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        document = await page_in_browser(chromium, f"{host}:{port}", tmp_path)
    assert "The gateway does not answer." in document

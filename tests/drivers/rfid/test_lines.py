"""Readers that write lines, on a real pseudo-terminal and a real socket."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import DeviceUnavailable, Driver
from drivers.rfid.lines import _sighting
from tests.drivers.rfid.listener import PATIENCE_S, carried, driver, reading

EPC = "3114257BF4499602D2000000"
RAW = "E2005037590701270270EDAF"
FULL = r"ANT(?P<antenna>\d+) (?P<epc>[0-9A-F ]+) (?P<rssi>-?[\d.]+)dBm x(?P<seen_count>\d+)"


@dataclass
class Wire:
    """The other end of the line."""

    url: str
    say: Callable[[bytes], Awaitable[None]]
    cut: Callable[[], None]


@asynccontextmanager
async def _socket() -> AsyncIterator[Wire]:
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def joined(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.put_nowait(writer)

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    connected: list[asyncio.StreamWriter] = []

    async def say(data: bytes) -> None:
        if not connected:
            connected.append(await writers.get())
        connected[0].write(data)

    def cut() -> None:
        connected[0].transport.abort()

    try:
        yield Wire(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", say, cut)
    finally:
        server.close()
        while not writers.empty():
            connected.append(writers.get_nowait())
        for writer in connected:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def _terminal() -> AsyncIterator[Wire]:
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)

    async def say(data: bytes) -> None:
        os.write(master, data)

    def cut() -> None:
        os.close(master)

    try:
        yield Wire(f"serial://{name}?baudrate=115200", say, cut)
    finally:
        os.close(slave)
        with suppress(OSError):
            os.close(master)


@pytest.fixture(params=[_socket, _terminal], ids=["tcp", "serial"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    async with request.param() as made:
        yield made


def _driver(wire: Wire, **keys: Any) -> Driver:
    return driver(wire.url, protocol="pattern", **keys)


async def test_a_line_with_an_epc_is_a_reading(wire: Wire) -> None:
    async with reading(_driver(wire)) as readings:
        await wire.say(f"{EPC.lower()}\r\n".encode())
        found = carried(await anext(readings))
    assert (found["epc"], found["uri"]) == (EPC, "urn:epc:id:sscc:0614141.1234567890")
    assert (found["antenna"], found["rssi"], found["seen_count"]) == (None, None, 1)
    assert found["first_seen"] == found["last_seen"]


async def test_a_pattern_takes_what_the_line_carries(wire: Wire) -> None:
    async with reading(_driver(wire, pattern=FULL)) as readings:
        await wire.say(b"ANT2 3114 257B F449 9602 D200 0000 -53.5dBm x7\n")
        found = carried(await anext(readings))
    assert (found["epc"], found["antenna"], found["rssi"], found["seen_count"]) == (EPC, 2, -53.5, 7)


async def test_a_tag_that_stays_is_one_reading(wire: Wire) -> None:
    async with reading(_driver(wire)) as readings:
        await wire.say(f"{EPC}\r\n".encode() * 20 + b"3034257BF7194E4000001A85\r\n")
        assert [carried(await anext(readings))["epc"] for _ in range(2)] == [EPC, "3034257BF7194E4000001A85"]


async def test_a_departure_is_told_when_the_window_has_passed(wire: Wire) -> None:
    async with reading(_driver(wire, window="30ms", report_tags="departure")) as readings:
        await wire.say(f"{EPC}\r\n".encode() * 3)
        assert carried(await anext(readings))["seen_count"] == 3


async def test_what_is_no_tag_is_one_bad_reading_and_the_next_tag_is_read(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading(_driver(wire)) as readings:
        await wire.say(f"{EPC}\r\n".encode())
        await anext(readings)
        await wire.say(b"READY\r\n" * 3 + b"3034257BF7194E4000001A85\r\n")
        bad, good = await anext(readings), carried(await anext(readings))
    assert {str(quality) for quality in bad.quality.values()} == {"bad:bad-response"}
    assert good["epc"] == "3034257BF7194E4000001A85"
    assert caplog.text.count("is no tag by the pattern: 'READY'") == 1


async def test_a_line_without_an_end_is_one_bad_reading(wire: Wire) -> None:
    async with reading(_driver(wire)) as readings:
        await wire.say(f"{EPC}\r\n".encode())
        await anext(readings)
        await wire.say(b"3" * 1000 + b"\r\n" + f"{EPC[:-1]}1\r\n".encode())
        assert (await anext(readings)).quality
        assert carried(await anext(readings))["epc"] == f"{EPC[:-1]}1"


async def test_a_line_whose_beginning_may_have_been_missed_must_be_a_valid_epc() -> None:
    async with _terminal() as wire:
        made = driver(wire.url, protocol="pattern")
        async with asyncio.timeout(PATIENCE_S), made.connect() as session:
            readings = session.readings()
            # In the same turn: the line is not idle. What is left of a longer EPC looks like one of 96 bits.
            await wire.say(f"{RAW}\r\n{RAW[:-4]}0000\r\n".encode())
            assert carried(await anext(readings))["epc"] == f"{RAW[:-4]}0000"
            await readings.aclose()
        async with asyncio.timeout(PATIENCE_S), made.connect() as session:
            readings = session.readings()
            await wire.say(f"{EPC}\r\n".encode())
            assert carried(await anext(readings))["epc"] == EPC
            await readings.aclose()


async def test_a_first_line_after_silence_is_whole(wire: Wire) -> None:
    async with reading(_driver(wire)) as readings:
        await asyncio.sleep(0.06)  # longer than characters of one line are apart
        await wire.say(f"{RAW}\r\n".encode())
        assert carried(await anext(readings))["uri"] == f"urn:epc:raw:96.x{RAW}"


async def test_a_line_that_is_gone_is_unavailable(wire: Wire) -> None:
    async with reading(_driver(wire)) as readings:
        await wire.say(f"{EPC}\r\n".encode())
        await anext(readings)
        wire.cut()
        with pytest.raises(DeviceUnavailable):
            await anext(readings)


async def test_others_get_their_turn_while_lines_pour_in() -> None:
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async with _socket() as wire, reading(_driver(wire)) as readings:
        await wire.say(f"{EPC}\r\n".encode())
        await anext(readings)
        await wire.say(f"{EPC}\r\n".encode() * 5000 + b"3034257BF7194E4000001A85\r\n")
        counting = asyncio.create_task(count())
        await anext(readings)
        counting.cancel()
        await asyncio.wait([counting])
    assert len(turns) >= 5000 // 50


@pytest.mark.parametrize(
    "found",
    [
        {"epc": EPC[:-1]},
        {"epc": EPC[:-2]},
        {"epc": ""},
        {"epc": "xyz0"},
        {"epc": "0" * 128},
        {"epc": EPC, "antenna": "A"},
        {"epc": EPC, "rssi": "-"},
        {"epc": EPC, "rssi": "nan"},
        {"epc": EPC, "rssi": "-9999"},
        {"epc": EPC, "antenna": "-1"},
        {"epc": EPC, "antenna": "65536"},
        {"epc": EPC, "seen_count": "4294967296"},
        {"epc": EPC, "seen_count": "many"},
        {"epc": EPC, "seen_count": "0"},
        {},
    ],
)
def test_texts_that_are_not_what_their_group_should_hold_are_no_tag(found: dict[str, str]) -> None:
    assert _sighting(found, 0) is None


@given(st.dictionaries(st.sampled_from(["epc", "antenna", "rssi", "seen_count"]), st.text(max_size=30)))
def test_no_text_makes_it_fail_or_an_epc_that_was_not_there(found: dict[str, str]) -> None:
    seen = _sighting(found, 0)
    if seen is not None:
        digits = "".join(letter for letter in found["epc"] if letter.isalnum())
        assert seen.epc == digits.upper()
        assert len(seen.epc) % 4 == 0

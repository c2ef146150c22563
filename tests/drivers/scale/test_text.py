"""Instruments whose lines a pattern describes, over TCP and a pseudo-terminal."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from drivers.scale import channel
from tests.drivers.scale.conftest import Make, asked, listening, quality, shown
from tests.drivers.scale.instruments import Scripted, on_tcp
from tests.plugins.cancellation import cancelled_at_every_await

ANY_WEIGHT = r"\s*(?P<weight>-?[\d.]+) (?P<unit>kg)"


@pytest.mark.parametrize(
    ("preset", "asking", "line", "shows"),
    [
        ("a-d", b"RW\r\n", b"ST,GS,+00123.0kg\r\n", "123.0 kg"),
        ("sartorius-sbi", b"\x1bP\r\n", b"N     +   123.560 g  \r\n", "123.560 g"),
        ("ohaus", b"IP\r\n", b"   12.340 kg     NET\r\n", "12.340 kg"),
        ("dini-argeo", b"READ\r\n", b"ST,GS,  123.45,kg\r\n", "123.45 kg"),
    ],
)
async def test_a_preset_knows_how_to_ask(
    preset: str, asking: bytes, line: bytes, shows: str, make_driver: Make
) -> None:
    scale = Scripted({asking: line})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", preset=preset)
        async with asked(driver) as session:
            reading = await session.read(driver.groups[0])
    assert f"{shown(reading)['weight']} {shown(reading)['unit']}" == shows
    assert quality(reading) == {}


async def test_a_pattern_of_ones_own_asks_with_a_request_of_ones_own(make_driver: Make) -> None:
    scale = Scripted({b"\x05": b"\x02 12.340 kg\x03"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=ANY_WEIGHT, request=r"\x05")
        async with asked(driver) as session:
            reading = await session.read(driver.groups[0])
    assert str(shown(reading)["weight"]) == "12.340"
    assert "stable" not in shown(reading)


async def test_the_first_line_may_be_half_of_one_and_is_not_used(make_driver: Make) -> None:
    scale = Scripted({b"P\r\n": [b"2.340 kg\r\n", b"112.340 kg\r\n"]})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=ANY_WEIGHT, request=r"P\r\n")
        async with asked(driver) as session:
            assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("112.340")


async def test_the_rest_of_a_line_that_was_under_way_is_not_used(make_driver: Make) -> None:
    scale = Scripted({b"P\r\n": b"1.000 kg\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=ANY_WEIGHT, request=r"P\r\n")
        async with asked(driver) as session:
            await session.read(driver.groups[0])
            scale.send(b"99.000 kg\r\n11")
            await asyncio.sleep(0)
            scale.answers[b"P\r\n"] = b"2.340 kg\r\n1.000 kg\r\n"
            assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("1.000")


async def test_lines_that_do_not_match_are_told_when_none_does(make_driver: Make) -> None:
    scale = Scripted({b"RW\r\n": b"?\r\n"})
    async with (
        on_tcp(scale) as link,
        asked(driver := make_driver(link.url, protocol="pattern", preset="a-d")) as session,
    ):
        with pytest.raises(BadResponse, match=r"but '\?'") as caught:
            await session.read(driver.groups[0])
    assert caught.value.reason is Reason.BAD_RESPONSE


async def test_an_instrument_that_sends_by_itself_is_listened_to(linked: Any, make_driver: Make) -> None:
    scale = Scripted({})
    async with linked(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=ANY_WEIGHT)
        async with listening(driver) as (readings, _):
            await scale.listened_to.wait()
            scale.send(b"2.340 kg\r\n112.340 kg\r\n")
            assert shown(await anext(readings))["weight"] == Decimal("112.340")
            scale.send(b"nonsense\r\n" + b"x" * 500 + b"\r\n1.000 kg\r\n")
            assert quality(await anext(readings))["weight"] == "bad:bad-response"
            assert quality(await anext(readings))["weight"] == "bad:bad-response"
            assert shown(await anext(readings))["weight"] == Decimal("1.000")


async def test_each_settled_load_is_one_reading(make_driver: Make) -> None:
    scale = Scripted({})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", preset="a-d", read="stable")
        async with listening(driver) as (readings, _):
            await scale.listened_to.wait()
            scale.send(b"\r\nUS,GS,+00005.0kg\r\n" + b"ST,GS,+00012.0kg\r\n" * 3)
            assert shown(await anext(readings))["weight"] == Decimal("12.0")
            scale.send(b"OL,GS,+     .  kg\r\n" * 3 + b"ST,GS,+00012.0kg\r\n")
            assert shown(await anext(readings))["status"] == "overload"
            assert shown(await anext(readings))["weight"] == Decimal("12.0")


async def test_a_pattern_that_takes_too_long_is_stopped_and_told(make_driver: Make) -> None:
    slow = r"(?:(?:a|b|ab)+)+(?<!b)(?P<weight>\d)"
    scale = Scripted({b"P": b"ab" * 100 + b"!\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=slow, request="P")
        async with asked(driver) as session:
            with pytest.raises(BadResponse, match="longer than 50 ms"):
                await session.read(driver.groups[0])
        streaming = make_driver(link.url, protocol="pattern", pattern=slow)
        scale.listened_to.clear()
        async with listening(streaming) as (readings, _):
            await scale.listened_to.wait()
            scale.send(b"\r\n" + b"ab" * 100 + b"!\r\n")
            with pytest.raises(DeviceUnavailable, match="longer than 50 ms"):
                await anext(readings)


@pytest.mark.parametrize("keys", [{"request": "P"}, {}], ids=["asked", "listened to"])
async def test_cancelled_at_any_await_it_leaves_nothing_behind(keys: Any, linked: Any, make_driver: Make) -> None:
    scale = Scripted({b"P": b"1.000 kg\r\n"})
    async with linked(scale) as link:
        driver = make_driver(link.url, protocol="pattern", pattern=ANY_WEIGHT, **keys)

        async def speak() -> None:
            while True:
                scale.send(b"\r\n1.000 kg\r\n")
                await asyncio.sleep(0.001)

        async def use() -> None:
            if keys:
                async with asked(driver) as session:
                    await session.read(driver.groups[0])
            else:
                async with listening(driver) as (readings, _):
                    speaking = asyncio.create_task(speak())
                    try:
                        await anext(readings)
                    finally:
                        speaking.cancel()
                        await asyncio.wait([speaking])

        async with asyncio.timeout(30):
            assert await cancelled_at_every_await(use) >= 1


async def test_a_scale_that_has_sent_more_than_can_be_left_behind_is_connected_anew(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MOST_TAKEN_BYTES", 64)
    scale = Scripted({b"RW\r\n": b"ST,GS,+00012.0kg\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="pattern", preset="a-d")
        async with asked(driver) as session:
            await session.read(driver.groups[0])
            scale.send(b"ST,GS,+00099.0kg\r\n" * 10)
            await asyncio.sleep(0)
            with pytest.raises(DeviceUnavailable, match="more came unasked"):
                await session.read(driver.groups[0])

"""A scale after SMA SCP-0499, over TCP and a pseudo-terminal."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from tests.drivers.scale.conftest import WRITABLE, Make, asked, listening, quality, shown, until, write
from tests.drivers.scale.instruments import Scripted, SmaScale, on_tcp
from tests.plugins.cancellation import cancelled_at_every_await


async def test_a_settled_gross_weight_is_read_with_all_its_digits(linked: Any, make_driver: Make) -> None:
    scale = SmaScale()
    scale.put("12.340")
    async with linked(scale) as link, asked(driver := make_driver(link.url, protocol="sma")) as session:
        reading = await session.read(driver.groups[0])
    assert shown(reading) == {
        "gross": Decimal("12.340"), "weight": Decimal("12.340"), "stable": True, "unit": "kg", "status": "ok"
    }  # fmt: skip
    assert str(reading.values[reading.group.names.index("weight")]) == "12.340"
    assert quality(reading) == {}


async def test_a_net_weight_in_motion_is_uncertain(make_driver: Make) -> None:
    scale = SmaScale()
    scale.tare = Decimal("0.350")
    scale.put("1.600", moves=True)
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="sma")) as session:
        reading = await session.read(driver.groups[0])
        assert shown(reading)["net"] == Decimal("1.250")
        assert quality(reading) == {"net": "uncertain:in-motion", "weight": "uncertain:in-motion"}
        assert shown(await session.read(driver.groups[1])) == {"tare": Decimal("0.350")}


async def test_an_overload_is_no_number(make_driver: Make) -> None:
    scale = SmaScale()
    scale.put("16.000")
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="sma")) as session:
        reading = await session.read(driver.groups[0])
    assert shown(reading) == {"stable": True, "status": "overload"}
    assert quality(reading) == {"weight": "bad:overload"}


@pytest.mark.parametrize(("answer", "said"), [(b"\n?\r", "does not know"), (b"\n!\r", "with errors")])
async def test_refusals_are_told_in_words(answer: bytes, said: str, make_driver: Make) -> None:
    async with on_tcp(Scripted({b"\nW\r": answer})) as link:
        driver = make_driver(link.url, protocol="sma")
        async with asked(driver) as session:
            with pytest.raises(BadResponse, match=said):
                await session.read(driver.groups[0])


async def test_a_scale_that_cannot_tell_its_tare_is_not_asked_again(make_driver: Make) -> None:
    scale = Scripted({b"\nM\r": b"\n?\r"})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="sma")) as session:
        for _ in range(2):
            assert quality(await session.read(driver.groups[1])) == {"tare": "bad:not-shown"}
    assert scale.requests == [b"\nM\r"]


@pytest.mark.parametrize(
    "answer",
    [
        b"\n 1G       1.250kg",
        b"\n 1G      1.250kg_\r",
        b"\n 1G       1.2\x000kg_\r",
        b"\n 1G       1,234kg_\r",
    ],
)
async def test_half_a_frame_and_a_doubtful_one_are_never_a_weight(answer: bytes, make_driver: Make) -> None:
    async with on_tcp(Scripted({b"\nW\r": answer})) as link:
        driver = make_driver(link.url, protocol="sma")
        async with asked(driver) as session:
            with pytest.raises(BadResponse):
                await session.read(driver.groups[0])


async def test_streamed_it_repeats_until_it_is_left(linked: Any, make_driver: Make) -> None:
    scale = SmaScale()
    async with linked(scale) as link:
        async with listening(make_driver(link.url, protocol="sma", read="streaming")) as (readings, _):
            for weight in ("0.000", "1.000", "2.500"):
                assert shown(await anext(readings))["weight"] == Decimal(weight)
                scale.put(str(Decimal(weight) + (1 if weight == "0.000" else Decimal("1.500"))))
        assert scale.commands[0] == "R"


async def test_leaving_stops_the_stream(make_driver: Make) -> None:
    scale = SmaScale()
    async with on_tcp(scale) as link:
        async with listening(make_driver(link.url, protocol="sma", read="streaming")) as (readings, _):
            await anext(readings)
        await until(lambda: not scale.repeats)
    assert scale.commands == ["R", "\x1b"]


async def test_garbage_in_a_stream_is_one_bad_reading(make_driver: Make) -> None:
    scale = SmaScale()
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="sma", read="streaming")
        async with listening(driver) as (readings, _):
            await anext(readings)
            scale.send(b"\n 1G       9.\xff99kg_\r")
            assert quality(await anext(readings))["weight"] == "bad:bad-response"
            scale.put("1.000")
            assert quality(await anext(readings)) == {}


async def test_a_scale_that_cannot_repeat_says_so(make_driver: Make) -> None:
    async with on_tcp(Scripted({b"\nR\r": b"\n?\r"})) as link:
        driver = make_driver(link.url, protocol="sma", read="streaming")
        async with listening(driver) as (readings, _):
            with pytest.raises(DeviceUnavailable, match="does not know"):
                await anext(readings)


async def test_each_settled_load_is_one_reading(make_driver: Make) -> None:
    scale = SmaScale()
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="sma", read="stable")
        async with listening(driver) as (readings, _):
            coming = asyncio.create_task(anext(readings))
            await until(lambda: scale.repeats)
            for load, moves in (("5", True), ("12.340", False), ("12.340", False), ("3", True), ("12.340", False)):
                scale.put(load, moves=moves)
            for reading in (await coming, await anext(readings)):
                assert shown(reading)["weight"] == Decimal("12.340")


async def test_zero_and_tare_are_written(linked: Any, make_driver: Make) -> None:
    scale = SmaScale()
    async with linked(scale) as link, asked(make_driver(link.url, protocol="sma", points=WRITABLE)) as session:
        scale.put("0.020")
        assert await write(session, "zero", True) is True
        assert scale.load == 0
        scale.put("0.350")
        assert await write(session, "tare", True) == Decimal("0.350")
        assert await write(session, "tare", False) == 0
        assert scale.tare == 0
        assert str(await write(session, "tare", Decimal("1.250"))) == "1.250"
        scale.put("0.500", moves=True)
        with pytest.raises(BadResponse, match="cannot be tared") as caught:
            await write(session, "tare", True)
    assert caught.value.reason is Reason.IN_MOTION


async def test_a_tare_that_was_taken_otherwise_than_meant_is_no_success(make_driver: Make) -> None:
    frame = b"\n 1G       1.250kg_\r"
    scale = Scripted({b"\nW\r": frame, b"\nT1.5\r": frame, b"\nM\r": b"\n 1T       0.150kg_\r"})
    async with on_tcp(scale) as link, asked(make_driver(link.url, protocol="sma", points=WRITABLE)) as session:
        with pytest.raises(BadResponse, match=r"was to be 1\.5, but it holds 0\.150 kg now"):
            await write(session, "tare", 1.5)


async def test_taring_while_it_streams_stops_the_stream_and_starts_it_again(make_driver: Make) -> None:
    scale = SmaScale()
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="sma", read="streaming", points=WRITABLE)
        async with listening(driver) as (readings, session):
            await anext(readings)
            scale.put("0.350")
            coming = asyncio.create_task(_until_net(readings))
            assert await write(session, "tare", True) == Decimal("0.350")
            scale.put("1.350")
            assert await coming == Decimal("1.000")
    assert scale.commands[:4] == ["R", "\x1b", "T", "R"]


async def _until_net(readings: Any) -> Any:
    async for reading in readings:
        if shown(reading).get("net"):
            return shown(reading)["net"]
    raise AssertionError("the readings ended")


@pytest.mark.parametrize("read", ["polled", "stable", "streaming"])
async def test_cancelled_at_any_await_it_leaves_nothing_behind(read: str, linked: Any, make_driver: Make) -> None:
    scale = SmaScale()
    scale.put("12.340")
    async with linked(scale) as link:

        async def use() -> None:
            driver = make_driver(link.url, protocol="sma", read=read)  # which knows of no load yet
            if read == "polled":
                async with asked(driver) as session:
                    await session.read(driver.groups[0])
            else:
                async with listening(driver) as (readings, _):
                    await anext(readings)

        async with asyncio.timeout(30):
            assert await cancelled_at_every_await(use) >= 1
            await use()

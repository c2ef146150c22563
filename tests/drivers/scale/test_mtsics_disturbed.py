"""A terminal with MT-SICS that is disturbed: by a command in its stream, by noise, by a link that is cut."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable
from tests.drivers.scale.conftest import WRITABLE, Make, asked, listening, quality, shown, until, write
from tests.drivers.scale.instruments import MtSicsScale, Scripted, on_tcp

WEIGHT = b"S S     12.340 kg\r\n"
SPOILT = b"S S     12.3\xb40 kg\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"TA I\r\n", "bad:in-motion"),
        (b"EL\r\n", "bad:device-error"),
        (b"ET\r\n", "bad:bad-response"),
        (b"TA A       2.50 \r\n", "bad:bad-response"),
    ],
)
async def test_a_tare_that_is_not_told_now_is_asked_for_again(answer: bytes, said: str, make_driver: Make) -> None:
    scale = Scripted({b"TA\r\n": [answer, b"TA A      2.50 kg\r\n"]})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        assert quality(await session.read(driver.groups[1])) == {"tare": said}
        assert shown(await session.read(driver.groups[1])) == {"tare": Decimal("2.50")}


@pytest.mark.parametrize(
    ("name", "value"), [("tare", True), ("tare", False), ("tare", Decimal("1.25")), ("zero", True)]
)
async def test_a_write_does_not_end_the_stream(name: str, value: Any, make_driver: Make) -> None:
    """`SI`, by which the unit is found out for a tare weight, ends it by all means; other commands end it on some."""
    scale = MtSicsScale()
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="streaming", points=WRITABLE)
        async with asyncio.timeout(10), driver.connect() as session:
            listener = asyncio.create_task(_listen(session))
            await until(lambda: scale.repeats)
            await write(session, name, value)  # type: ignore[arg-type]
            await until(lambda: scale.repeats and scale.commands[-1] == "SIR")
            listener.cancel()
            await asyncio.wait([listener])


async def _listen(session: Any) -> None:
    async for _ in session.readings():
        pass


@pytest.mark.parametrize("spoilt", [1, 2, 3, 4])
async def test_one_answer_that_noise_has_spoilt_does_not_take_the_link_down(spoilt: int, make_driver: Make) -> None:
    scale = Scripted({b"S\r\n": WEIGHT, b"SI\r\n": WEIGHT})
    answered = 0

    def received(data: bytes) -> None:
        nonlocal answered
        answered += 1
        scale.requests.append(data)
        scale.asked.set()
        heavier = WEIGHT.replace(b"12", b"13")
        scale.send(SPOILT if answered == spoilt else heavier if answered > 8 else WEIGHT)

    scale.received = received  # type: ignore[method-assign]
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", period="1ms", timeout="50ms")
        async with listening(driver) as (readings, _):
            assert shown(await anext(readings))["weight"] == Decimal("12.340")
            assert shown(await anext(readings))["weight"] == Decimal("13.340")


async def test_a_scale_that_only_sends_noise_is_unavailable(make_driver: Make) -> None:
    async with on_tcp(Scripted({b"S\r\n": SPOILT, b"SI\r\n": SPOILT})) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", timeout="20ms")
        async with listening(driver) as (readings, _):
            with pytest.raises(DeviceUnavailable, match="check that protocol and line settings"):
                await anext(readings)


async def test_a_load_that_lies_there_over_a_reconnect_is_one(make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("12.340")
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", period="1ms")
        async with listening(driver) as (readings, _):
            assert shown(await anext(readings))["weight"] == Decimal("12.340")
        scale.commands.clear()
        async with listening(driver) as (readings, _):
            coming = asyncio.create_task(anext(readings))
            await until(lambda: scale.commands.count("SI") > 2)
            assert not coming.done()
            scale.put("7.000")
            assert shown(await coming)["weight"] == Decimal("7.000")

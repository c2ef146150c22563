"""A terminal with MT-SICS, over TCP and a pseudo-terminal."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable, StreamSession
from drivers.model import Reading, Reason
from tests.drivers.scale.conftest import NOW_NS, WRITABLE, Make, asked, listening, quality, shown, until, write
from tests.drivers.scale.instruments import MtSicsScale, Scripted, on_tcp
from tests.plugins.cancellation import cancelled_at_every_await


async def test_a_settled_weight_is_read_with_all_its_digits(linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("12.340")
    async with linked(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        reading = await session.read(driver.groups[0])
    assert shown(reading) == {
        "net": Decimal("12.340"), "weight": Decimal("12.340"), "stable": True, "unit": "kg", "status": "ok"
    }  # fmt: skip
    assert str(reading.values[reading.group.names.index("weight")]) == "12.340"
    assert quality(reading) == {}
    assert reading.observed_at_ns == NOW_NS


async def test_a_weight_in_motion_is_uncertain(linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("12.340", settled=False)
    async with linked(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        reading = await session.read(driver.groups[0])
    assert shown(reading)["stable"] is False
    assert shown(reading)["status"] == "motion"
    assert quality(reading) == {"net": "uncertain:in-motion", "weight": "uncertain:in-motion"}


async def test_an_overload_is_no_number(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        scale.put("99.000")
        reading = await session.read(driver.groups[0])
        assert shown(reading) == {"status": "overload"}
        assert quality(reading) == {"weight": "bad:overload"}
        scale.put("1.000")
        await session.read(driver.groups[0])
        scale.put("99.000")
        assert quality(await session.read(driver.groups[0])) == dict.fromkeys(
            ("net", "weight", "stable", "unit"), "bad:overload"
        )


async def test_the_tare_is_asked_for_rarely_and_by_itself(make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.tare = Decimal("0.350")
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        weights, tares = driver.groups
        assert (weights.period_s, tares.period_s) == (1.0, 10.0)
        assert shown(await session.read(tares)) == {"tare": Decimal("0.350")}


async def test_a_scale_without_tare_memory_is_not_asked_again(make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S     12.340 kg\r\n", b"TA\r\n": b"ES\r\n"})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        for _ in range(2):
            assert quality(await session.read(driver.groups[1])) == {"tare": "bad:not-shown"}
    assert scale.requests == [b"TA\r\n"]


async def test_a_tare_that_is_not_answered_costs_the_weight_nothing(make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S     12.340 kg\r\n"})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        assert quality(await session.read(driver.groups[1])) == {"tare": "bad:timeout"}
        assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("12.340")


async def test_weights_in_pounds_become_kilograms_exactly(make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S      27.20 lb\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", convert_to="kg")
        async with asked(driver) as session:
            reading = await session.read(driver.groups[0])
    assert shown(reading)["weight"] == Decimal("12.3377124640")  # 27.20 x 0.45359237
    assert shown(reading)["unit"] == "kg"
    assert driver.groups[0].points[reading.group.names.index("weight")].unit == "kg"


async def test_pieces_cannot_become_kilograms(make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S         12 PCS\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", convert_to="kg")
        async with asked(driver) as session:
            reading = await session.read(driver.groups[0])
    assert quality(reading) == {"weight": "bad:unknown-unit"}
    assert shown(reading)["unit"] == "PCS"


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (b'I4 A "0123456789"\r\n', "it was switched on meanwhile"),
        (b"T S      1.000 kg\r\n", "somebody pressed tare"),
        (b"S     99.999 kg\r\n", "half a line"),
        (b"\xff\x00garbage\r\n", "noise"),
        (b"TA A      1.000 kg\r\n", "a late answer to another command"),
    ],
)
async def test_what_does_not_answer_the_request_is_skipped(before: bytes, why: str, make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": before + b"S S     12.340 kg\r\n"})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("12.340"), why


async def test_what_came_before_the_request_is_forgotten(linked: Any, make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S     12.340 kg\r\n"})
    async with linked(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        await scale.listened_to.wait()
        await session.read(driver.groups[0])
        scale.send(b"S S     99.999 kg\r\nS S  ")
        await asyncio.sleep(0)
        scale.answers[b"SI\r\n"] = b"   1.0 kg\r\nS S      1.000 kg\r\n"
        assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("1.000")


async def test_a_scale_that_does_not_answer_is_a_timeout(make_driver: Make) -> None:
    async with on_tcp(Scripted({})) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        with pytest.raises(BadResponse) as caught:
            await session.read(driver.groups[0])
    assert caught.value.reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    "answer", [b"ST,GS,+00123.0kg\r\n", b"S S     12.34", b"S S   12.3\x004 kg\r\n", b"\xff" * 1000]
)
async def test_what_makes_no_answer_is_never_a_weight(answer: bytes, make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": answer})
    async with on_tcp(scale) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        with pytest.raises(BadResponse):
            await session.read(driver.groups[0])


@pytest.mark.parametrize(
    ("answer", "said"), [(b"ES\r\n", "does not know"), (b"ET\r\n", "with errors"), (b"EL\r\n", "cannot")]
)
async def test_general_errors_are_told_in_words(answer: bytes, said: str, make_driver: Make) -> None:
    async with on_tcp(Scripted({b"SI\r\n": answer})) as link:
        driver = make_driver(link.url, protocol="mt-sics")
        async with asked(driver) as session:
            with pytest.raises(BadResponse, match=said):
                await session.read(driver.groups[0])


async def test_a_link_that_is_cut_is_unavailable_and_can_be_made_anew(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics")
        async with asked(driver) as session:
            await session.read(driver.groups[0])
            link.cut()
            with pytest.raises(DeviceUnavailable):
                await session.read(driver.groups[0])
        scale.put("3.000")
        async with asked(driver) as session:
            assert shown(await session.read(driver.groups[0]))["weight"] == Decimal("3.000")


async def test_a_port_that_is_unplugged_is_unavailable(linked: Any, make_driver: Make) -> None:
    async with linked(MtSicsScale()) as link, asked(driver := make_driver(link.url, protocol="mt-sics")) as session:
        await session.read(driver.groups[0])
        link.cut()
        with pytest.raises(DeviceUnavailable):
            await session.read(driver.groups[0])


async def test_streamed_it_repeats_until_it_is_left(linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    async with linked(scale) as link:
        async with listening(make_driver(link.url, protocol="mt-sics", read="streaming")) as (readings, _):
            assert shown(await anext(readings))["weight"] == Decimal("0.000")
            for weight in ("1.000", "2.500"):
                scale.put(weight, settled=weight == "2.500")
                reading = await anext(readings)
                assert shown(reading)["weight"] == Decimal(weight)
        assert scale.commands[0] == "SIR"


async def test_leaving_stops_the_stream(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with on_tcp(scale) as link:
        async with listening(make_driver(link.url, protocol="mt-sics", read="streaming")) as (readings, _):
            await anext(readings)
        await until(lambda: not scale.repeats)
    assert scale.commands == ["SIR", "SI"]


async def test_a_scale_that_was_switched_on_again_is_asked_to_repeat_again(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with (
        on_tcp(scale) as link,
        listening(make_driver(link.url, protocol="mt-sics", read="streaming")) as (readings, _),
    ):
        await anext(readings)
        scale.repeats = False
        scale.send(b'I4 A "0123456789"\r\n')
        assert shown(await anext(readings)) == {"status": "power-up"}
        assert shown(await anext(readings))["weight"] == Decimal("0.000")


async def test_a_stream_that_dries_up_is_noticed(make_driver: Make) -> None:
    async with on_tcp(MtSicsScale()) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="streaming", silence="100ms")
        async with listening(driver) as (readings, _):
            await anext(readings)
            with pytest.raises(DeviceUnavailable) as caught:
                await anext(readings)
    assert caught.value.reason is Reason.TIMEOUT


async def test_a_scale_that_cannot_repeat_says_what_to_do(make_driver: Make) -> None:
    async with (
        on_tcp(Scripted({b"SIR\r\n": b"ES\r\n"})) as link,
        listening(make_driver(link.url, protocol="mt-sics", read="streaming")) as (readings, _),
    ):
        with pytest.raises(DeviceUnavailable, match="does not know"):
            await anext(readings)


async def test_garbage_in_a_stream_is_one_bad_reading(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with (
        on_tcp(scale) as link,
        listening(make_driver(link.url, protocol="mt-sics", read="streaming")) as (readings, _),
    ):
        await anext(readings)
        scale.send(b"S S    1\xff2 kg\r\n")
        reading = await anext(readings)
        assert set(quality(reading).values()) == {"bad:bad-response"}
        scale.put("1.000")
        assert quality(await anext(readings)) == {}


async def test_each_settled_load_is_one_reading(linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    async with linked(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", period="1ms")
        assert driver.groups[0].events
        async with listening(driver) as (readings, _):
            for weight in ("12.340", "12.340", "7.000"):
                coming = asyncio.create_task(anext(readings))
                scale.put("5.000", settled=False)
                await until(lambda: scale._waiting == "S")
                assert not coming.done()
                scale.put(weight)
                reading: Reading = await coming
                assert (shown(reading)["weight"], shown(reading)["stable"]) == (Decimal(weight), True)


async def test_taring_while_it_streams_goes_beside_it(make_driver: Make) -> None:
    scale = MtSicsScale()
    async with (
        on_tcp(scale) as link,
        listening(make_driver(link.url, protocol="mt-sics", read="streaming", points=WRITABLE)) as (readings, session),
    ):
        await anext(readings)
        scale.put("0.350")
        await anext(readings)
        coming = asyncio.create_task(anext(readings))
        assert await write(session, "tare", True) == Decimal("0.350")
        assert shown(await coming)["weight"] == Decimal("0.000")
        scale.put("1.350")
        assert shown(await anext(readings))["weight"] == Decimal("1.000")


async def test_zero_and_tare_are_written(linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    async with linked(scale) as link, asked(make_driver(link.url, protocol="mt-sics", points=WRITABLE)) as session:
        scale.put("0.020")
        assert await write(session, "zero", True) is True
        assert scale.load == 0
        scale.put("0.350")
        assert await write(session, "tare", True) == Decimal("0.350")
        assert str(await write(session, "tare", False)) == "0.000"
        assert scale.tare == 0
        assert str(await write(session, "tare", Decimal("1.250"))) == "1.250"
        assert scale.tare == Decimal("1.250")
        assert await write(session, "tare", 0) == 0
        assert scale.tare == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("zero", False, "zero takes true"),
        ("zero", 0, "zero takes true"),
        ("tare", -1, "is not a weight"),
        ("tare", Decimal("1e99"), "is not a weight"),
        ("tare", "1.0", "tare takes true"),
        ("tare", float("nan"), "is not a weight"),
    ],
)
async def test_values_that_cannot_be_written_are_refused_before_the_wire(
    name: str, value: Any, said: str, make_driver: Make
) -> None:
    scale = Scripted({})
    async with on_tcp(scale) as link, asked(make_driver(link.url, protocol="mt-sics", points=WRITABLE)) as session:
        with pytest.raises(ValueError, match=said):
            await write(session, name, value)
    assert scale.requests == []


@pytest.mark.parametrize(
    ("answer", "said", "reason"),
    [
        (b"Z I\r\n", "not possible now", Reason.IN_MOTION),
        (b"Z +\r\n", "above the upper limit", Reason.OVERLOAD),
        (b"Z -\r\n", "below the lower limit", Reason.UNDERLOAD),
        (b"Z A\r\nZ ^\r\n", "outside of the range", Reason.OUT_OF_RANGE),
        (b"Z A\r\nZ E\r\n", "did not settle", Reason.IN_MOTION),
        (b"EL\r\n", "cannot carry it out", Reason.DEVICE_ERROR),
    ],
)
async def test_a_refusal_is_told_in_words(answer: bytes, said: str, reason: Reason, make_driver: Make) -> None:
    scale = Scripted({b"Z\r\n": answer})
    async with on_tcp(scale) as link, asked(make_driver(link.url, protocol="mt-sics", points=WRITABLE)) as session:
        with pytest.raises(BadResponse, match=said) as caught:
            await write(session, "zero", True)
    assert caught.value.reason is reason


@pytest.mark.parametrize("answer", [b"Z A\r\n", b"Z A\r\nZ D\r\n"])
async def test_one_line_or_two_may_confirm(answer: bytes, make_driver: Make) -> None:
    scale = Scripted({b"Z\r\n": answer})
    async with on_tcp(scale) as link, asked(make_driver(link.url, protocol="mt-sics", points=WRITABLE)) as session:
        assert await write(session, "zero", True) is True


async def test_a_tare_in_kilograms_is_not_set_in_pounds(make_driver: Make) -> None:
    scale = Scripted({b"SI\r\n": b"S S      27.20 lb\r\n"})
    async with (
        on_tcp(scale) as link,
        asked(make_driver(link.url, protocol="mt-sics", convert_to="kg", points=WRITABLE)) as session,
    ):
        with pytest.raises(ValueError, match="is to be in kg, but the scale shows lb"):
            await write(session, "tare", Decimal("1.5"))
    assert scale.requests == [b"SI\r\n"]


@pytest.mark.parametrize("read", ["polled", "stable", "streaming"])
async def test_cancelled_at_any_await_it_leaves_nothing_behind(read: str, linked: Any, make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("12.340")
    async with linked(scale) as link:

        async def use() -> None:
            driver = make_driver(link.url, protocol="mt-sics", read=read, period="1ms")  # which knows of no load yet
            if read == "polled":
                async with asked(driver) as session:
                    await session.read(driver.groups[0])
                    await session.read(driver.groups[1])
            else:
                async with listening(driver) as (readings, _):
                    await anext(readings)

        async with asyncio.timeout(30):
            assert await cancelled_at_every_await(use) >= 1
            await use()


async def test_a_load_that_never_settles_is_no_reason_to_think_that_the_scale_is_gone(make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("5.000", settled=False)
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", silence="20ms", period="1ms")
        async with listening(driver) as (readings, _):
            coming = asyncio.create_task(anext(readings))
            await until(lambda: scale.commands.count("S") > 2)
            scale.put("12.340")
            assert shown(await coming)["weight"] == Decimal("12.340")


async def test_a_scale_that_is_busy_is_not_asked_without_a_pause(make_driver: Make) -> None:
    scale = Scripted({b"S\r\n": b"S I\r\n"})
    async with on_tcp(scale) as link:
        driver = make_driver(link.url, protocol="mt-sics", read="stable", period="1h")
        async with listening(driver) as (readings, _):
            assert shown(await anext(readings)) == {"status": "busy"}
            waiting = asyncio.create_task(anext(readings))
            for _ in range(50):  # turns of the loop, in which one question and its answer take four
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
    assert scale.requests == [b"S\r\n"]


@pytest.mark.parametrize("read", ["polled", "stable", "streaming"])
async def test_a_write_can_be_cancelled_at_any_await_and_the_session_lives_on(read: str, make_driver: Make) -> None:
    scale = MtSicsScale()
    scale.put("0.350")
    async with on_tcp(scale) as link, asyncio.timeout(30):
        driver = make_driver(link.url, protocol="mt-sics", read=read, period="1ms", points=WRITABLE)
        async with driver.connect() as session:
            listener = asyncio.create_task(_listen(session))
            assert await cancelled_at_every_await(lambda: _tare(session)) >= 1
            assert await write(session, "tare", True) == Decimal("0.350")  # type: ignore[arg-type]
            listener.cancel()
            await asyncio.wait([listener])


async def _tare(session: Any) -> None:
    await write(session, "tare", True)


async def _listen(session: Any) -> None:
    if isinstance(session, StreamSession):
        async for _ in session.readings():
            pass

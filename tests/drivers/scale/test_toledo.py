"""Toledo continuous output: worked frames, frames with a fault, and an instrument over a link.

Frames after the Mettler-Toledo Wildcat technical manual, 6-4 and 6-5.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.scale import toledo_instrument
from drivers.scale.indication import GARBLED, WITH_WEIGHT, Indication, Status
from drivers.scale.toledo import Checksum, ToledoFramer
from tests.drivers.scale.conftest import WRITABLE, Make, listening, quality, shown, write
from tests.drivers.scale.instruments import ToledoTerminal, on_tcp
from tests.plugins.cancellation import cancelled_at_every_await

GROSS = bytes.fromhex("02 2C 30 20 30 30 31 32 33 34 30 30 30 30 30 30 0D 2B")
NET_MOVING = bytes.fromhex("02 3B 39 20 30 30 31 32 37 35 30 30 30 32 35 30 0D 07")
NEGATIVE = bytes.fromhex("02 2C 33 20 30 30 30 30 35 30 30 30 31 30 30 30 0D 2C")
PLAIN = bytes.fromhex("02 3D 30 20 30 30 31 32 35 30 30 30 30 30 30 30 0D")


def checked(body: bytes) -> bytes:
    """With the checksum that makes the sum of all bytes a multiple of 128."""
    return body + bytes([-sum(body) % 128])


def frame(*, a: int = 0x2C, b: int = 0x30, c: int = 0x20, weight: str = "001234", tare: str = "000000") -> bytes:
    return checked(bytes([2, a, b, c]) + weight.encode() + tare.encode() + b"\r")


def one(data: bytes, checksum: Checksum = Checksum.ON) -> Indication:
    (found,) = ToledoFramer(checksum).feed(data)
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GROSS, Indication(Status.OK, Decimal("12.34"), Decimal("12.34"), None, Decimal("0.00"), "kg", True)),
        (NET_MOVING, Indication(Status.MOTION, Decimal("127.5"), None, Decimal("127.5"), Decimal("25.0"), "kg", False)),
        (NEGATIVE, Indication(Status.OK, Decimal("-0.50"), None, Decimal("-0.50"), Decimal("10.00"), "kg", True)),
    ],
)
def test_worked_frames(data: bytes, expected: Indication) -> None:
    assert one(data) == expected
    assert str(one(data).weight) == str(expected.weight)


def test_a_frame_without_a_checksum() -> None:
    assert str(one(PLAIN, Checksum.OFF).weight) == "1.250"


@pytest.mark.parametrize(
    ("code", "weight"),
    [(0, "123400"), (1, "12340"), (2, "1234"), (3, "123.4"), (4, "12.34"), (5, "1.234"), (6, "0.1234"), (7, "0.01234")],
)
def test_the_point_is_where_word_a_puts_it(code: int, weight: str) -> None:
    assert str(one(frame(a=0x28 | code)).weight) == weight


def test_leading_zeros_may_be_spaces() -> None:
    assert one(frame(weight="  1234", tare="      ")).weight == Decimal("12.34")
    assert one(frame(weight="  1234", tare="      ")).tare is None


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({"b": 0x34}, Status.OVERLOAD),
        ({"b": 0x36}, Status.UNDERLOAD),
        ({"b": 0x70}, Status.POWER_UP),
        ({"c": 0x30}, Status.EXPANDED),
    ],
)
def test_what_is_no_weight_is_no_number(words: dict[str, int], status: Status) -> None:
    found = one(frame(**words))
    assert (found.status, found.weight, found.gross, found.net) == (status, None, None, None)


@pytest.mark.parametrize(
    ("words", "unit"),
    [({"b": 0x20}, "lb"), ({"b": 0x30}, "kg"), ({"c": 0x21}, "g"), ({"c": 0x22}, ""), ({"b": 0x10}, "kg")],
)
def test_units_that_are_certain_are_told(words: dict[str, int], unit: str) -> None:
    assert one(frame(**words)).unit == unit


def test_the_eighth_bit_is_a_parity_and_of_no_account() -> None:
    assert one(bytes(byte | 0x80 for byte in GROSS)) == one(GROSS)


@pytest.mark.parametrize("chk", [0x02, 0x0D])
def test_a_checksum_that_looks_like_a_start_or_an_end_is_a_checksum(chk: int) -> None:
    same = next(found for number in range(1_000_000) if (found := frame(weight=f"{number:06}"))[-1] == chk)
    other = frame(weight="004321")
    for checksum in (Checksum.ON, Checksum.AUTO):
        found = ToledoFramer(checksum).feed((same + other) * 3)
        assert [each.weight for each in found] == [Decimal(int(same[4:10])) / 100, Decimal("43.21")] * 3


def test_auto_takes_no_frame_that_could_be_either() -> None:
    for data in (GROSS, PLAIN):
        framer = ToledoFramer()
        assert framer.feed(data) == []
        assert framer.feed(data) == [] or data is GROSS


@pytest.mark.parametrize("data", [GROSS, PLAIN])
def test_auto_finds_out_and_loses_nothing(data: bytes) -> None:
    framer = ToledoFramer()
    found = [indication for _ in range(5) for indication in framer.feed(data)]
    assert len(found) == 5
    assert GARBLED not in found


def test_auto_is_not_fooled_for_ever_by_a_checksum_that_got_lost() -> None:
    chk_2 = next(found for number in range(1_000_000) if (found := frame(weight=f"{number:06}"))[-1] == 2)
    framer = ToledoFramer()
    framer.feed(GROSS[:-1] + chk_2)
    assert framer._size == 17
    for _ in range(8):
        framer.feed(GROSS)
    assert framer._size == 18


def test_a_stream_joined_in_the_middle_of_a_frame_is_fallen_in_with() -> None:
    for start in range(1, len(GROSS)):
        assert ToledoFramer(Checksum.ON).feed(GROSS[start:] + GROSS) == [one(GROSS)]


def test_what_interrupts_frames_is_told_once() -> None:
    assert ToledoFramer(Checksum.ON).feed(GROSS + b"garbage" + GROSS) == [one(GROSS), GARBLED, one(GROSS)]


def test_nothing_but_noise_is_told_now_and_then_and_does_not_grow() -> None:
    framer = ToledoFramer()
    found = framer.feed(b"U" * 64_000)
    assert found == [GARBLED] * 1000
    assert len(framer._buffer) == 0


frames = st.builds(
    frame,
    a=st.sampled_from([0x28 | code for code in range(8)] + [0x3D, 0x34]),
    b=st.sampled_from([0x20, 0x21, 0x30, 0x31, 0x33, 0x38]),
    c=st.sampled_from([0x20, 0x21, 0x28]),
    weight=st.integers(0, 999_999).map("{:06}".format),
    tare=st.integers(0, 999_999).map("{:>6}".format),
)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6), st.sampled_from(Checksum))
def test_it_takes_anything_and_it_does_not_matter_where_that_is_cut(
    data: bytes, cuts: list[int], checksum: Checksum
) -> None:
    framer, found = ToledoFramer(checksum), []
    for start, end in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        found += framer.feed(data[start:end])
        assert len(framer._buffer) <= 36
    assert found == ToledoFramer(checksum).feed(data)


@given(frames, st.integers(0, 17), st.integers(0, 6))
def test_a_flipped_bit_is_never_a_weight(data: bytes, place: int, bit: int) -> None:
    spoilt = bytearray(data)
    spoilt[place] ^= 1 << bit
    for found in ToledoFramer(Checksum.ON).feed(bytes(spoilt) + GROSS):
        assert found in (GARBLED, one(GROSS))


@given(frames, frames, frames, st.integers(0, 53), st.integers(0, 127))
def test_a_changed_byte_never_yields_a_weight_that_nobody_sent(
    first: bytes, second: bytes, third: bytes, place: int, byte: int
) -> None:
    sent = [one(data) for data in (first, second, third)]
    spoilt = bytearray(first + second + third)
    spoilt[place] = byte
    for checksum in (Checksum.ON, Checksum.AUTO):
        for found in ToledoFramer(checksum).feed(bytes(spoilt)):
            assert found in sent or found.status not in WITH_WEIGHT


@example(b"\x02(  000099     0\r\x07", b"\x02( (021124     1\r\x06", b"\x02(  000000     0\r\x19", 10, 18)
@given(frames, frames, frames, st.integers(0, 53), st.integers(1, 20))
def test_a_gap_never_yields_a_weight_that_nobody_sent_unless_the_sum_fits_by_chance(
    first: bytes, second: bytes, third: bytes, place: int, count: int
) -> None:
    sent = [one(data) for data in (first, second, third)]
    data = first + second + third
    left = data[:place] + data[place + count :]
    # The beginning of one frame and the end of another make a third whose sum of seven bits fits once in 128 times.
    joined = {left[start : start + 18] for start in range(len(left) - 17) if left[start] == 2}
    assume(not any(sum(frame) % 128 == 0 for frame in joined - {first, second, third}))
    for found in ToledoFramer(Checksum.ON).feed(left):
        assert found in sent or found.status not in WITH_WEIGHT


@pytest.mark.parametrize("is_checked", [True, False], ids=["checksum", "no checksum"])
async def test_an_instrument_is_understood_without_saying_what_it_does(
    is_checked: bool, linked: Any, make_driver: Make
) -> None:
    terminal = ToledoTerminal(checked=is_checked)
    async with linked(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous")
        async with listening(driver) as (readings, _):
            await terminal.listened_to.wait()
            terminal.put(1234)
            reading = await anext(readings)
    assert shown(reading) == {
        "gross": Decimal("12.34"), "weight": Decimal("12.34"), "tare": Decimal("0.00"),
        "stable": True, "unit": "kg", "status": "ok",
    }  # fmt: skip
    assert quality(reading) == {}


async def test_a_value_that_is_not_shown_any_more_is_bad(make_driver: Make) -> None:
    terminal = ToledoTerminal()
    async with on_tcp(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous")
        async with listening(driver) as (readings, _):
            await terminal.listened_to.wait()
            terminal.put(1234)
            await anext(readings)
            terminal.tare = 200
            terminal.speak()
            reading = await anext(readings)
            while "net" not in shown(reading):
                reading = await anext(readings)
    assert quality(reading) == {"gross": "bad:not-shown"}


async def test_silence_is_noticed(make_driver: Make) -> None:
    async with on_tcp(ToledoTerminal()) as link:
        driver = make_driver(link.url, protocol="toledo-continuous", silence="50ms")
        async with listening(driver) as (readings, _):
            with pytest.raises(DeviceUnavailable, match=r"nothing came for 0\.05 s"):
                await anext(readings)


async def test_each_settled_load_is_one_reading(make_driver: Make) -> None:
    terminal = ToledoTerminal()
    async with on_tcp(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous", read="stable")
        async with listening(driver) as (readings, _):
            await terminal.listened_to.wait()
            for load, moves in ((500, True), (1234, False), (1234, False), (0, False), (1234, False), (777, False)):
                terminal.put(load, moves=moves)
            weights = [shown(await anext(readings))["weight"] for _ in range(3)]
    assert weights == [Decimal("12.34"), Decimal("12.34"), Decimal("7.77")]


async def test_what_is_written_is_confirmed_by_what_shows(linked: Any, make_driver: Make) -> None:
    terminal = ToledoTerminal()
    async with linked(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous", points=WRITABLE)
        async with listening(driver) as (readings, session):
            await terminal.listened_to.wait()
            terminal.put(350)
            await anext(readings)
            async with _taken(readings):
                assert await write(session, "tare", True) == Decimal("3.50")
                assert await write(session, "tare", False) == 0
                assert await write(session, "zero", True) is True
                with pytest.raises(ValueError, match="takes no tare weight"):
                    await write(session, "tare", 1.5)
    assert terminal.commands == [b"T\r\n", b"C\r\n", b"Z\r\n"]


async def test_what_does_not_show_was_not_done(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toledo_instrument, "SETTLING_S", 0.05)
    terminal = ToledoTerminal()
    async with on_tcp(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous", points=WRITABLE)
        async with listening(driver) as (readings, session):
            await terminal.listened_to.wait()
            terminal.put(350)
            await anext(readings)
            terminal.flags = 0x04  # out of range, whatever is done
            async with _taken(readings):
                with pytest.raises(BadResponse, match="nothing shows it done"):
                    await write(session, "zero", True)


@asynccontextmanager
async def _taken(readings: Any) -> AsyncIterator[None]:
    """Somebody takes the readings while something is written, as the gateway does."""

    async def take() -> None:
        async for _ in readings:
            pass

    taker = asyncio.create_task(take())
    try:
        yield
    finally:
        taker.cancel()
        await asyncio.wait([taker])


async def test_cancelled_at_any_await_it_leaves_nothing_behind(linked: Any, make_driver: Make) -> None:
    terminal = ToledoTerminal()
    async with linked(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous")

        async def use() -> None:
            async with listening(driver) as (readings, _):
                speaking = asyncio.get_running_loop().call_later(0.001, terminal.speak)
                try:
                    await anext(readings)
                finally:
                    speaking.cancel()

        async with asyncio.timeout(30):
            assert await cancelled_at_every_await(use) >= 1


async def test_after_an_outage_nothing_is_left_as_it_was_said_to_be_before(make_driver: Make) -> None:
    terminal = ToledoTerminal()
    async with on_tcp(terminal) as link:
        driver = make_driver(link.url, protocol="toledo-continuous")
        async with listening(driver) as (readings, _):
            await terminal.listened_to.wait()
            link.cut()
            with pytest.raises(DeviceUnavailable):
                await anext(readings)
        terminal.listened_to.clear()
        async with listening(driver) as (readings, _):
            await terminal.listened_to.wait()
            terminal.put(1234)
            assert quality(await anext(readings)) == {"net": "bad:not-shown"}

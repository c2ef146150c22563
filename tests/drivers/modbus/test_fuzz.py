"""Whatever comes over a link, it never becomes a wrong value, never hangs, and never ends anything but the reading.

A scripted device answers the first requests with the right frame mangled, or with noise, and the last one rightly. A
reading that is good must be the right one: a mangled frame is only believed when it is the right one after all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket

from drivers.contract import BadResponse
from drivers.modbus.dialect import Dialect
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.point import Range, Table
from drivers.modbus.request import ReadRequest
from drivers.modbus.settings import ModbusDeviceSettings
from drivers.modbus.wire import Replies, StrictAscii, StrictRtu

VALUES = (0x1234, 0xABCD)
PDU = bytes([3, 4]) + b"".join(value.to_bytes(2, "big") for value in VALUES)
UNIT, SPAN = 1, Range(Table.HOLDING, 0, 2)


def crc(frame: bytes) -> bytes:
    register = 0xFFFF
    for byte in frame:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0xA001 if register & 1 else register >> 1
    return register.to_bytes(2, "little")


def rtu(unit: int, pdu: bytes) -> bytes:
    return bytes([unit]) + pdu + crc(bytes([unit]) + pdu)


def ascii_frame(unit: int, pdu: bytes) -> bytes:
    message = bytes([unit]) + pdu
    return b":" + (message + bytes([-sum(message) & 0xFF])).hex().upper().encode() + b"\r\n"


def mbap(unit: int, pdu: bytes, transaction: int = 1) -> bytes:
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu


FRAMES: dict[str, Callable[[int, bytes], bytes]] = {"rtu": rtu, "ascii": ascii_frame, "tcp": mbap}


def framer(name: str, *, unit: int = UNIT, request: bytes = bytes([3, 0, 0, 0, 2])) -> Any:
    """As it is once the request has been made."""
    made: Any = {"rtu": StrictRtu, "ascii": StrictAscii, "tcp": FramerSocket}[name](Replies(False))
    made.encode(request, unit, 1)
    return made


@st.composite
def mangled(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that happens to a frame on its way: a bit, a byte, a piece."""
    how = draw(st.sampled_from(["flip", "cut", "drop", "insert", "double", "before", "after"]))
    place, byte, noise = draw(st.integers(0, 600)), draw(st.integers(1, 255)), draw(st.binary(max_size=20))

    def change(frame: bytes) -> bytes:
        at = place % len(frame)
        return {
            "flip": frame[:at] + bytes([frame[at] ^ byte]) + frame[at + 1 :],
            "cut": frame[:at],
            "drop": frame[:at] + frame[at + 1 :],
            "insert": frame[:at] + noise + frame[at:],
            "double": frame + frame,
            "before": noise + frame,
            "after": frame + noise,
        }[how]

    return change


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@pytest.mark.parametrize("name", ["rtu", "ascii"])
@given(change=mangled(), cuts=st.lists(st.integers(0, 600), max_size=3))
def test_a_mangled_frame_gives_the_right_values_or_none(
    name: str, change: Callable[[bytes], bytes], cuts: list[int]
) -> None:
    buffer, under_test, request = b"", framer(name), ReadRequest(SPAN, unit=UNIT, dialect=Dialect())
    for piece in pieces(change(FRAMES[name](UNIT, PDU)), cuts):
        buffer += piece
        used, reply = under_test.handleFrame(buffer, UNIT, 0)
        assert 0 <= used <= len(buffer)
        buffer = buffer[used:]
        if reply is not None and reply.function_code == request.function_code:
            with contextlib.suppress(ValueError):
                assert request.data(reply.body) == PDU[2:]


@pytest.mark.parametrize("name", FRAMES)
@given(data=st.binary(max_size=300))
@example(b":")
@example(b":\r\n:")
@example(b"\x01\x03")
@example(b":0103\r\n" * 40)
@example(mbap(UNIT, PDU))
@example(mbap(UNIT, b""))
@example(mbap(UNIT, PDU, 2) + mbap(UNIT, PDU))
def test_a_reply_is_only_what_stands_in_the_bytes_as_a_whole_frame(name: str, data: bytes) -> None:
    used, reply = framer(name).handleFrame(data, UNIT, 1)
    assert 0 <= used <= len(data)
    if reply is not None:
        frame = FRAMES[name](UNIT, bytes([reply.function_code]) + reply.body)
        assert frame in (data.upper() if name == "ascii" else data)


@given(
    st.integers(1, 247), st.binary(min_size=1, max_size=252).filter(lambda pdu: pdu[0] < 128), st.binary(max_size=30)
)
def test_every_ascii_frame_is_found_behind_noise(unit: int, pdu: bytes, noise: bytes) -> None:
    frame = ascii_frame(unit, pdu)
    used, found, _, data = framer("ascii", request=pdu + b"\0").decode(noise + b"\r\n" + frame)
    assert (used, found, data) == (len(noise) + 2 + len(frame), unit, pdu) or b"\r\n" in noise or b":" in noise


@st.composite
def answered(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request and its answer, both without unit and checksum."""
    function = draw(st.integers(1, 4))
    count = draw(st.integers(1, 250))
    request = bytes([function]) + draw(st.binary(min_size=2, max_size=2)) + count.to_bytes(2, "big")
    return request, bytes([function, count]) + draw(st.binary(min_size=count, max_size=count))


@settings(max_examples=300)
@given(
    unit=st.integers(1, 247),
    asked=answered(),
    before=st.lists(st.sampled_from(["noise", "unit", "request", "foreign", "start"]), max_size=4),
    noise=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
@example(unit=1, asked=(b"\3\0\0\0\1", b"\3\2\0\7"), before=["noise"], noise=b"\0", cuts=[])
@example(unit=1, asked=(b"\3\0\0\0\1", b"\3\2\0\7"), before=["start"], noise=b"", cuts=[])
@example(unit=17, asked=(b"\1\3\5\0\x14", b"\1\3\0\7\1"), before=["request"], noise=b"", cuts=[3])
def test_every_rtu_answer_is_found_behind_whatever_comes_first(
    unit: int, asked: tuple[bytes, bytes], before: list[str], noise: bytes, cuts: list[int]
) -> None:
    request, answer = asked
    first = {
        "noise": noise,
        "unit": bytes([unit]),
        "request": rtu(unit, request),  # as an adapter with local echo sends it back
        "foreign": rtu(unit % 247 + 1, answer),
        "start": bytes([unit, answer[0], 255]),
    }
    under_test, buffer = framer("rtu", unit=unit, request=request), b""
    for piece in pieces(b"".join(first[each] for each in before) + rtu(unit, answer), cuts):
        buffer += piece
        used, reply = under_test.handleFrame(buffer, unit, 0)
        assert reply is None or (reply.dev_id, bytes([reply.function_code]) + reply.body) == (unit, answer)
        if reply is not None:
            return
        buffer = buffer[used:]
        assert len(buffer) < 260  # a frame that may still become whole, and no more
    raise AssertionError("it was not found")


@pytest.mark.parametrize("name", ["rtu", "ascii"])
@pytest.mark.parametrize("confirmed", [b"\5\0\1\xff\0", b"\6\0\1\0\7", b"\x16\0\1\xff\xfe\0\1"])
def test_a_confirmation_that_repeats_the_request_is_no_echo(name: str, confirmed: bytes) -> None:
    under_test = framer(name, request=confirmed)
    _, reply = under_test.handleFrame(FRAMES[name](UNIT, confirmed), UNIT, 0)
    assert reply is not None
    assert bytes([reply.function_code]) + reply.body == confirmed


async def answers(scheme: str, told: list[bytes], scripted: Any) -> None:
    """Ask a device that answers as it was told until that is used up, then rightly."""
    frame = FRAMES[scheme.partition("+")[0]]

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        transaction = int.from_bytes(request[:2], "big")
        if told:
            data = told.pop(0)
            send(transaction.to_bytes(2, "big") + data[2:] if scheme == "tcp" else data)
        else:
            send(mbap(UNIT, PDU, transaction) if scheme == "tcp" else frame(UNIT, PDU))

    scripted.answer = answer
    points = [{"name": f"p{n}", "address": f"holding:{n}", "type": "uint16"} for n in range(2)]
    device = {"name": "d", "driver": "modbus", "url": scripted.url_of(scheme), "timeout": "100ms", "points": points}
    driver = ModbusDriver([ModbusDeviceSettings.model_validate(device)])
    async with asyncio.timeout(10), driver.connect() as session:
        while True:
            try:
                reading = await session.read(driver.groups[0])
            except BadResponse:
                await asyncio.sleep(0.001)
                continue
            assert reading.values == VALUES
            if not told:
                return


@pytest.mark.parametrize("scheme", ["rtu+tcp", "ascii+tcp"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.one_of(mangled(), st.binary(min_size=1, max_size=80)), min_size=1, max_size=3))
async def test_a_device_that_misbehaves_is_read_rightly_or_not_at_all(
    scheme: str, changes: list[Callable[[bytes], bytes] | bytes], scripted: Any
) -> None:
    server = await scripted(lambda request, send: None)
    right = FRAMES[scheme.partition("+")[0]](UNIT, PDU)
    told = [change if isinstance(change, bytes) else change(right) for change in changes]
    await answers(scheme, told, server)

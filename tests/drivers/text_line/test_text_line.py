"""The codec and the writes of the example driver; the rest of it is in the contract suite."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.contract import DeviceUnavailable, WritableSession
from tests.drivers.text_line.rig import LineDevice, family, line_device

FAMILY = family()
from text_line import codec  # noqa: E402  found where `family` has looked

POINTS = [{"name": "load", "unit": "kg"}, {"name": "speed", "writable": True}, {"name": "light", "writable": True}]


@pytest.mark.parametrize(
    ("text", "value"), [("12.50", Decimal("12.50")), ("-0.1", Decimal("-0.1")), ("7", Decimal(7)), ("on", True)]
)
def test_values_keep_their_digits(text, value):
    found = codec.value(text)
    assert (found, str(found)) == (value, str(value))


@pytest.mark.parametrize("text", ["", "NaN", "1e5", "12,5", "\u0661", "On", "1.", " 1"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(ValueError, match="neither a number nor on or off"):
        codec.value(text)


@pytest.mark.parametrize(
    ("value", "line"),
    [(True, b"x=on\n"), (False, b"x=off\n"), (3, b"x=3\n"), (Decimal("1.20"), b"x=1.20\n"), (1e-7, b"x=0.0000001\n")],
)
def test_orders_are_written_as_the_device_reads_them(value, line):
    assert codec.order("x", value) == line


@pytest.mark.parametrize("value", ["on\nspeed=9", "1", None, float("nan"), Decimal("1e40")])
def test_what_a_device_cannot_hold_is_not_sent(value):
    with pytest.raises(ValueError, match="x takes true, false or a number"):
        codec.order("x", value)


@given(st.binary(max_size=300))
def test_no_line_does_more_than_being_refused(line):
    try:
        key, text = codec.parse(line)
    except ValueError:
        return
    assert line.startswith(f"{key}={text}".encode("ascii", "replace")[:1])


async def _write(device: LineDevice, tmp_path: Path, point: str, value):
    settings = FAMILY.settings.model_validate(
        {"name": "bench", "driver": "text-line", "url": f"line://127.0.0.1:{device.port}", "points": POINTS}
    )
    driver = FAMILY.driver([settings], state_folder=tmp_path)
    (group,) = driver.groups
    async with driver.connect() as session:
        assert isinstance(session, WritableSession)
        return await session.write(group, group.points[group.names.index(point)], value)


async def test_a_written_value_is_what_the_device_holds_then(tmp_path):
    async with line_device(speaks=False) as device:
        assert await _write(device, tmp_path, "speed", Decimal("1.250")) == Decimal("1.250")
        assert await _write(device, tmp_path, "light", value=False) is False
    assert device.held["speed"] == "1.250"
    assert device.asked == ["speed=1.250", "light=off"]


async def test_a_write_without_an_answer_is_told_to_be_in_doubt(tmp_path):
    async with line_device(speaks=False) as device:
        device._answer = lambda writer, request: writer.transport.abort()
        with pytest.raises(DeviceUnavailable, match="it may have been written"):
            await _write(device, tmp_path, "speed", 1)


async def test_an_answer_to_another_question_ends_the_link(tmp_path):
    async with line_device(speaks=False) as device:
        device._answer = lambda writer, request: writer.write(b"light=on\n")
        with pytest.raises(DeviceUnavailable, match="out of step"):
            await _write(device, tmp_path, "speed", 1)


@pytest.mark.parametrize("before", [b"", b"Bench 2000 ready\n", b"\xff\x00\n"])
async def test_what_a_device_says_unasked_does_not_put_answers_out_of_step(before, tmp_path):
    async with line_device(speaks=False) as device:

        def answer(writer, request):
            device.asked.append(request)
            writer.write(before + b"load=%d.0\n" % len(device.asked) + b"load=0.0\n")

        device._answer = answer
        settings = FAMILY.settings.model_validate(
            {"name": "b", "driver": "text-line", "url": f"line://127.0.0.1:{device.port}", "points": [POINTS[0]]}
        )
        driver = FAMILY.driver([settings], state_folder=tmp_path)
        async with driver.connect() as session:
            read = [(await session.read(driver.groups[0])).values for _ in range(4)]
    assert read == [(1,), (2,), (3,), (4,)]


async def test_a_name_that_cannot_be_one_is_told_as_such(tmp_path):
    settings = FAMILY.settings.model_validate(
        {"name": "b", "driver": "text-line", "url": "line://10.0.0..1:4000", "points": POINTS}
    )
    with pytest.raises(DeviceUnavailable, match="cannot connect"):
        async with FAMILY.driver([settings], state_folder=tmp_path).connect():
            pass


async def test_an_answer_without_an_end_does_not_fill_the_memory(tmp_path):
    async with line_device(speaks=False) as device:
        device._answer = lambda writer, request: writer.write(b"x" * 10_000)
        with pytest.raises(DeviceUnavailable, match="the answer has no end"):
            await _write(device, tmp_path, "speed", 1)


def test_points_with_a_period_of_their_own_are_read_apart(tmp_path):
    points = [{"name": "load"}, {"name": "light", "period": "5s", "key": "L1"}, {"name": "speed"}]
    settings = FAMILY.settings.model_validate(
        {"name": "bench", "driver": "text-line", "url": "line://10.0.0.1:4000", "points": points}
    )
    driver = FAMILY.driver([settings], state_folder=tmp_path)
    assert [(group.period_s, group.names) for group in driver.groups] == [(1.0, ("load", "speed")), (5.0, ("light",))]
    assert [request.request for request in driver.plan()] == ["load?", "speed?", "L1?"]


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:4000", "line://10.0.0.1", "line://:4000", "line://h:x"])
def test_a_url_that_leads_nowhere_is_refused(url):
    with pytest.raises(ValidationError):
        FAMILY.settings.model_validate({"name": "bench", "driver": "text-line", "url": url, "points": POINTS})


def test_a_device_that_is_listened_to_cannot_be_written():
    with pytest.raises(ValidationError, match="takes nothing"):
        FAMILY.settings.model_validate(
            {"name": "b", "driver": "text-line", "url": "line://h:1", "listen": True, "points": POINTS}
        )


def test_two_devices_cannot_share_a_link(tmp_path):
    settings = [
        FAMILY.settings.model_validate({"name": name, "driver": "text-line", "url": "line://h:1", "points": POINTS})
        for name in ("a", "b")
    ]
    with pytest.raises(ValueError, match="is the url of a too"):
        FAMILY.driver(settings, state_folder=tmp_path)

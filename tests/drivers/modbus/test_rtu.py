"""Modbus RTU on pseudo-terminals: libmodbus units on one line, and a device scripted byte by byte."""

from __future__ import annotations

import asyncio
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason, bad

SPEED = {"name": "speed", "address": "holding:0", "type": "uint16"}


async def test_units_of_libmodbus_on_one_line_are_each_read_right_and_a_dead_one_only_fails_itself(
    libmodbus: Any, rtu_bus: Any, make_driver: Any
) -> None:
    async with rtu_bus(3) as (ours, one, two):
        with (
            libmodbus("rtu", one, "1", values={"h:0": 111, "c:4": 1}),
            libmodbus("rtu", two, "2", values={"h:0": 222, "h:99": 333}),
        ):
            url = f"rtu://{ours}?baudrate=115200&parity=N"
            driver = make_driver(
                {"url": url, "unit": 1, "points": [SPEED, {"name": "running", "address": "coil:4"}]},
                {"url": url, "unit": 3, "timeout": "100ms", "points": [SPEED]},
                {"url": url, "unit": 2, "points": [SPEED, {"name": "last", "address": "holding:99", "type": "uint16"}]},
            )
            first, dead, second = driver.groups
            async with driver.connect() as session:
                for _ in range(3):
                    assert (await session.read(first)).values == (111, True)
                    with pytest.raises(BadResponse) as error:
                        await session.read(dead)
                    assert error.value.reason is Reason.TIMEOUT
                    assert (await session.read(second)).values == (222, 333)


async def test_a_missing_address_on_a_line_costs_only_its_own_point(
    libmodbus: Any, rtu_bus: Any, make_driver: Any, registers: Any
) -> None:
    async with rtu_bus(2) as (ours, theirs):
        with libmodbus("rtu", theirs, "1", values={"h:3": 3, "h:9": 9}, size=10):
            url = f"rtu://{ours}?baudrate=115200&parity=N"
            driver = make_driver({"url": url, "points": registers(3, 9, 10)})
            async with driver.connect() as session:
                reading = await session.read(driver.groups[0])
    assert reading.values == (3, 9, None)
    assert reading.quality == {2: bad(Reason.ILLEGAL_ADDRESS)}


class LateDevice:
    """Answers its first request only when told to, with 1, and the others at once, with 2, 3 …"""

    def __init__(self, rtu: Callable[[int, bytes], bytes]) -> None:
        self.rtu, self.count = rtu, 0
        self.asked = asyncio.Event()

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        self.count += 1
        self.asked.set()
        if self.count > 1:
            send(self.reply(request[0], self.count))

    def reply(self, unit: int, value: int) -> bytes:
        return self.rtu(unit, b"\x03\x02" + value.to_bytes(2, "big"))


async def test_a_late_answer_is_never_taken_for_the_next_one(serial_line: Any, rtu: Any, make_driver: Any) -> None:
    device = LateDevice(rtu)
    line = serial_line(device)
    driver = make_driver({"url": line.url, "timeout": "100ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match="no answer within"):
            await session.read(driver.groups[0])
        line.send(device.reply(1, 1))
        while True:
            try:
                reading = await session.read(driver.groups[0])
                break
            except BadResponse as error:
                assert "not asked" in error.message  # noqa: PT017
                await asyncio.sleep(0.01)
    assert reading.values == (2,)
    assert device.count == 2


async def test_a_unit_that_owes_an_answer_costs_the_others_no_time(
    serial_line: Any, rtu: Any, make_driver: Any
) -> None:
    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        if request[0] == 2:
            send(rtu(2, b"\x03\x02\x00\x07"))

    line = serial_line(answer)
    driver = make_driver(
        {"url": line.url, "unit": 1, "timeout": "100ms", "points": [SPEED]},
        {"url": line.url, "unit": 2, "timeout": "100ms", "points": [SPEED]},
    )
    dead, alive = driver.groups
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match="no answer within"):
            await session.read(dead)
        line.send(rtu(1, b"\x03\x02\x00\x01"))  # late, and while unit 2 is asked
        assert (await session.read(alive)).values == (7,)
        with pytest.raises(BadResponse, match="not asked"):
            await session.read(dead)
    assert [request[0] for request in line.requests] == [1, 2]


async def test_what_lies_in_the_line_before_a_request_is_thrown_away(
    serial_line: Any, rtu: Any, make_driver: Any
) -> None:
    line = serial_line(lambda request, send: send(rtu(1, b"\x03\x02\x00\x02")))
    driver = make_driver({"url": line.url, "points": [SPEED]})
    async with driver.connect() as session:
        line.send(rtu(1, b"\x03\x02\x00\x01"))
        assert (await session.read(driver.groups[0])).values == (2,)


MISBEHAVIOURS: dict[str, tuple[Callable[[Any], bytes], Reason, str]] = {
    "noise": (lambda rtu: bytes(range(0x90, 0xA0)), Reason.BAD_RESPONSE, "16 bytes that are none: 90 91"),
    "half a frame": (lambda rtu: rtu(1, b"\3\2\0\7")[:5], Reason.BAD_RESPONSE, "5 bytes that are none: 01 03 02 00 07"),
    "a false checksum": (lambda rtu: rtu(1, b"\3\2\0\7")[:-1] + b"\0", Reason.BAD_RESPONSE, "7 bytes that are none"),
    "another unit": (lambda rtu: rtu(4, b"\3\2\0\7"), Reason.BAD_RESPONSE, "7 bytes that are none: 04 03"),
    "another function": (lambda rtu: rtu(1, b"\4\2\0\7"), Reason.BAD_RESPONSE, "7 bytes that are none: 01 04"),
    "another byte count": (lambda rtu: rtu(1, b"\3\4\0\7\0\7"), Reason.BAD_RESPONSE, "announces 4 bytes where 2 were"),
    "busy": (lambda rtu: rtu(1, b"\x83\6"), Reason.DEVICE_ERROR, "exception 06 (server device busy)"),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
async def test_misbehaviour_is_a_bad_response_that_says_what_came(
    misbehaviour: str, serial_line: Any, rtu: Any, make_driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    build, reason, text = MISBEHAVIOURS[misbehaviour]
    line = serial_line(lambda request, send: send(build(rtu)))
    driver = make_driver({"url": line.url, "timeout": "100ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse) as error:
            await session.read(driver.groups[0])
    assert error.value.reason is reason
    assert text in error.value.message
    assert error.value.hint
    assert not caplog.records


async def test_a_port_that_is_unplugged_while_asking_is_unavailable_at_once(serial_line: Any, make_driver: Any) -> None:
    line: Any = serial_line(lambda request, send: line.unplug())
    driver = make_driver({"url": line.url, "timeout": "1h", "points": [SPEED]})
    async with asyncio.timeout(10), driver.connect() as session:
        with pytest.raises(DeviceUnavailable, match="the serial port is gone; check that the adapter"):
            await session.read(driver.groups[0])
        with pytest.raises(DeviceUnavailable):
            await session.read(driver.groups[0])


async def test_closing_drops_what_the_line_has_not_taken(
    serial_line: Any, make_driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would wait for it, and the gateway with it. A pseudo-terminal cannot show that: it never waits."""
    line = serial_line(lambda request, send: None)
    driver = make_driver({"url": line.url, "points": [SPEED]})
    async with driver.connect():
        dropped: list[int] = []
        monkeypatch.setattr(termios, "tcflush", lambda _, queue: dropped.append(queue))
    assert dropped == [termios.TCOFLUSH]


async def test_a_port_that_does_not_exist_is_named(make_driver: Any) -> None:
    driver = make_driver({"url": "rtu:///dev/ttyNOPE7?baudrate=9600", "points": [SPEED]})
    with pytest.raises(DeviceUnavailable, match=r"cannot open /dev/ttyNOPE7 \(9600 8E1\): No such file .* plugged in"):
        async with driver.connect():
            pass


async def test_a_file_that_is_no_serial_port_is_named(make_driver: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    driver = make_driver({"url": f"rtu://{path}", "points": [SPEED]})
    with pytest.raises(DeviceUnavailable, match="it is not a serial port"):
        async with driver.connect():
            pass


async def test_a_port_that_is_in_use_is_named(serial_line: Any, make_driver: Any) -> None:
    line = serial_line(lambda request, send: None)
    driver = make_driver({"url": line.url, "points": [SPEED]})
    async with driver.connect():
        with pytest.raises(DeviceUnavailable, match="another program has the port open; stop it"):
            async with driver.connect():
                pass


@pytest.mark.parametrize("line", ["", "?parity=O&stopbits=2", "?baudrate=9600&parity=E"])
async def test_a_pseudo_terminal_opens_with_the_settings_of_the_real_line(
    line: str, libmodbus: Any, rtu_bus: Any, make_driver: Any
) -> None:
    async with rtu_bus(2) as (ours, theirs):
        with libmodbus("rtu", theirs, "1", values={"h:0": 111}):
            driver = make_driver({"url": f"rtu://{ours}{line}", "points": [SPEED]})
            for _ in range(2):
                async with driver.connect() as session:
                    assert (await session.read(driver.groups[0])).values == (111,)

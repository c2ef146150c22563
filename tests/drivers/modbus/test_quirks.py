"""Devices with habits of their own: what goes out on the wire to them, and when."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.modbus.pacing import Pacing
from drivers.model import Reason, bad

SPEED = {"name": "speed", "address": "holding:0", "type": "uint16"}


class Registers:
    """A scripted unit whose registers hold their own address, asked for by the rules that it was given."""

    def __init__(self, mbap: Callable[..., bytes], refuses: Callable[[int, int, int], int] = lambda *_: 0) -> None:
        """`refuses` takes function, start and count, and returns the exception, or 0."""
        self.mbap, self.refuses = mbap, refuses
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        function, start, count = struct.unpack(">BHH", request[7:12])
        self.asked.append((function, start, count))
        if code := self.refuses(function, start, count):
            send(self.mbap(request, bytes([function | 0x80, code])))
            return
        words = b"".join(address.to_bytes(2, "big") for address in range(start, start + count))
        send(self.mbap(request, bytes([function, 2 * count]) + words))


async def read(driver: Any) -> Any:
    async with driver.connect() as session:
        return await session.read(driver.groups[0])


async def test_a_block_is_asked_for_from_its_first_register_on(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    """An assembly of ConveyLinx at 4:1500, which answers only requests that start there, and 45 registers at most."""
    unit = Registers(
        mbap, lambda function, start, count: 0 if (start, count <= 45) == (1499, True) or start < 1499 else 2
    )
    server = await scripted(unit)
    driver = make_driver(
        {
            "url": server.url,
            "max_registers": 45,
            "start_only_blocks": ["holding:1499-1519"],
            "points": registers(1490, 1505, 1503, 1519),
        }
    )
    reading = await read(driver)
    assert (reading.values, dict(reading.quality)) == ((1490, 1505, 1503, 1519), {})
    assert unit.asked == [(3, 1490, 1), (3, 1499, 21)]


async def test_a_request_does_not_reach_into_a_block_to_fill_a_gap(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap)
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "start_only_blocks": ["holding:4-6"], "points": registers(2, 8, 9)})
    assert (await read(driver)).values == (2, 8, 9)
    assert unit.asked == [(3, 2, 1), (3, 8, 2)]


async def test_what_a_block_does_not_have_is_found_from_its_first_register_too(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap, lambda _, start, count: 2 if start != 10 or start + count > 15 else 0)
    server = await scripted(unit)
    driver = make_driver(
        {"url": server.url, "start_only_blocks": ["holding:10-19"], "points": registers(11, 12, 14, 15, 16)}
    )
    async with driver.connect() as session:
        for _ in range(2):
            unit.asked.clear()
            reading = await session.read(driver.groups[0])
    assert reading.values == (11, 12, 14, None, None)
    assert reading.quality == {3: bad(Reason.ILLEGAL_ADDRESS), 4: bad(Reason.ILLEGAL_ADDRESS)}
    assert unit.asked == [(3, 10, 5)]


async def test_an_offset_is_added_on_the_wire(libmodbus: Any, make_driver: Any) -> None:
    """The register that a manual calls 51 is 50 on the wire; ABB's status word 0x0337 and an actual speed of 50 %."""
    with libmodbus("tcp", values={"h:50": 0x0337, "h:51": 0x2710, "h:52": 0x0190}) as port:
        driver = make_driver(
            {
                "url": f"tcp://127.0.0.1:{port}",
                "address_offset": -1,
                "points": [
                    {"name": "tripped", "address": "holding:51.3"},
                    {"name": "remote", "address": "holding:51.9"},
                    {"name": "speed", "address": "holding:52", "type": "int16", "scale": 0.005, "unit": "%"},
                ],
            }
        )
        assert (await read(driver)).values == (False, True, 50.0)


async def test_tables_are_read_by_the_functions_that_the_device_knows(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap, lambda function, *_: 0 if function == 3 else 1)
    server = await scripted(unit)
    driver = make_driver(
        {"url": server.url, "function_codes": {"input": 3}, "points": registers(7, table="input") + registers(5)}
    )
    assert (await read(driver)).values == (7, 5)
    assert {function for function, _, _ in unit.asked} == {3}


async def test_no_gap_is_filled_when_told_so(scripted: Any, mbap: Any, make_driver: Any, registers: Any) -> None:
    unit = Registers(mbap)
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "no_gap_fill": True, "points": registers(1, 2, 4)})
    assert (await read(driver)).values == (1, 2, 4)
    assert unit.asked == [(3, 1, 2), (3, 4, 1)]


class OneRequestPerConnection:
    """Hangs up after each answer, and says nothing to a second request on the same connection."""

    def __init__(self, unit: Registers) -> None:
        self.unit, self.connections = unit, 0
        self.server: Any = None

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        self.connections += 1
        self.unit(request, send)
        self.server.transport.close()


async def test_a_device_of_one_request_per_connection_is_read_and_written(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    device = OneRequestPerConnection(Registers(mbap))
    device.server = await scripted(device)
    driver = make_driver(
        {"url": device.server.url, "reconnect_each_read": True, "max_gap": 0, "points": registers(1, 3, 5)}
    )
    async with driver.connect() as session:
        for _ in range(3):
            assert (await session.read(driver.groups[0])).values == (1, 3, 5)
    assert device.connections == 9


async def test_a_device_that_is_gone_between_two_requests_is_unavailable(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    device = OneRequestPerConnection(Registers(mbap))
    device.server = server = await scripted(device)
    driver = make_driver({"url": server.url, "reconnect_each_read": True, "points": [{**SPEED, "writable": True}]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (0,)
        server.listener.close()
        with pytest.raises(DeviceUnavailable, match=r"cannot connect to .* Connection refused"):
            await session.read(driver.groups[0])
        with pytest.raises(DeviceUnavailable, match="Connection refused") as error:
            await session.write(driver.groups[0], driver.groups[0].points[0], 1)
    assert "it may have been written" not in error.value.message


@pytest.mark.parametrize("turns", range(30))
async def test_cancelled_between_two_connections_nothing_stays_open(
    turns: int, scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    device = OneRequestPerConnection(Registers(mbap))
    device.server = await scripted(device)
    driver = make_driver(
        {"url": device.server.url, "reconnect_each_read": True, "max_gap": 0, "points": registers(1, 3)}
    )
    task = asyncio.create_task(read(driver))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.result().values == (1, 3)


def test_a_unit_is_left_alone_for_its_pause_and_the_link_for_its_own() -> None:
    pacing = Pacing(1.0, {7: 5.0})
    assert pacing.wait_s(7, 100.0) <= 0
    pacing.ended(7, 100.0)
    assert [pacing.wait_s(unit, 100.0) for unit in (7, 8)] == [5.0, 1.0]
    pacing.ended(8, 104.5)
    assert [pacing.wait_s(unit, 104.5) for unit in (7, 8)] == [1.0, 1.0]
    assert [pacing.wait_s(unit, 105.5) for unit in (7, 8)] == [0.0, 0.0]


class Clocked:
    """A unit that notes the time of each request and of each answer."""

    def __init__(self, frame: Callable[[bytes], bytes]) -> None:
        self.frame = frame
        self.asked: list[tuple[int, float]] = []
        self.answered: list[float] = []

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.asked.append((request[0], loop.time()))
        self.answered.append(loop.time())
        send(self.frame(request))

    def pauses(self) -> list[float]:
        return [asked - answered for (_, asked), answered in zip(self.asked[1:], self.answered, strict=False)]


async def test_requests_to_a_unit_keep_their_pause(scripted: Any, mbap: Any, make_driver: Any, registers: Any) -> None:
    unit = Clocked(lambda request: mbap(request, b"\3\2\0\7"))
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "pause": "30ms", "max_gap": 0, "points": registers(1, 3, 5)})
    assert (await read(driver)).values == (7, 7, 7)
    assert min(unit.pauses()) >= 0.03


async def test_of_several_devices_that_are_one_unit_the_longest_pause_counts(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    unit = Clocked(lambda request: mbap(request, b"\3\2\0\7"))
    server = await scripted(unit)
    driver = make_driver(*({"url": server.url, "pause": pause, "points": [SPEED]} for pause in ("30ms", "10ms")))
    async with driver.connect() as session:
        for group in (*driver.groups, *driver.groups):
            await session.read(group)
    assert len(unit.asked) == 4
    assert min(unit.pauses()) >= 0.03


async def test_a_pause_outlives_the_connection(scripted: Any, mbap: Any, make_driver: Any) -> None:
    unit = Clocked(lambda request: mbap(request, b"\3\2\0\7"))
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "pause": "30ms", "points": [SPEED]})
    for _ in range(2):
        await read(driver)
    assert min(unit.pauses()) >= 0.03


async def test_the_longest_link_pause_holds_for_every_unit_of_a_line(
    serial_line: Any, rtu: Any, make_driver: Any
) -> None:
    unit = Clocked(lambda request: rtu(request[0], b"\3\2\0\7"))
    line = serial_line(unit)
    driver = make_driver(
        {"url": line.url, "unit": 1, "link_pause": "10ms", "points": [SPEED]},
        {"url": line.url, "unit": 2, "link_pause": "30ms", "points": [SPEED]},
        {"url": line.url, "unit": 3, "points": [SPEED]},
    )
    async with driver.connect() as session:
        for group in driver.groups:
            assert (await session.read(group)).values == (7,)
    assert [number for number, _ in unit.asked] == [1, 2, 3]
    assert min(unit.pauses()) >= 0.03


async def test_a_pause_that_is_cancelled_sends_nothing(serial_line: Any, rtu: Any, make_driver: Any) -> None:
    line = serial_line(lambda request, send: send(rtu(request[0], b"\3\2\0\7")))
    driver = make_driver({"url": line.url, "pause": "1h", "points": [SPEED]})
    async with driver.connect() as session:
        await session.read(driver.groups[0])
        task = asyncio.create_task(session.read(driver.groups[0]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(line.requests) == 1


async def test_a_line_that_is_lost_in_a_pause_is_unavailable_after_it(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    server = await scripted(lambda request, send: send(mbap(request, b"\3\2\0\7")))
    driver = make_driver({"url": server.url, "pause": "20ms", "points": [SPEED]})
    async with driver.connect() as session:
        await session.read(driver.groups[0])
        server.transport.close()
        with pytest.raises(DeviceUnavailable, match="the other end closed the connection"):
            await session.read(driver.groups[0])
    assert len(server.requests) == 1


async def test_late_full_answers_that_come_with_the_new_one_do_not_hide_it(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    owed: list[bytes] = []

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        owed.append(mbap(request, bytes([3, 250]) + bytes([len(owed)]) * 250))
        if len(owed) == 4:
            send(b"".join(owed))

    server = await scripted(answer)
    driver = make_driver({"url": server.url, "timeout": "200ms", "points": registers(*range(125))})
    async with driver.connect() as session:
        for _ in range(3):
            with pytest.raises(BadResponse, match="no answer within"):
                await session.read(driver.groups[0])
        assert set((await session.read(driver.groups[0])).values) == {0x0303}

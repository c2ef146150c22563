"""Modbus TCP, against libmodbus, against pymodbus's own server, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason, bad

SPEED = {"name": "speed", "address": "holding:0", "type": "uint16", "scale": 0.001}
NOW_NS = 1_700_000_000_123_000_000


async def test_every_table_and_type_reads_what_libmodbus_serves(libmodbus: Any, make_driver: Any) -> None:
    values = {
        "h:0": 1420,
        "i:4": 0x70A4,
        "i:5": 0x4145,
        "c:0": 1,
        "d:3": 1,
        "h:12": 0b1000,
        "h:20": 0x075B,
        "h:21": 0xCD15,
    }
    with libmodbus("tcp", values=values) as port:
        driver = make_driver(
            {
                "url": f"tcp://127.0.0.1:{port}",
                "points": [
                    SPEED,
                    {"name": "current", "address": "input:4", "type": "float32", "order": "CDAB"},
                    {"name": "running", "address": "coil:0", "type": "bool"},
                    {"name": "clear", "address": "discrete:2"},
                    {"name": "blocked", "address": "discrete:3"},
                    {"name": "jammed", "address": "holding:12.3"},
                    {"name": "count", "address": "holding:20", "type": "int32"},
                ],
            },
            clock=lambda: NOW_NS,
        )
        (group,) = driver.groups
        async with driver.connect() as session:
            reading = await session.read(group)
    assert dict(zip(group.names, reading.values, strict=True)) == {
        "speed": 1.42,
        "current": 12.34,
        "running": True,
        "clear": False,
        "blocked": True,
        "jammed": True,
        "count": 123456789,
    }
    assert not reading.quality
    assert reading.observed_at_ns == NOW_NS


async def test_groups_of_several_periods_and_units_share_one_connection(libmodbus: Any, make_driver: Any) -> None:
    fast = {"name": "fast", "address": "holding:1", "type": "uint16", "period": "100ms"}
    with libmodbus("tcp", values={"h:0": 7, "h:1": 8}) as port:
        url = f"tcp://127.0.0.1:{port}"
        driver = make_driver({"url": url, "points": [SPEED, fast]}, {"url": url, "unit": 2, "points": [SPEED]})
        async with driver.connect() as session:  # this server takes one connection at a time
            values = [(await session.read(group)).values for group in driver.groups]
    assert values == [(0.007,), (8,), (0.007,)]


@asynccontextmanager
async def pymodbus_server(*devices: SimDevice) -> AsyncIterator[int]:
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def test_units_behind_one_socket_are_told_apart_by_pymodbus(make_driver: Any) -> None:
    devices = [SimDevice(unit, [SimData(0, values=unit * 11, datatype=DataType.REGISTERS)]) for unit in (1, 2)]
    async with pymodbus_server(*devices) as port:
        url = f"tcp://127.0.0.1:{port}"
        driver = make_driver(*({"url": url, "unit": unit, "points": [SPEED]} for unit in (2, 1)))
        async with driver.connect() as session:
            assert [(await session.read(group)).values for group in driver.groups] == [(0.022,), (0.011,)]


async def test_a_missing_address_costs_only_its_own_point(
    libmodbus: Any, make_driver: Any, registers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with libmodbus("tcp", values={f"h:{n}": n for n in range(50)}, size=50) as port:
        driver = make_driver({"url": f"tcp://127.0.0.1:{port}", "points": registers(10, 49, 50, 20)})
        (group,) = driver.groups
        async with driver.connect() as session:
            first = await session.read(group)
            again = await session.read(group)
        async with driver.connect() as session:
            later = await session.read(group)
    for reading in (first, again, later):
        assert reading.values == (10, 49, None, 20)
        assert reading.quality == {2: bad(Reason.ILLEGAL_ADDRESS)}
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "device-1: unit 1 on tcp://127.0.0.1" in warning
    assert "holding50 (holding:50, uint16)" in warning
    assert [plan.addresses for plan in driver.plan()] == [("holding:10", "holding:20"), ("holding:49",)]


class Registers:
    """A scripted unit: registers that hold their own address, except for those that are missing."""

    def __init__(self, mbap: Callable[..., bytes], *missing: int) -> None:
        self.mbap, self.missing = mbap, set(missing)
        self.asked: list[tuple[int, int]] = []

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        function, start, count = struct.unpack(">BHH", request[7:12])
        self.asked.append((start, count))
        addresses = range(start, start + count)
        if self.missing.intersection(addresses):
            send(self.mbap(request, bytes([function | 0x80, 2])))
        else:
            send(self.mbap(request, bytes([function, 2 * count]) + b"".join(a.to_bytes(2, "big") for a in addresses)))


async def test_a_missing_address_is_never_asked_for_again(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap, 5)
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "points": registers(0, 5, 9)})
    async with driver.connect() as session:
        await session.read(driver.groups[0])
        for _ in range(3):  # one more round may be needed to learn that the gap cannot be bridged either
            unit.asked.clear()
            reading = await session.read(driver.groups[0])
    assert reading.values == (0, None, 9)
    assert unit.asked == [(0, 1), (9, 1)]


async def test_a_unit_that_refuses_everything_is_not_believed(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap, *range(100))
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "points": registers(1, 2, 3)})
    (group,) = driver.groups
    async with driver.connect() as session:
        for _ in range(2):
            unit.asked.clear()
            with pytest.raises(BadResponse, match="exception 02") as error:
                await session.read(group)
            assert error.value.reason is Reason.ILLEGAL_ADDRESS
        assert unit.asked == [(1, 3)]  # halved once, and not again
        unit.missing.clear()  # it has started up
        assert (await session.read(group)).values == (1, 2, 3)


async def test_a_group_that_is_all_missing_is_believed_when_another_is_answered(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    unit = Registers(mbap, 7)
    server = await scripted(unit)
    slow = {**registers(7)[0], "period": "10s"}
    driver = make_driver({"url": server.url, "points": [*registers(1), slow]})
    good, missing = driver.groups
    async with driver.connect() as session:
        await session.read(good)
        reading = await session.read(missing)
        unit.asked.clear()
        assert (await session.read(missing)).quality == reading.quality == {0: bad(Reason.ILLEGAL_ADDRESS)}
    assert not unit.asked


@pytest.mark.parametrize("refused", range(2, 12))
async def test_a_unit_that_becomes_ready_while_its_block_is_halved_keeps_its_points(
    refused: int, scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    """Whichever request is the first that is answered: for a part of the block, or for a block that was read before."""
    unit = Registers(mbap)

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        is_ready = len(unit.asked) == 0 or len(unit.asked) >= refused
        unit.missing = set() if is_ready else set(range(100))
        unit(request, send)

    server = await scripted(answer)
    slow = [{**point, "period": "10s"} for point in registers(50, 51, 52, 53)]
    driver = make_driver({"url": server.url, "points": [*registers(1), *slow]})
    quick, whole = driver.groups
    async with driver.connect() as session:
        await session.read(quick)
        with suppress(BadResponse):  # all of it was refused
            await session.read(whole)
        unit.asked.extend([(0, 0)] * refused)
        assert (await session.read(whole)).values == (50, 51, 52, 53)


async def test_one_block_that_fails_leaves_the_others(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    inputs_fail = True

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        if request[7] == 4 and inputs_fail:
            send(mbap(request, b"\x84\x04"))
        else:
            send(mbap(request, bytes([request[7], 2, 0, 9])))

    server = await scripted(answer)
    driver = make_driver({"url": server.url, "points": registers(0, table="input") + registers(0)})
    with caplog.at_level(logging.INFO, logger="drivers.modbus"):
        async with driver.connect() as session:
            partial = [await session.read(driver.groups[0]) for _ in range(3)]
            inputs_fail = False
            whole = await session.read(driver.groups[0])
    assert [(reading.values, reading.quality) for reading in partial] == [((None, 9), {0: bad("device-error")})] * 3
    assert (whole.values, dict(whole.quality)) == ((9, 9), {})
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(": ")[2].partition(":")[0] for message in messages] == [
        "a part cannot be read",
        "all of it can be read again",
    ]
    assert "exception 04 (server device failure)" in messages[0]


async def test_a_unit_that_stops_answering_in_the_middle_gives_what_was_read(
    scripted: Any, mbap: Any, make_driver: Any, registers: Any
) -> None:
    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        if request[7] == 1:
            send(mbap(request, b"\x01\x01\x01"))

    server = await scripted(answer)
    points = registers(0, table="coil") + registers(0) + registers(0, table="input")
    driver = make_driver({"url": server.url, "timeout": "300ms", "points": points})
    async with driver.connect() as session:
        reading = await session.read(driver.groups[0])
    assert reading.values == (True, None, None)
    assert reading.quality == {1: bad(Reason.TIMEOUT), 2: bad(Reason.TIMEOUT)}
    assert len(server.requests) == 2  # the third would only cost another timeout


MISBEHAVIOURS: dict[str, tuple[Callable[[Any, bytes], bytes], Reason, str]] = {
    "nothing": (lambda m, r: b"", Reason.TIMEOUT, "no answer within"),
    "garbage": (lambda m, r: b"HTTP/1.1 400 Bad Request\r\n", Reason.BAD_RESPONSE, "26 bytes that are none: 48 54 54"),
    "half a frame": (lambda m, r: m(r, b"\3\2\0\7")[:9], Reason.BAD_RESPONSE, "9 bytes that are none"),
    "another unit": (lambda m, r: m(r, b"\3\2\0\7", unit=9), Reason.BAD_RESPONSE, "11 bytes that are none"),
    "another transaction": (lambda m, r: m(r, b"\3\2\0\7", transaction=999), Reason.TIMEOUT, "an earlier request"),
    "transaction 0": (lambda m, r: m(r, b"\3\2\0\7", transaction=0), Reason.BAD_RESPONSE, "has transaction 0, not 1"),
    "another function": (lambda m, r: m(r, b"\4\2\0\7"), Reason.BAD_RESPONSE, "an answer to function 4"),
    "no known function": (lambda m, r: m(r, b"\x63\2\0\7"), Reason.BAD_RESPONSE, "an answer to function 99"),
    "another byte count": (lambda m, r: m(r, b"\3\4\0\7\0\7"), Reason.BAD_RESPONSE, "announces 4 bytes where 2 were"),
    "a false byte count": (lambda m, r: m(r, b"\3\2\0\7\0"), Reason.BAD_RESPONSE, "announces 2 bytes and carries 3"),
    "an empty answer": (lambda m, r: m(r, b"\3"), Reason.BAD_RESPONSE, "ends after its function code"),
    "busy": (lambda m, r: m(r, b"\x83\6"), Reason.DEVICE_ERROR, "exception 06 (server device busy)"),
    "a silent unit behind a gateway": (lambda m, r: m(r, b"\x83\x0b"), Reason.TIMEOUT, "exception 0B (gateway target"),
    "an unknown exception": (lambda m, r: m(r, b"\x83\x77"), Reason.DEVICE_ERROR, "exception 77 (not in the standard)"),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
async def test_misbehaviour_is_a_bad_response_that_says_what_came_and_the_next_read_is_right(
    misbehaviour: str, scripted: Any, mbap: Any, make_driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    build, reason, text = MISBEHAVIOURS[misbehaviour]
    behaves = False

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        send(mbap(request, b"\3\2\5\x8c") if behaves else build(mbap, request))

    server = await scripted(answer)
    driver = make_driver({"url": server.url, "timeout": "200ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse) as error:
            await session.read(driver.groups[0])
        behaves = True
        assert (await session.read(driver.groups[0])).values == (1.42,)
    assert error.value.reason is reason
    assert text in error.value.message
    assert f"FC3 holding 0 (1 register) from unit 1 on {server.url}" in error.value.message
    assert error.value.hint
    assert not caplog.records  # the host logs what is raised


async def test_a_late_answer_is_not_taken_for_the_next_one(scripted: Any, mbap: Any, make_driver: Any) -> None:
    owed: list[bytes] = []

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        owed.append(mbap(request, b"\3\2\0\1" if not owed else b"\3\2\0\2"))
        if len(owed) == 2:
            send(owed[0])
            asyncio.get_running_loop().call_later(0.02, send, owed[1])

    server = await scripted(answer)
    driver = make_driver({"url": server.url, "timeout": "200ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse):
            await session.read(driver.groups[0])
        assert (await session.read(driver.groups[0])).values == (0.002,)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_ends_while_asking_is_unavailable_at_once(
    how: str, scripted: Any, make_driver: Any
) -> None:
    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        connection = server.transport.get_extra_info("socket")
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.transport.close()

    server = await scripted(answer)
    driver = make_driver({"url": server.url, "timeout": "1h", "points": [SPEED]})
    async with asyncio.timeout(10), driver.connect() as session:
        with pytest.raises(DeviceUnavailable, match="the other end closed the connection") as error:
            await session.read(driver.groups[0])
        assert error.value.reason is Reason.COMM_FAILURE
        with pytest.raises(DeviceUnavailable):
            await session.read(driver.groups[0])


async def test_a_server_that_accepts_and_closes_is_unavailable(scripted: Any, make_driver: Any) -> None:
    server = await scripted(lambda request, send: None)
    driver = make_driver({"url": server.url, "timeout": "1h", "points": [SPEED]})
    async with asyncio.timeout(10), driver.connect() as session:
        await server.connected.wait()
        server.transport.close()
        with pytest.raises(DeviceUnavailable):
            await session.read(driver.groups[0])


async def test_a_refused_connection_says_so_and_what_to_check(make_driver: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        driver = make_driver({"url": f"tcp://127.0.0.1:{unused.getsockname()[1]}", "points": [SPEED]})
        with pytest.raises(DeviceUnavailable, match="Connection refused; check that its Modbus server is enabled"):
            async with driver.connect():
                pass


async def test_a_host_name_that_does_not_resolve_is_named(make_driver: Any) -> None:
    driver = make_driver({"url": "tcp://no-such-plc.invalid", "timeout": "1h", "points": [SPEED]})
    with pytest.raises(DeviceUnavailable, match=r"the host name no-such-plc\.invalid does not resolve"):
        async with driver.connect():
            pass


async def test_a_connection_that_is_never_accepted_is_given_up_after_the_timeout(make_driver: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.setblocking(False)
        first.connect_ex(full.getsockname())
        driver = make_driver({"url": f"tcp://127.0.0.1:{full.getsockname()[1]}", "timeout": "50ms", "points": [SPEED]})
        with pytest.raises(DeviceUnavailable, match=r"no answer within 0\.05 s"):
            async with driver.connect():
                pass


async def test_leaving_the_session_closes_the_socket(scripted: Any, make_driver: Any) -> None:
    server = await scripted(lambda request, send: None)
    driver = make_driver({"url": server.url, "points": [SPEED]})
    async with driver.connect():
        pass
    await asyncio.wait_for(server.disconnected.wait(), 5)

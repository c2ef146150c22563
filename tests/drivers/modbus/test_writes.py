"""What is written, as mbpoll then reads it from libmodbus; the literal requests; and every way in which it can fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import BadResponse, DeviceUnavailable, WritableSession
from drivers.model import Reason, Value

COIL = {"name": "running", "address": "coil:3", "writable": True}
SPEED = {"name": "speed", "address": "holding:1", "type": "uint16", "scale": 0.001, "unit": "m/s", "writable": True}
COUNT = {"name": "count", "address": "holding:2", "type": "int32", "order": "CDAB", "writable": True}
CURRENT = {"name": "current", "address": "holding:4", "type": "float32", "writable": True}
TOTAL = {"name": "total", "address": "holding:6", "type": "bcd32", "writable": True}
LABEL = {"name": "label", "address": "holding:8", "type": "string(4)", "writable": True}
RESET = {"name": "reset", "address": "holding:0.7", "writable": True}
POINTS = [COIL, SPEED, COUNT, CURRENT, TOTAL, LABEL, RESET]
WRITES: dict[str, Value] = {
    "running": True,
    "speed": 1.42,
    "count": 123456789,
    "current": 12.34,
    "total": 12345678,
    "label": "PC-1",
    "reset": True,
}
HELD = [0x047E | 0x80, 1420, 0xCD15, 0x075B, 0x4145, 0x70A4, 0x1234, 0x5678, 0x5043, 0x2D31]
"""The registers after these writes; the first is a control word of ABB's, of which one bit was set."""


async def write_all(driver: Any) -> dict[str, Value]:
    """Write every point of `WRITES`; what came back."""
    (group,) = driver.groups
    async with driver.connect() as session:
        assert isinstance(session, WritableSession)
        return {point.name: await session.write(group, point, WRITES[point.name]) for point in group.points}


@pytest.mark.parametrize(
    "codes",
    [
        {},
        {"write_coil": 15, "write_register": 16},
        {"write_bit": 22},
    ],
    ids=["FC5 FC6 FC16", "FC15 FC16", "FC22"],
)
async def test_what_was_written_to_libmodbus_is_what_mbpoll_reads(
    codes: dict[str, int], libmodbus: Any, make_driver: Any, mbpoll: Any
) -> None:
    with libmodbus("tcp", values={"h:0": 0x047E, "h:10": 4711}) as port:
        driver = make_driver({"url": f"tcp://127.0.0.1:{port}", "function_codes": codes, "points": POINTS})
        assert await write_all(driver) == WRITES
        here = ("-m", "tcp", "-p", str(port), "127.0.0.1")
        assert await mbpoll("-t", "4", "-r", "0", "-c", "11", *here) == [*HELD, 4711]
        assert await mbpoll("-t", "0", "-r", "2", "-c", "3", *here) == [0, 1, 0]


async def test_what_was_written_on_a_serial_line_is_what_mbpoll_reads(
    libmodbus: Any, rtu_bus: Any, make_driver: Any, mbpoll: Any
) -> None:
    async with rtu_bus(2) as (ours, theirs):
        with libmodbus("rtu", theirs, "7", values={"h:0": 0x047E}):
            url = f"rtu://{ours}?baudrate=115200&parity=N"
            assert await write_all(make_driver({"url": url, "unit": 7, "points": POINTS})) == WRITES
            here = ("-m", "rtu", "-a", "7", "-b", "115200", "-P", "none", ours)
            assert await mbpoll("-t", "4", "-r", "0", "-c", "10", *here) == HELD
            assert await mbpoll("-t", "0", "-r", "3", "-c", "1", *here) == [1]


@pytest.mark.parametrize(("scheme", "framer"), [("rtu+tcp", FramerType.RTU), ("ascii+tcp", FramerType.ASCII)])
async def test_what_was_written_in_frames_of_a_line_is_what_pymodbus_holds(
    scheme: str, framer: FramerType, make_driver: Any
) -> None:
    block = [SimData(0, values=[0x047E, *[0] * 9], datatype=DataType.REGISTERS)]
    server = ModbusTcpServer([SimDevice(1, block)], framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        driver = make_driver({"url": f"{scheme}://127.0.0.1:{port}", "points": POINTS[1:]})
        assert await write_all(driver) == {name: value for name, value in WRITES.items() if name != "running"}
        assert await server.async_getValues(1, 3, 0, 10) == HELD
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


class Unit:
    """A scripted unit that confirms every write, and whose registers and coils hold what it was told to say."""

    def __init__(self, mbap: Callable[..., bytes], held: bytes = b"\0\0\0\0") -> None:
        self.mbap, self.held = mbap, held
        self.asked: list[str] = []
        self.answers: dict[int, Callable[[bytes], bytes]] = {}
        """Function code → what it answers instead, to a request without its header."""

    def __call__(self, request: bytes, send: Callable[[bytes], None]) -> None:
        pdu = request[7:]
        self.asked.append(pdu.hex(" "))
        if pdu[0] in self.answers:
            answer = self.answers[pdu[0]](pdu)
        elif pdu[0] <= 4:
            size = (pdu[4] + 7) // 8 if pdu[0] <= 2 else 2 * pdu[4]
            answer = bytes([pdu[0], size]) + self.held[:size]
        else:
            answer = pdu[:5] if pdu[0] in (15, 16) else pdu
        if answer:
            send(self.mbap(request, answer))


async def written(server: Any, make_driver: Any, point: dict[str, Any], value: Value, **keys: Any) -> Value:
    driver = make_driver({"url": server.url, "timeout": "100ms", "points": [{**point, "writable": True}], **keys})
    (group,) = driver.groups
    async with driver.connect() as session:
        return await session.write(group, group.points[0], value)  # type: ignore[no-any-return]


# V1.1b3, 6.5: output 173; 6.6: register 2 = 3; 6.11; 6.12: registers 2 and 3 = 0x000A0102; 6.16: register 5.
LITERAL: dict[str, tuple[dict[str, Any], dict[str, int], Value]] = {
    "05 00 ac ff 00": ({"address": "coil:172"}, {}, True),
    "05 00 ac 00 00": ({"address": "coil:172"}, {}, False),
    "06 00 01 00 03": ({"address": "holding:1", "type": "uint16"}, {}, 3),
    "0f 00 13 00 01 01 01": ({"address": "coil:19"}, {"write_coil": 15}, True),
    "0f 00 13 00 01 01 00": ({"address": "coil:19"}, {"write_coil": 15}, False),
    "10 00 01 00 02 04 00 0a 01 02": ({"address": "holding:1", "type": "uint32"}, {}, 0x000A0102),
    "10 00 01 00 01 02 00 03": ({"address": "holding:1", "type": "uint16"}, {"write_register": 16}, 3),
    "16 00 04 ff fb 00 04": ({"address": "holding:4.2"}, {"write_bit": 22}, True),
    "16 00 04 ff fb 00 00": ({"address": "holding:4.2"}, {"write_bit": 22}, False),
}


@pytest.mark.parametrize("pdu", LITERAL)
async def test_a_write_is_the_literal_request(pdu: str, scripted: Any, mbap: Any, make_driver: Any) -> None:
    point, codes, value = LITERAL[pdu]
    unit = Unit(mbap)
    await written(await scripted(unit), make_driver, {"name": "p", **point}, value, function_codes=codes)
    assert unit.asked[0] == pdu
    assert len(unit.asked) == 2  # and the read that says what it holds now


async def test_a_bit_is_read_changed_and_written_back(scripted: Any, mbap: Any, make_driver: Any) -> None:
    unit = Unit(mbap, held=b"\x04\x7e")
    server = await scripted(unit)
    assert await written(server, make_driver, {"name": "reset", "address": "holding:0.7"}, True) is False
    assert unit.asked == ["03 00 00 00 01", "06 00 00 04 fe", "03 00 00 00 01"]


async def test_the_offset_and_the_start_of_a_block_hold_for_writes_too(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    unit = Unit(mbap, held=b"\0\1\0\2\0\3")
    keys = {"address_offset": -1, "start_only_blocks": ["holding:1500-1519"]}
    server = await scripted(unit)
    assert await written(server, make_driver, {"name": "bit", "address": "holding:1502.2"}, True, **keys) is False
    assert unit.asked == ["03 05 db 00 03", "06 05 dd 00 07", "03 05 db 00 03"]


async def test_what_the_unit_holds_is_returned_and_not_what_it_was_told(
    scripted: Any, mbap: Any, make_driver: Any
) -> None:
    server = await scripted(Unit(mbap, held=b"\x05\x8c"))
    assert await written(server, make_driver, SPEED, 60) == 1.42


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_what_nobody_may_read_is_as_the_unit_has_confirmed_it(
    code: int, scripted: Any, mbap: Any, make_driver: Any
) -> None:
    unit = Unit(mbap)
    unit.answers = {3: lambda pdu: bytes([0x83, code]), 1: lambda pdu: bytes([0x81, code])}
    server = await scripted(unit)
    assert await written(server, make_driver, SPEED, 1.4204) == 1.42
    assert await written(server, make_driver, COIL, True) is True
    codes = {"write_bit": 22}
    assert await written(server, make_driver, {"name": "b", "address": "holding:0.9"}, True, function_codes=codes)


@pytest.mark.parametrize(
    ("point", "value"), [(SPEED, 70), (COIL, "on"), (RESET, 2), (LABEL, "PC-12")], ids=["70", "on", "2", "PC-12"]
)
async def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent(
    point: dict[str, Any], value: Value, scripted: Any, mbap: Any, make_driver: Any
) -> None:
    unit = Unit(mbap)
    with pytest.raises(ValueError, match=f"{point['name']} takes "):
        await written(await scripted(unit), make_driver, point, value)
    assert unit.asked == []


async def test_a_point_that_is_not_writable_is_never_written(scripted: Any, mbap: Any, make_driver: Any) -> None:
    unit = Unit(mbap)
    server = await scripted(unit)
    driver = make_driver({"url": server.url, "points": [{**SPEED, "writable": False}]})
    async with driver.connect() as session:
        with pytest.raises(ValueError, match="speed is not writable"):
            await session.write(driver.groups[0], driver.groups[0].points[0], 1)
    assert unit.asked == []


IN_DOUBT = "it may have been written all the same"
FAILURES: dict[str, tuple[Callable[[bytes], bytes], Reason, str, bool]] = {
    "illegal function": (lambda p: b"\x86\1", Reason.DEVICE_ERROR, "exception 01 (illegal function)", False),
    "illegal address": (lambda p: b"\x86\2", Reason.ILLEGAL_ADDRESS, "exception 02 (illegal data address)", False),
    "illegal value": (lambda p: b"\x86\3", Reason.OUT_OF_RANGE, "exception 03 (illegal data value)", False),
    "failure": (lambda p: b"\x86\4", Reason.DEVICE_ERROR, "exception 04 (server device failure)", True),
    "acknowledge": (lambda p: b"\x86\5", Reason.DEVICE_ERROR, "exception 05 (acknowledge)", True),
    "busy": (lambda p: b"\x86\6", Reason.DEVICE_ERROR, "exception 06 (server device busy)", False),
    "silent behind a gateway": (lambda p: b"\x86\x0b", Reason.TIMEOUT, "exception 0B (gateway target", True),
    "nothing": (lambda p: b"", Reason.TIMEOUT, "no answer within 0.1 s", True),
    "another value": (
        lambda p: p[:3] + b"\0\1",
        Reason.BAD_RESPONSE,
        "the unit confirms 00 01 00 01 where 00 01",
        True,
    ),
    "another address": (lambda p: b"\6\0\2" + p[3:], Reason.BAD_RESPONSE, "the unit confirms 00 02 05 8c where", True),
    "another function": (lambda p: b"\5" + p[1:], Reason.BAD_RESPONSE, "an answer to function 5", True),
    "half a confirmation": (lambda p: p[:3], Reason.BAD_RESPONSE, "the unit confirms 00 01 where 00 01 05 8c", True),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failed_write_says_what_came_and_whether_it_may_have_happened(
    failure: str, scripted: Any, mbap: Any, make_driver: Any
) -> None:
    answer, reason, text, in_doubt = FAILURES[failure]
    unit = Unit(mbap)
    unit.answers = {6: answer}
    server = await scripted(unit)
    with pytest.raises(BadResponse) as error:
        await written(server, make_driver, SPEED, 1.42)
    assert f"writing 05 8c by FC6 holding 1 (1 register) to unit 1 on {server.url}: " in error.value.message
    assert text in error.value.message
    assert error.value.reason is reason
    assert error.value.hint
    assert (IN_DOUBT in error.value.message) is in_doubt
    assert unit.asked == ["06 00 01 05 8c"]


async def test_a_connection_that_ends_while_writing_leaves_doubt_and_before_none(
    scripted: Any, make_driver: Any
) -> None:
    server = await scripted(lambda request, send: server.transport.close())
    driver = make_driver({"url": server.url, "timeout": "1h", "points": [SPEED]})
    (group,) = driver.groups
    async with asyncio.timeout(10), driver.connect() as session:
        with pytest.raises(DeviceUnavailable, match=f"the other end closed the connection; {IN_DOUBT}"):
            await session.write(group, group.points[0], 1.42)
        with pytest.raises(DeviceUnavailable) as error:
            await session.write(group, group.points[0], 1.42)
    assert IN_DOUBT not in error.value.message
    assert len(server.requests) == 1


async def test_a_write_that_was_not_sent_leaves_no_doubt(serial_line: Any, make_driver: Any) -> None:
    line = serial_line(lambda request, send: None)
    driver = make_driver({"url": line.url, "timeout": "100ms", "points": [SPEED]})
    (group,) = driver.groups
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match=IN_DOUBT):
            await session.write(group, group.points[0], 1.42)
        with pytest.raises(BadResponse, match="not asked") as error:
            await session.write(group, group.points[0], 1.42)
    assert IN_DOUBT not in error.value.message
    assert len(line.requests) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda pdu: b"", "it was written, but cannot be read back: reading FC3 holding 4–5 (2 registers)"),  # noqa: RUF001
        (lambda pdu: b"\x83\4", "it was written, but cannot be read back: reading FC3 holding 4–5"),  # noqa: RUF001
        (lambda pdu: b"\3\4\x7f\xc0\0\0", "current was written, but what the unit holds is no value of it (7f c0 00 "),
    ],
)
async def test_a_value_that_cannot_be_read_back_was_written(
    answer: Callable[[bytes], bytes], text: str, scripted: Any, mbap: Any, make_driver: Any
) -> None:
    unit = Unit(mbap)
    unit.answers = {3: answer}
    with pytest.raises(BadResponse) as error:
        await written(await scripted(unit), make_driver, CURRENT, 12.34)
    assert text in error.value.message


async def test_a_bit_whose_register_cannot_be_read_is_not_written(scripted: Any, mbap: Any, make_driver: Any) -> None:
    unit = Unit(mbap)
    unit.answers = {3: lambda pdu: b"\x83\2"}
    with pytest.raises(BadResponse, match=r"reading FC3 holding 0 .* exception 02"):
        await written(await scripted(unit), make_driver, RESET, True)
    assert unit.asked == ["03 00 00 00 01"]


@pytest.mark.parametrize("turns", range(40))
async def test_a_write_that_is_cancelled_leaves_nothing_open_and_does_not_spoil_the_next(
    turns: int, scripted: Any, mbap: Any, make_driver: Any
) -> None:
    server = await scripted(Unit(mbap, held=b"\x05\x8c"))
    driver = make_driver({"url": server.url, "points": [SPEED]})
    (group,) = driver.groups
    async with driver.connect() as session:
        task = asyncio.create_task(session.write(group, group.points[0], 1.42))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await task == 1.42
        assert await session.write(group, group.points[0], 1.42) == 1.42

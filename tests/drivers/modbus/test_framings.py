"""RTU over TCP and Modbus ASCII: against libmodbus, pymodbus's server, literal frames, and devices that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import BadResponse, DeviceUnavailable, NotAsked
from drivers.model import Reason

SPEED = {"name": "speed", "address": "holding:0", "type": "uint16"}
LAST = {"name": "last", "address": "holding:9", "type": "uint16"}
WITHOUT_TRANSACTIONS = ["rtu+tcp", "ascii+tcp", "ascii"]


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The host logs what is raised; and nothing was raised in a callback of the loop, which would log it."""
    yield
    assert not caplog.records


def device(unit: int) -> SimDevice:
    return SimDevice(unit, [SimData(0, values=[unit * 11, *range(1, 10)], datatype=DataType.REGISTERS)])


@asynccontextmanager
async def pymodbus_tcp(framer: FramerType) -> AsyncIterator[int]:
    server = ModbusTcpServer([device(1), device(2)], framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def pymodbus_line(path: str) -> AsyncIterator[None]:
    server = ModbusSerialServer([device(1), device(2)], framer=FramerType.ASCII, port=path)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def test_rtu_over_tcp_reads_libmodbus_units_behind_a_terminal_server(
    libmodbus: Any, rtu_bus: Any, forwarder: Any, make_driver: Any, registers: Any
) -> None:
    async with rtu_bus(3) as (ours, one, two):
        with (
            libmodbus("rtu", one, "1", values={"h:0": 111, "c:4": 1}),
            libmodbus("rtu", two, "2", values={"h:0": 222}, size=10),
        ):
            url = f"rtu+tcp://127.0.0.1:{await forwarder(ours)}"
            driver = make_driver(
                {"url": url, "unit": 1, "points": [SPEED, {"name": "running", "address": "coil:4"}]},
                {"url": url, "unit": 3, "timeout": "100ms", "points": [SPEED]},
                {"url": url, "unit": 2, "points": registers(0, 9)},
            )
            first, dead, second = driver.groups
            async with driver.connect() as session:
                for _ in range(3):
                    assert (await session.read(first)).values == (111, True)
                    with pytest.raises(BadResponse) as error:
                        await session.read(dead)
                    assert error.value.reason is Reason.TIMEOUT
                    assert (await session.read(second)).values == (222, 0)


@pytest.mark.parametrize(("scheme", "framer"), [("rtu+tcp", FramerType.RTU), ("ascii+tcp", FramerType.ASCII)])
async def test_frames_of_a_line_over_tcp_read_pymodbus(scheme: str, framer: FramerType, make_driver: Any) -> None:
    async with pymodbus_tcp(framer) as port:
        url = f"{scheme}://127.0.0.1:{port}"
        driver = make_driver(*({"url": url, "unit": unit, "points": [SPEED, LAST]} for unit in (2, 1)))
        async with driver.connect() as session:
            assert [(await session.read(group)).values for group in driver.groups] == [(22, 9), (11, 9)]


async def test_ascii_on_a_serial_line_reads_pymodbus(rtu_bus: Any, make_driver: Any) -> None:
    async with rtu_bus(2) as (ours, theirs), pymodbus_line(theirs):
        url = f"ascii://{ours}?baudrate=9600"
        driver = make_driver(*({"url": url, "unit": unit, "points": [SPEED, LAST]} for unit in (2, 1)))
        async with driver.connect() as session:
            assert [(await session.read(group)).values for group in driver.groups] == [(22, 9), (11, 9)]


async def test_an_ascii_request_is_the_literal_frame(serial_line: Any, make_driver: Any) -> None:
    """Unit 1, registers 0 to 1: 01 03 00 00 00 02, whose sum is 06, so the LRC is FA; the answer sums to 1A2, so 5E."""
    line = serial_line(lambda request, send: send(b":010304414570A45E\r\n"))
    point = {"name": "current", "address": "holding:0", "type": "float32"}
    driver = make_driver({"url": line.url_of("ascii"), "points": [point]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (12.34,)
    assert b"".join(line.requests) == b":010300000002FA\r\n"


Start = Callable[[str, Callable[[bytes, Callable[[bytes], None]], None]], Any]


@pytest.fixture
def start(scripted: Any, serial_line: Any) -> Start:
    """A scripted device that is reached by a scheme, and its url."""

    async def make(scheme: str, answer: Callable[[bytes, Callable[[bytes], None]], None]) -> tuple[Any, str]:
        device = await scripted(answer) if "tcp" in scheme else serial_line(answer)
        return device, device.url_of(scheme)

    return make


@pytest.mark.parametrize("scheme", WITHOUT_TRANSACTIONS)
async def test_a_late_answer_is_never_taken_for_the_next_one(
    scheme: str, start: Any, framed: Any, make_driver: Any
) -> None:
    count = 0

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        nonlocal count
        count += 1
        if count > 1:
            send(framed(scheme, 1, b"\3\2\0" + bytes([count])))

    device, url = await start(scheme, answer)
    driver = make_driver({"url": url, "timeout": "100ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match="no answer within"):
            await session.read(driver.groups[0])
        device.send(framed(scheme, 1, b"\3\2\0\1"))
        while True:
            try:
                reading = await session.read(driver.groups[0])
                break
            except BadResponse as error:
                assert "not asked" in error.message  # noqa: PT017
                await asyncio.sleep(0.01)
    assert reading.values == (2,)
    assert count == 2


@pytest.mark.parametrize(("scheme", "anew"), [("rtu+tcp", True), ("rtu+tcp", False), ("ascii", False)])
async def test_a_late_answer_is_not_taken_for_another_ones_on_the_next_connection(
    scheme: str, anew: bool, start: Any, framed: Any, make_driver: Any
) -> None:
    """A terminal server hands what comes from the line to whoever is connected now."""
    requests: list[bytes] = []

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        requests.append(request)
        if len(requests) > 1:
            send(framed(scheme, 1, b"\3\2\0\1"))  # what the first request asked for

    device, url = await start(scheme, answer)
    points = [SPEED, {**LAST, "period": "5s"}]
    driver = make_driver({"url": url, "timeout": "300ms", "reconnect_each_read": anew, "points": points})
    speed, last = driver.groups
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match="no answer within"):
            await session.read(speed)
        if anew:
            await device.disconnected.wait()
            device.connected.clear()
            with pytest.raises(NotAsked):
                await session.read(last)
            assert not device.connected.is_set()  # what is not asked needs no connection
    async with driver.connect() as session:
        with pytest.raises(NotAsked):
            await session.read(last)
    assert len(requests) == 1


@pytest.mark.parametrize("scheme", WITHOUT_TRANSACTIONS)
async def test_what_comes_unasked_before_a_request_is_thrown_away(
    scheme: str, start: Any, framed: Any, make_driver: Any
) -> None:
    device, url = await start(scheme, lambda request, send: send(framed(scheme, 1, b"\3\2\0\2")))
    driver = make_driver({"url": url, "points": [SPEED]})
    async with driver.connect() as session:
        if "tcp" in scheme:
            await device.connected.wait()
        for _ in range(3):
            device.send(framed(scheme, 1, b"\3\2\0\1"))
            assert (await session.read(driver.groups[0])).values == (2,)


@pytest.mark.parametrize("scheme", WITHOUT_TRANSACTIONS)
async def test_what_comes_before_the_answer_does_not_take_it_along(
    scheme: str, start: Any, framed: Any, make_driver: Any
) -> None:
    """The late answer of another unit, the late one to another function, and the request itself, sent back."""

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        others = framed(scheme, 9, b"\3\2\0\1") + framed(scheme, 1, b"\4\2\0\1")
        send(b"\0" + others + request + framed(scheme, 1, b"\3\2\0\7"))

    _, url = await start(scheme, answer)
    driver = make_driver({"url": url, "points": [SPEED]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (7,)


@pytest.mark.parametrize("scheme", WITHOUT_TRANSACTIONS)
async def test_a_request_that_an_adapter_sends_back_is_no_answer_to_itself(
    scheme: str, start: Any, make_driver: Any, registers: Any
) -> None:
    """20 coils from 773 on are asked for by 01 03 05 00 14, which could be the answer: three bytes of coils."""
    _, url = await start(scheme, lambda request, send: send(request))
    driver = make_driver({"url": url, "timeout": "100ms", "points": registers(*range(773, 793), table="coil")})
    async with driver.connect() as session:
        with pytest.raises(BadResponse, match="bytes that are none"):
            await session.read(driver.groups[0])


MISBEHAVIOURS: dict[str, tuple[Callable[[Callable[[int, bytes], bytes]], bytes], Reason, str]] = {
    "nothing": (lambda f: b"", Reason.TIMEOUT, "no answer within"),
    "noise": (lambda f: bytes(range(0x90, 0xA0)), Reason.BAD_RESPONSE, "16 bytes that are none: 90 91"),
    "half a frame": (lambda f: f(1, b"\3\2\0\7")[:-2], Reason.BAD_RESPONSE, "bytes that are none"),
    "another unit": (lambda f: f(4, b"\3\2\0\7"), Reason.BAD_RESPONSE, "bytes that are none"),
    "another function": (lambda f: f(1, b"\4\2\0\7"), Reason.BAD_RESPONSE, "bytes that are none"),
    "another byte count": (lambda f: f(1, b"\3\4\0\7\0\7"), Reason.BAD_RESPONSE, "announces 4 bytes where 2 were"),
    "busy": (lambda f: f(1, b"\x83\6"), Reason.DEVICE_ERROR, "exception 06 (server device busy)"),
}


@pytest.mark.parametrize("scheme", WITHOUT_TRANSACTIONS)
@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
async def test_misbehaviour_is_a_bad_response_that_says_what_came(
    misbehaviour: str, scheme: str, start: Any, framed: Any, make_driver: Any
) -> None:
    build, reason, text = MISBEHAVIOURS[misbehaviour]
    _, url = await start(scheme, lambda request, send: send(build(lambda unit, pdu: framed(scheme, unit, pdu))))
    driver = make_driver({"url": url, "timeout": "100ms", "points": [SPEED]})
    async with driver.connect() as session:
        with pytest.raises(BadResponse) as error:
            await session.read(driver.groups[0])
    assert error.value.reason is reason
    assert text in error.value.message
    assert error.value.hint


ASCII_GARBAGE = {
    "no hexadecimal unit": b":XY03020007F3\r\n",
    "a false checksum": b":0103020007F4\r\n",
    "a checksum with a sign": b":010302FEFB+1\r\n",
    "an odd number of digits": b":0103020007F\r\n",
    "spaces": b":01 03 02 00 07 F3\r\n",
    "no unit": b":\r\n",
    "only a checksum": b":00\r\n",
    "letters beyond F": b":0103020007FG\r\n",
    "no line feed": b":0103020007F3\r",
    "no colon": b"0103020007F3\r\n",
    "bytes that are no text": b":\xb2\xb9\xb2\r\n",
}


@pytest.mark.parametrize("garbage", ASCII_GARBAGE)
async def test_what_is_no_ascii_frame_is_never_a_value_and_the_next_frame_is_one(
    garbage: str, serial_line: Any, make_driver: Any
) -> None:
    line = serial_line(lambda request, send: send(ASCII_GARBAGE[garbage]))
    device = {"url": line.url_of("ascii"), "timeout": "300ms", "points": [SPEED]}
    driver = make_driver(device)
    async with driver.connect() as session:
        with pytest.raises(BadResponse) as error:
            await session.read(driver.groups[0])
    assert error.value.reason is Reason.BAD_RESPONSE
    driver = make_driver(device)  # which does not know that the unit owes an answer
    line.answer = lambda request, send: send(ASCII_GARBAGE[garbage] + b":0103020007F3\r\n")
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (7,)


async def test_a_frame_that_was_cut_off_is_dropped_for_the_one_after_it(serial_line: Any, make_driver: Any) -> None:
    line = serial_line(lambda request, send: send(b":0103020009:0103020007F3\r\n"))
    driver = make_driver({"url": line.url_of("ascii"), "points": [SPEED]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (7,)


async def test_a_longest_answer_comes_in_pieces_and_behind_noise(
    serial_line: Any, ascii_frame: Any, make_driver: Any
) -> None:
    words = list(range(125))
    frame = b"\x7f" * 40 + ascii_frame(1, bytes([3, 250]) + b"".join(word.to_bytes(2, "big") for word in words))

    def answer(request: bytes, send: Callable[[bytes], None]) -> None:
        for start in range(0, len(frame), 100):
            asyncio.get_running_loop().call_soon(send, frame[start : start + 100])

    line = serial_line(answer)
    points = [{"name": f"p{n}", "address": f"holding:{n}", "type": "uint16"} for n in words]
    driver = make_driver({"url": line.url_of("ascii"), "points": points})
    async with driver.connect() as session:
        assert list((await session.read(driver.groups[0])).values) == words


@pytest.mark.parametrize("scheme", ["rtu+tcp", "ascii+tcp"])
async def test_a_terminal_server_that_hangs_up_is_unavailable_at_once(
    scheme: str, scripted: Any, make_driver: Any
) -> None:
    server = await scripted(lambda request, send: server.transport.close())
    driver = make_driver({"url": server.url_of(scheme), "timeout": "1h", "points": [SPEED]})
    async with asyncio.timeout(10), driver.connect() as session:
        for _ in range(2):
            with pytest.raises(DeviceUnavailable, match="the other end closed the connection"):
                await session.read(driver.groups[0])

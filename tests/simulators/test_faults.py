"""Every fault as a client meets it, put on and taken off over the control port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from simulators.faults import Fault, FaultKind
from simulators.framing import rtu_frame
from simulators.modbus import Registers, RegisterTable
from simulators.modbus_tcp import ModbusTcpEndpoint
from simulators.modbus_units import Unit, spoil
from simulators.running import Running

Address = Callable[[str], tuple[str, int]]
Ask = Callable[..., Any]
Line = Callable[..., Any]
Until = Callable[..., Any]
Post = Callable[..., Any]

LENGTH_AND_SPEED = bytes.fromhex("0001 0000 0006 01 03 006C 0002")
ANSWER = bytes.fromhex("0001 0000 0007 01 03 04 0BB8 03E8")
LINE_REQUEST = "01 03 006C 0001 4417"
LINE_ANSWER = bytes.fromhex("01 03 02 0BB8 BF06")
QUIET_S = 0.3
"""How long nothing must come for it to count as silence."""


async def impose(post: Post, **command: Any) -> None:
    status, answer = await post("/faults", command)
    assert status == 200, answer


async def silence(waiting: Any) -> bool:
    try:
        async with asyncio.timeout(QUIET_S):
            await waiting
    except TimeoutError:
        return True
    return False


@pytest.fixture
async def _works_again(post: Post, ask: Ask) -> Any:
    """After the test: taking the fault off cures the endpoint."""
    yield
    await impose(post, endpoint="plc-1", fault="none")
    assert await ask(LENGTH_AND_SPEED, expect=len(ANSWER)) == ANSWER


@pytest.mark.usefixtures("_works_again")
class TestOverTcp:
    async def test_refuse_closes_connections_and_refuses_new_ones(self, post: Post, ask: Ask, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address("plc-1"))
        await impose(post, endpoint="plc-1", fault="refuse")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await ask(LENGTH_AND_SPEED)

    async def test_reset_drops_connections_that_are_open_and_those_that_ask(
        self, post: Post, ask: Ask, address: Address
    ) -> None:
        reader, writer = await asyncio.open_connection(*address("plc-1"))
        await impose(post, endpoint="plc-1", fault="reset")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionResetError):
            await ask(LENGTH_AND_SPEED)

    async def test_hang_accepts_and_never_answers(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="hang")
        assert await silence(ask(LENGTH_AND_SPEED))

    async def test_garble_answers_random_bytes_of_the_same_length(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="garble")
        first = await ask(LENGTH_AND_SPEED, expect=len(ANSWER))
        second = await ask(LENGTH_AND_SPEED, expect=len(ANSWER))
        assert len({first, second, ANSWER}) == 3

    async def test_half_frame_answers_the_first_half_and_no_more(self, post: Post, ask: Ask, address: Address) -> None:
        await impose(post, endpoint="plc-1", fault="half-frame")
        reader, writer = await asyncio.open_connection(*address("plc-1"))
        writer.write(LENGTH_AND_SPEED)
        assert await reader.readexactly(len(ANSWER) // 2) == ANSWER[: len(ANSWER) // 2]
        assert await silence(reader.read(1))
        writer.close()

    async def test_wrong_unit_answers_with_another_units_id(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="wrong-unit")
        assert await ask(LENGTH_AND_SPEED, expect=len(ANSWER)) == ANSWER[:6] + b"\x02" + ANSWER[7:]

    async def test_slow_answers_late_and_right(self, post: Post, ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        await impose(post, endpoint="plc-1", fault="slow", delay_ms=200)
        asked_at = loop.time()
        assert await ask(LENGTH_AND_SPEED, expect=len(ANSWER)) == ANSWER
        assert loop.time() - asked_at >= 0.2

    async def test_exception_answers_with_the_code(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="exception", code=6)
        assert await ask(LENGTH_AND_SPEED, expect=9) == bytes.fromhex("0001 0000 0003 01 83 06")

    async def test_wrong_length_answers_one_register_too_few(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="wrong-length")
        assert await ask(LENGTH_AND_SPEED, expect=11) == bytes.fromhex("0001 0000 0005 01 03 02 0BB8")

    async def test_restart_drops_connections_and_forgets_counters_and_works_at_once(
        self, running: Running, post: Post, ask: Ask, address: Address, until: Until
    ) -> None:
        belt = running.twin.conveyors["first"]
        await until(lambda: belt.counters.arrivals > 0)
        reader, writer = await asyncio.open_connection(*address("plc-1"))
        belt.run = False  # so that nothing can arrive between the restart and the question
        await impose(post, endpoint="plc-1", fault="restart")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        answer = await ask(bytes.fromhex("0001 0000 0006 01 04 0008 0002"), expect=13)
        assert answer[-4:] == bytes(4)

    async def test_a_device_that_restarts_for_a_while_refuses_until_then(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="restart", for_s=0.3)
        with pytest.raises(ConnectionRefusedError):
            await ask(LENGTH_AND_SPEED)

    async def test_a_fault_for_a_while_ends_by_itself(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="refuse", for_s=0.2)
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await ask(LENGTH_AND_SPEED, expect=len(ANSWER)) == ANSWER
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                else:
                    return

    async def test_a_new_fault_takes_the_place_of_the_one_before(self, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="refuse", for_s=60)
        await impose(post, endpoint="plc-1", fault="exception", code=4)
        assert await ask(LENGTH_AND_SPEED, expect=9) == bytes.fromhex("0001 0000 0003 01 83 04")

    async def test_a_hanging_device_does_not_act_on_a_write(self, running: Running, post: Post, ask: Ask) -> None:
        await impose(post, endpoint="plc-1", fault="hang")
        assert await silence(ask(bytes.fromhex("0001 0000 0006 01 06 0001 0001")))
        assert running.twin.conveyors["first"].setpoint_mm_s == 1000


async def test_a_fault_on_one_unit_leaves_its_neighbour_on_the_line_alone(post: Post, line: Line) -> None:
    await impose(post, endpoint="line-1", unit=2, fault="hang")
    assert await line("02 03 006C 0001 4424", LINE_REQUEST) == LINE_ANSWER
    await impose(post, endpoint="line-1", unit=1, fault="hang")
    assert await silence(line(LINE_REQUEST))


async def test_a_device_is_found_by_its_name(post: Post, line: Line) -> None:
    await impose(post, device="third", fault="exception", code=4)
    assert (await line(LINE_REQUEST))[:3] == bytes.fromhex("01 83 04")


async def test_wrong_unit_on_the_line_has_a_right_crc(post: Post, line: Line) -> None:
    await impose(post, endpoint="line-1", fault="wrong-unit")
    answer = await line(LINE_REQUEST)
    assert answer == rtu_frame(2, LINE_ANSWER[1:-2])


async def test_a_wrong_checksum_on_the_line_spoils_the_crc_only(post: Post, line: Line) -> None:
    await impose(post, endpoint="line-1", fault="wrong-checksum")
    answer = await line(LINE_REQUEST)
    assert answer[:-2] == LINE_ANSWER[:-2]
    assert answer != LINE_ANSWER


async def test_slow_on_the_line_answers_late_and_right(post: Post, line: Line) -> None:
    await impose(post, endpoint="line-1", fault="slow", delay_ms=200)
    assert await line(LINE_REQUEST) == LINE_ANSWER


async def test_a_restart_of_one_unit_forgets_only_its_counters(running: Running, post: Post, until: Until) -> None:
    conveyors = running.twin.conveyors
    await until(lambda: conveyors["fourth"].counters.arrivals > 0)
    conveyors["second"].run = False
    await impose(post, endpoint="plc-2", unit=1, fault="restart")
    assert conveyors["second"].counters.arrivals == 0
    assert conveyors["fourth"].counters.arrivals > 0


@pytest.mark.parametrize(
    ("response", "spoilt"),
    [
        ("03 02 0064", "03 04 0064 0000"),
        ("03 04 0064 0065", "03 02 0064"),
        ("01 02 FF01", "01 01 FF"),
        ("01 01 01", "01 03 01 0000"),
        ("06 0001 01F4", "06 0001 01"),
        ("83 02", "83"),
    ],
)
def test_wrong_length_is_a_frame_that_agrees_with_itself(response: str, spoilt: str) -> None:
    answer = spoil(Fault(FaultKind.WRONG_LENGTH), 1, bytes.fromhex(response), frame=rtu_frame, random=Random(1))
    assert answer.frame == rtu_frame(1, bytes.fromhex(spoilt))


async def test_a_client_that_never_reads_its_answers_is_not_served_without_end(until: Until) -> None:
    table = RegisterTable(holding=Registers([range(125)]))
    endpoint = ModbusTcpEndpoint("flood", {1: Unit("flood", table)}, host="127.0.0.1", port=0, random=Random(1))
    request = bytes.fromhex("0001 0000 0006 01 03 0000 007D")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        await endpoint.open(group)
        host, port = endpoint.url.removeprefix("tcp://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(request * 300_000)  # 78 MB of answers
        await until(lambda: bool(endpoint.clients))
        (connection,) = endpoint.clients
        await until(lambda: not connection.transport.is_reading())
        assert connection.transport.get_write_buffer_size() < 10_000_000
        writer.transport.abort()
        await endpoint.close()

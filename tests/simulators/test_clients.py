"""The servers as independent clients see them: libmodbus (mbpoll), pymodbus, and bare sockets and terminals."""

from __future__ import annotations

import asyncio
import re
import shutil
import struct
from collections.abc import Callable
from typing import Any

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from simulators.running import Running

Address = Callable[[str], tuple[str, int]]
Ask = Callable[..., Any]
Line = Callable[..., Any]

needs_mbpoll = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")


async def mbpoll(*arguments: str) -> tuple[int, str]:
    """Exit code and everything it printed."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def values(output: str) -> list[str]:
    return re.findall(r"^\[\d+\]:\s+(\S+)", output, re.MULTILINE)


@needs_mbpoll
async def test_mbpoll_writes_and_reads_back_a_setpoint_over_tcp(running: Running, address: Address) -> None:
    host, port = address("plc-1")
    code, output = await mbpoll("-a", "1", "-t", "4", "-r", "1", "-p", str(port), host, "640")
    assert code == 0, output
    code, output = await mbpoll("-a", "1", "-t", "4", "-r", "1", "-c", "1", "-p", str(port), host)
    assert (code, values(output)) == (0, ["640"])
    assert running.twin.conveyors["first"].setpoint_mm_s == 640


@needs_mbpoll
async def test_mbpoll_reads_the_motor_current_as_a_float_with_the_low_word_first(address: Address) -> None:
    host, port = address("plc-1")
    code, output = await mbpoll("-a", "1", "-t", "3:float", "-r", "4", "-c", "1", "-p", str(port), host)
    assert code == 0, output
    assert 0 <= float(values(output)[0]) < 10


@needs_mbpoll
async def test_mbpoll_stops_a_belt_by_its_coil(running: Running, address: Address) -> None:
    host, port = address("plc-2")
    code, output = await mbpoll("-a", "7", "-t", "0", "-r", "0", "-p", str(port), host, "0")
    assert code == 0, output
    assert not running.twin.conveyors["first"].run


@needs_mbpoll
async def test_mbpoll_understands_the_exception_for_a_missing_register(address: Address) -> None:
    host, port = address("plc-1")
    _, output = await mbpoll("-a", "1", "-t", "4", "-r", "20", "-c", "1", "-p", str(port), host)
    assert "Illegal data address" in output


@needs_mbpoll
async def test_mbpoll_reads_two_units_on_one_serial_line_closing_it_in_between(terminal: str) -> None:
    third, fourth = ["0x7468", "0x6972", "0x6400"], ["0x666F", "0x7572", "0x7468"]
    for unit, name in (("1", third), ("2", fourth), ("1", third)):
        code, output = await mbpoll(
            *("-m", "rtu", "-b", "115200", "-a", unit, "-t", "4:hex", "-r", "100", "-c", "3"), terminal
        )
        assert (code, values(output)) == (0, name), output


@needs_mbpoll
async def test_mbpoll_hears_nothing_from_a_unit_that_is_not_on_the_line(terminal: str) -> None:
    _, output = await mbpoll("-m", "rtu", "-b", "115200", "-a", "9", "-o", "0.2", "-t", "4", "-r", "0", terminal)
    assert "timed out" in output
    assert values(output) == []


async def test_pymodbus_reads_every_table_over_tcp(address: Address) -> None:
    host, port = address("plc-1")
    async with AsyncModbusTcpClient(host, port=port, timeout=3, retries=0, reconnect_delay=0) as client:
        holding = await client.read_holding_registers(100, count=10, device_id=1)
        name = struct.pack(">8H", *holding.registers[:8]).rstrip(b"\0")
        assert (name, holding.registers[8:]) == (b"first", [3000, 1000])
        assert len((await client.read_input_registers(0, count=22, device_id=1)).registers) == 22
        assert (await client.read_coils(0, count=1, device_id=1)).bits[0]
        assert len((await client.read_discrete_inputs(0, count=5, device_id=1)).bits) >= 5


async def test_pymodbus_writes_several_registers_and_coils(running: Running, address: Address) -> None:
    host, port = address("plc-1")
    async with AsyncModbusTcpClient(host, port=port, timeout=3, retries=0, reconnect_delay=0) as client:
        assert not (await client.write_registers(1, [700], device_id=1)).isError()
        assert not (await client.write_coils(0, [False], device_id=1)).isError()
        assert (await client.write_register(0, 1, device_id=1)).exception_code == 2
    assert running.twin.conveyors["first"].setpoint_mm_s == 700
    assert not running.twin.conveyors["first"].run


async def test_pymodbus_reads_two_units_on_one_serial_line(terminal: str) -> None:
    async with AsyncModbusSerialClient(terminal, baudrate=115200, timeout=3, retries=0, reconnect_delay=0) as client:
        for unit, name in ((1, b"third"), (2, b"fourth")):
            answer = await client.read_holding_registers(100, count=8, device_id=unit)
            assert struct.pack(">8H", *answer.registers).rstrip(b"\0") == name


async def test_many_clients_are_answered_at_the_same_time(ask: Ask) -> None:
    request = bytes.fromhex("0001 0000 0006 01 03 0064 0002")
    answers = await asyncio.gather(*(ask(request, expect=13) for _ in range(50)))
    assert set(answers) == {bytes.fromhex("0001 0000 0007 01 03 04") + b"firs"}


async def test_pipelined_requests_are_answered_in_order(ask: Ask) -> None:
    requests = b"".join(bytes.fromhex(f"{number:04X} 0000 0006 01 03 006C 0001") for number in range(1, 51))
    answers = await ask(requests, expect=50 * 11)
    expected = b"".join(bytes.fromhex(f"{number:04X} 0000 0005 01 03 02 0BB8") for number in range(1, 51))
    assert answers == expected


@pytest.mark.parametrize("unit", ["00", "FF"])
async def test_a_lone_device_answers_to_unit_0_and_255_too(ask: Ask, unit: str) -> None:
    answer = await ask(bytes.fromhex(f"0001 0000 0006 {unit} 03 006C 0001"), expect=11)
    assert answer == bytes.fromhex(f"0001 0000 0005 {unit} 03 02 0BB8")


async def test_a_gateway_answers_exception_0b_for_a_unit_that_it_does_not_have(ask: Ask) -> None:
    answer = await ask(bytes.fromhex("0001 0000 0006 09 03 0000 0001"), expect=9, endpoint="plc-2")
    assert answer == bytes.fromhex("0001 0000 0003 09 83 0B")


async def test_what_is_not_modbus_ends_the_connection_and_disturbs_nobody(ask: Ask) -> None:
    assert await ask(b"GET / HTTP/1.1\r\n\r\n") == b""
    assert len(await ask(bytes.fromhex("0001 0000 0006 01 03 0000 0001"), expect=11)) == 11


async def test_a_broadcast_on_the_line_commands_every_unit_and_gets_no_answer(running: Running, line: Line) -> None:
    # function 6, register 1, value 500 to unit 0; then unit 1 is asked for the same register
    assert await line("00 06 0001 01F4 D9CC", "01 03 0001 0001 D5CA") == bytes.fromhex("01 03 02 01F4 B853")
    assert running.twin.conveyors["third"].setpoint_mm_s == 500
    assert running.twin.conveyors["fourth"].setpoint_mm_s == 500


async def test_a_request_with_a_wrong_crc_gets_no_answer_and_the_next_one_does(line: Line) -> None:
    wrong = "01 03 0001 0001 D5CB"
    assert await line(wrong, "01 03 006C 0001 4417") == bytes.fromhex("01 03 02 0BB8 BF06")

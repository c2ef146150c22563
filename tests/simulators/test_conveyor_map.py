"""The register table of a conveyor, decoded here by hand from the table in its documentation."""

from __future__ import annotations

import struct

import pytest

from simulators.conveyor import Conveyor, ConveyorSpec
from simulators.conveyor_map import conveyor_table, show
from simulators.hub import Hub, HubSpec, LineSpec
from simulators.modbus import RegisterTable, respond


@pytest.fixture
def conveyor() -> Conveyor:
    line = LineSpec("line", [ConveyorSpec("infeed", 3.0, 800), ConveyorSpec("next", 3.0, 800)])
    hub = Hub(HubSpec([line]), seed=4)
    belt = hub.conveyors["infeed"]
    hub.step(60.0)
    belt.jam()
    while not belt.jammed:
        hub.step(0.05)
    return belt


@pytest.fixture
def table(conveyor: Conveyor) -> RegisterTable:
    made = conveyor_table(conveyor)
    show(conveyor, made)
    return made


def registers(table: RegisterTable, function: int, address: int, count: int) -> bytes:
    answer = respond(table, struct.pack(">BHH", function, address, count))
    assert answer[0] == function, answer.hex(" ")
    return answer[2:]


def swapped(four: bytes) -> bytes:
    return four[2:] + four[:2]


def test_input_registers_show_what_the_belt_does(conveyor: Conveyor, table: RegisterTable) -> None:
    data = registers(table, 4, 0, 22)
    assert struct.unpack(">HH", data[0:4]) == (round(conveyor.speed_m_s * 1000), len(conveyor.parcels))
    assert struct.unpack(">f", data[4:8])[0] == pytest.approx(conveyor.load_kg)
    assert struct.unpack(">f", swapped(data[8:12]))[0] == pytest.approx(conveyor.current_a)
    assert struct.unpack(">h", data[12:14])[0] == round(conveyor.temperature_c * 10)
    counters = conveyor.counters
    assert struct.unpack(">ii", data[16:24]) == (counters.arrivals, counters.departures)
    assert struct.unpack(">i", swapped(data[24:28])) == (1,)
    assert struct.unpack(">qQ", data[28:44]) == (counters.mass_g, round(counters.distance_m * 1000))


def test_holding_registers_show_setpoint_status_and_counters(conveyor: Conveyor, table: RegisterTable) -> None:
    data = registers(table, 3, 0, 20)
    assert struct.unpack(">HH", data[0:4]) == (round(conveyor.speed_m_s * 1000), 800)
    status = struct.unpack(">H", data[24:26])[0]
    assert status & 0b1001, "running and jammed"
    assert bool(status & 1 << 5) == conveyor.entry_blocked
    assert bool(status & 1 << 6) == conveyor.exit_blocked
    assert struct.unpack(">I", data[28:32])[0] == conveyor.counters.arrivals
    assert struct.unpack(">I", swapped(data[32:36]))[0] == conveyor.counters.departures
    assert struct.unpack(">H", data[36:38])[0] == 1


def test_identity_registers_tell_who_it_is(table: RegisterTable) -> None:
    data = registers(table, 3, 100, 10)
    assert data[:16].rstrip(b"\0") == b"infeed"
    assert struct.unpack(">HH", data[16:]) == (3000, 800)


def test_discrete_inputs_show_the_eyes_and_the_jam(conveyor: Conveyor, table: RegisterTable) -> None:
    bits = registers(table, 2, 0, 5)[0]
    shown = [bool(bits >> index & 1) for index in range(5)]
    assert shown == [
        conveyor.entry_blocked,
        conveyor.exit_blocked,
        conveyor.jammed,
        conveyor.tripped,
        conveyor.accumulating,
    ]
    assert shown[1]
    assert shown[2]


def test_the_run_coil_and_the_setpoint_command_the_belt(conveyor: Conveyor, table: RegisterTable) -> None:
    respond(table, bytes.fromhex("05 0000 0000"))
    respond(table, bytes.fromhex("06 0001 01F4"))
    assert not conveyor.run
    assert conveyor.setpoint_mm_s == 500
    assert registers(table, 3, 1, 1) == bytes.fromhex("01F4")


def test_a_setpoint_above_the_fastest_is_exception_03(conveyor: Conveyor, table: RegisterTable) -> None:
    assert respond(table, bytes.fromhex("06 0001 09C5")) == bytes.fromhex("86 03")
    assert conveyor.setpoint_mm_s == 800


def test_starting_a_tripped_drive_is_exception_04(conveyor: Conveyor, table: RegisterTable) -> None:
    conveyor.tripped = True
    assert respond(table, bytes.fromhex("05 0000 FF00")) == bytes.fromhex("85 04")


def test_registers_20_to_99_do_not_exist(table: RegisterTable) -> None:
    assert respond(table, bytes.fromhex("03 0013 0002")) == bytes.fromhex("83 02")
    assert respond(table, bytes.fromhex("03 0014 0001")) == bytes.fromhex("83 02")

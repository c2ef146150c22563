"""Bytes from the examples of the Modbus Application Protocol Specification V1.1b3, section 6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.modbus import (
    Area,
    Bits,
    ExceptionCode,
    ModbusError,
    Registers,
    RegisterTable,
    Write,
    exception_response,
    respond,
)


def ask(table: RegisterTable, request: str) -> str:
    return respond(table, bytes.fromhex(request)).hex(" ").upper()


def table() -> RegisterTable:
    everything = [range(2000)]
    return RegisterTable(
        coils=Bits(everything, writable=everything),
        discrete=Bits(everything),
        holding=Registers(everything, writable=everything),
        inputs=Registers(everything),
    )


def test_read_coils_20_to_38_as_in_section_6_1() -> None:
    device = table()
    device.coils.write(19, 19, int.from_bytes(bytes.fromhex("CD6B05"), "little"))
    assert ask(device, "01 00 13 00 13") == "01 03 CD 6B 05"


def test_read_discrete_inputs_197_to_218_as_in_section_6_2() -> None:
    device = table()
    device.discrete.write(196, 22, int.from_bytes(bytes.fromhex("ACDB35"), "little"))
    assert ask(device, "02 00 C4 00 16") == "02 03 AC DB 35"


def test_read_holding_registers_108_to_110_as_in_section_6_3() -> None:
    device = table()
    device.holding.write(107, bytes.fromhex("022B 0000 0064"))
    assert ask(device, "03 00 6B 00 03") == "03 06 02 2B 00 00 00 64"


def test_read_input_register_9_as_in_section_6_4() -> None:
    device = table()
    device.inputs.write(8, bytes.fromhex("000A"))
    assert ask(device, "04 00 08 00 01") == "04 02 00 0A"


def test_write_single_coil_173_as_in_section_6_5() -> None:
    device = table()
    assert ask(device, "05 00 AC FF 00") == "05 00 AC FF 00"
    assert ask(device, "01 00 AC 00 01") == "01 01 01"
    assert ask(device, "05 00 AC 00 00") == "05 00 AC 00 00"
    assert ask(device, "01 00 AC 00 01") == "01 01 00"


def test_write_single_register_2_as_in_section_6_6() -> None:
    device = table()
    assert ask(device, "06 00 01 00 03") == "06 00 01 00 03"
    assert ask(device, "03 00 01 00 01") == "03 02 00 03"


def test_write_ten_coils_from_20_as_in_section_6_11() -> None:
    device = table()
    assert ask(device, "0F 00 13 00 0A 02 CD 01") == "0F 00 13 00 0A"
    assert ask(device, "01 00 13 00 0A") == "01 02 CD 01"


def test_write_two_registers_from_2_as_in_section_6_12() -> None:
    device = table()
    assert ask(device, "10 00 01 00 02 04 00 0A 01 02") == "10 00 01 00 02"
    assert ask(device, "03 00 01 00 02") == "03 04 00 0A 01 02"


def test_exception_response_sets_the_highest_bit_as_in_section_7() -> None:
    device = RegisterTable(coils=Bits([range(100)]))
    assert ask(device, "01 04 A1 00 01") == "81 02"


def test_unknown_function_code_is_exception_01() -> None:
    assert ask(table(), "2B 0E 01 00") == "AB 01"


@pytest.mark.parametrize(
    "request_pdu",
    [
        "01 00 00 00 00",  # quantity 0
        "01 00 00 07 D1",  # 2001 coils
        "03 00 00 00 00",
        "03 00 00 00 7E",  # 126 registers
        "04 00 00 00 7E",
        "03 00 00 00",  # cut
        "03 00 00 00 01 00",  # too long
        "05 00 00 12 34",  # neither on nor off
        "0F 00 00 07 B1 F7",  # 1969 coils
        "0F 00 00 00 0A 01 CD",  # one byte for ten coils
        "10 00 00 00 02 04 00 0A",  # two of four bytes
        "10 00 00 00 7C F8" + "00" * 248,  # 124 registers
        "10 00 00 00",
    ],
)
def test_wrong_quantities_and_lengths_are_exception_03(request_pdu: str) -> None:
    function = int(request_pdu[:2], 16)
    assert ask(table(), request_pdu) == f"{function | 0x80:02X} 03"


def test_largest_reads_fit_into_a_frame() -> None:
    assert len(respond(table(), bytes.fromhex("03 00 00 00 7D"))) == 252
    assert len(respond(table(), bytes.fromhex("01 00 00 07 D0"))) == 252


@pytest.mark.parametrize("request_pdu", ["03 07 CF 00 02", "04 FF FF 00 01", "06 07 D0 00 00", "05 FF FF 00 00"])
def test_addresses_outside_of_the_table_are_exception_02(request_pdu: str) -> None:
    assert ask(table(), request_pdu).endswith(" 02")


def test_a_request_across_a_hole_is_exception_02_and_on_either_side_is_not() -> None:
    device = RegisterTable(holding=Registers([range(10), range(20, 30)]))
    assert ask(device, "03 00 08 00 0E") == "83 02"
    assert ask(device, "03 00 08 00 02") == "03 04 00 00 00 00"
    assert ask(device, "03 00 14 00 01") == "03 02 00 00"


def test_a_read_only_register_refuses_a_write_with_exception_02_and_keeps_its_value() -> None:
    device = RegisterTable(holding=Registers([range(10)], writable=[range(1, 2)]))
    assert ask(device, "06 00 00 00 63") == "86 02"
    assert ask(device, "03 00 00 00 01") == "03 02 00 00"


def test_a_device_sees_a_write_before_it_is_stored_and_can_refuse_it() -> None:
    seen = []

    def refuse(write: Write) -> None:
        seen.append(write)
        raise ModbusError(ExceptionCode.SERVER_DEVICE_BUSY)

    device = RegisterTable(holding=Registers([range(4)], writable=[range(4)]), on_write=refuse)
    assert ask(device, "10 00 01 00 02 04 00 0A 01 02") == "90 06"
    assert seen == [Write(Area.HOLDING, 1, (10, 258))]
    assert ask(device, "03 00 01 00 02") == "03 04 00 00 00 00"


@given(st.binary(min_size=1, max_size=253))
def test_any_pdu_gets_an_answer_that_fits_into_a_frame(pdu: bytes) -> None:
    answer = respond(table(), pdu)
    assert answer[0] in {pdu[0], pdu[0] | 0x80}
    assert 2 <= len(answer) <= 253


@given(st.integers(0, 1990), st.lists(st.booleans(), min_size=1, max_size=10))
def test_coils_read_back_as_written(address: int, states: list[bool]) -> None:
    device = table()
    bits = sum(state << index for index, state in enumerate(states))
    data = bits.to_bytes((len(states) + 7) // 8, "little")
    head = address.to_bytes(2, "big") + len(states).to_bytes(2, "big")
    assert respond(device, b"\x0f" + head + bytes((len(data),)) + data) == b"\x0f" + head
    assert respond(device, b"\x01" + head) == bytes((1, len(data))) + data


def test_exception_response_is_two_bytes() -> None:
    assert exception_response(3, 0x0B) == bytes.fromhex("83 0B")

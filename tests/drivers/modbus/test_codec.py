"""Bytes and values. The worked bytes are those of the standards and manuals named beside them."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.modbus.codec import compile_decoder, payload, size_bytes
from drivers.modbus.plan import Block, Limits, plan
from drivers.modbus.point import ModbusPoint, Order, parse_address, parse_type
from drivers.modbus.shortest import shortest
from drivers.model import Reason, Value

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def make(address: str, kind: str, **keys: Any) -> ModbusPoint:
    return ModbusPoint(name=address, address=parse_address(address), type=parse_type(kind), **keys)


def block_of(*points: ModbusPoint) -> Block:
    (block,) = plan(points, Limits())
    return block


def value(kind: str, data: bytes, **keys: Any) -> Value:
    (only,), bad = compile_decoder(block_of(make("holding:0", kind, **keys)))(data)
    assert not bad
    return only


# 123456789 = 0x075BCD15 in each of the orders that devices use; Modbus itself defines none for 32 bits.
ORDERS = [
    ("ABCD", "07 5B CD 15"),
    ("CDAB", "CD 15 07 5B"),
    ("BADC", "5B 07 15 CD"),
    ("DCBA", "15 CD 5B 07"),
]


@pytest.mark.parametrize(("order", "data"), ORDERS)
def test_32_bits_are_read_in_every_order(order: str, data: str) -> None:
    assert value("int32", bytes.fromhex(data), order=Order(order)) == 123456789


@pytest.mark.parametrize(
    ("order", "data"),
    [
        ("ABCD", "01 23 45 67 89 AB CD EF"),
        ("DCBA", "EF CD AB 89 67 45 23 01"),
        ("BADC", "23 01 67 45 AB 89 EF CD"),
        ("CDAB", "CD EF 89 AB 45 67 01 23"),
    ],
)
def test_64_bits_are_read_in_every_order(order: str, data: str) -> None:
    assert value("uint64", bytes.fromhex(data), order=Order(order)) == 0x0123456789ABCDEF


def test_a_float_of_12_34_reads_12_34_and_not_its_binary_expansion() -> None:
    assert value("float32", bytes.fromhex("41 45 70 A4")) == 12.34
    assert value("float32", bytes.fromhex("70 A4 41 45"), order=Order.CDAB) == 12.34


def test_the_example_of_the_standard_reads_its_registers() -> None:
    """Modbus Application Protocol V1.1b3, 6.3: registers 108 to 110 answer 02 2B 00 00 00 64."""
    points = [make(f"holding:{107 + n}", "uint16") for n in range(3)]
    assert compile_decoder(block_of(*points))(bytes.fromhex("02 2B 00 00 00 64"))[0] == (555, 0, 100)


def test_the_coils_of_the_standard_come_lowest_bit_first() -> None:
    """V1.1b3, 6.1: coils 20 to 38 answer CD 6B 05."""
    points = [make(f"coil:{19 + n}", "bool") for n in range(19)]
    values, _ = compile_decoder(block_of(*points))(bytes.fromhex("CD 6B 05"))
    assert values == tuple(digit == "1" for digit in "1011001111010110101")


def test_a_status_word_gives_its_bits() -> None:
    """ABB Drives profile, status word 0x0337: ready to switch on, running enabled, not tripped, at setpoint, remote."""
    points = [make(f"holding:50.{bit}", "bool") for bit in (0, 2, 3, 8, 9, 15)]
    values, _ = compile_decoder(block_of(*points, make("holding:51", "int16", scale=0.005)))(bytes.fromhex("03372710"))
    assert values == (True, True, False, True, True, False, 50.0)


@pytest.mark.parametrize(
    ("kind", "data", "keys", "expected"),
    [
        ("uint16", "058C", {"scale": 0.001}, 1.42),
        ("int16", "FFFF", {"scale": 0.1}, -0.1),
        ("int16", "FFFF", {"scale": 2, "offset": 5}, 3),
        ("uint16", "0003", {"scale": 0.1}, 0.3),
        ("uint16", "0001", {"scale": 0.1, "offset": 0.2}, 0.3),
        ("uint64", "FFFFFFFFFFFFFFFF", {}, 2**64 - 1),
        ("uint64", "FFFFFFFFFFFFFFFF", {"scale": 10}, 1.8446744073709552e20),
        ("bcd16", "1234", {}, 1234),
        ("bcd32", "12345678", {"scale": 0.01}, 123456.78),
        ("float32", "414570A4", {"scale": 0.1}, 1.234),
        ("float64", "3FB999999999999A", {"scale": 3}, 0.3),
        ("float32", "3F000000", {"offset": 1e9}, 1000000000.5),
        ("float32", "4B7FFFFF", {"scale": 10, "offset": 5}, 167772155.0),
        ("float32", "3DCCCCCD", {"scale": 1e30, "offset": 1}, 1e29),
        ("float64", "433FFFFFFFFFFFFF", {"scale": 10}, 90071992547409910.0),
        ("string(6)", "50432D310000", {}, "PC-1"),
        ("string(5)", "414243202000", {}, "ABC"),
        ("string(4)", "4142FF01", {}, "ABÿ\ufffd"),
        ("string(4)", "42410044", {"order": Order.BADC}, "ABD"),
    ],
)
def test_a_value_is_what_a_person_would_have_written(
    kind: str, data: str, keys: dict[str, Any], expected: Value
) -> None:
    found = value(kind, bytes.fromhex(data), **keys)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "data", "keys", "reason"),
    [
        ("float32", "7FC00000", {}, Reason.NOT_A_NUMBER),
        ("float32", "FF800000", {"scale": 2}, Reason.NOT_A_NUMBER),
        ("float64", "7FF0000000000000", {}, Reason.NOT_A_NUMBER),
        ("float64", "7FEFFFFFFFFFFFFF", {"scale": 10}, Reason.OUT_OF_RANGE),
        ("bcd16", "12A4", {}, Reason.OUT_OF_RANGE),
    ],
)
def test_what_is_no_number_is_bad_and_has_no_value(kind: str, data: str, keys: dict[str, Any], reason: Reason) -> None:
    decoded = compile_decoder(block_of(make("holding:0", kind, **keys)))(bytes.fromhex(data))
    assert decoded == ((None,), {0: reason})


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=125), st.randoms(use_true_random=False))
def test_registers_come_in_the_order_of_the_points(words: list[int], random: Any) -> None:
    addresses = list(range(len(words)))
    random.shuffle(addresses)
    block = block_of(*(make(f"holding:{address}", "uint16") for address in addresses))
    values, _ = compile_decoder(block)(struct.pack(f">{len(words)}H", *words))
    assert values == tuple(words[address] for address in addresses)


KINDS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float64": "d"}


@given(st.data())
def test_mixed_types_and_orders_come_back_as_they_were_packed(data: st.DataObject) -> None:
    points, packed, expected, address = [], b"", [], 0
    for _ in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(sorted(KINDS)))
        order = data.draw(st.sampled_from(Order))
        raw = data.draw(st.binary(min_size=struct.calcsize(KINDS[kind]), max_size=struct.calcsize(KINDS[kind])))
        (number,) = struct.unpack(">" + KINDS[kind], raw)
        if isinstance(number, float) and not math.isfinite(number):
            continue
        gap = data.draw(st.integers(0, 3))
        points.append(make(f"input:{address + gap}", kind, order=order))
        packed += bytes(2 * gap if points[1:] else 0) + on_the_wire(raw, order)
        address += gap + len(raw) // 2
        expected.append(number)
    if points:
        assert compile_decoder(block_of(*points))(packed)[0] == tuple(expected)


def on_the_wire(raw: bytes, order: Order) -> bytes:
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in (Order.CDAB, Order.DCBA):
        words.reverse()
    if order in (Order.BADC, Order.DCBA):
        words = [word[::-1] for word in words]
    return b"".join(words)


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.data())
def test_bits_come_back_as_they_were_packed(bits: list[bool], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(bits) - 1), min_size=1, unique=True))
    (block,) = plan([make(f"discrete:{n}", "bool") for n in wanted], Limits(max_gap=125))
    number = sum(1 << i for i, bit in enumerate(bits[block.span.start : block.span.end]) if bit)
    values, _ = compile_decoder(block)(number.to_bytes(size_bytes(block), "little"))
    assert values == tuple(bits[n] for n in wanted)


@given(float32s)
@example(2.0**-149)
@example(3.4028234663852886e38)
@example(16777216.0)
def test_the_shortest_decimal_is_the_same_float32(number: float) -> None:
    assert struct.pack(">f", shortest(number)) == struct.pack(">f", number)


@given(st.integers(-999999, 999999), st.integers(-4, 6))
def test_a_decimal_of_six_digits_survives_a_float32(digits: int, decimals: int) -> None:
    written = float(f"{digits}e{-decimals}")
    (sent,) = struct.unpack(">f", struct.pack(">f", written))
    assert shortest(sent) == written


@given(st.integers(0, 65535), st.integers(-9999, 9999), st.integers(0, 6))
def test_a_scaled_integer_is_the_exact_decimal(raw: int, scale: int, decimals: int) -> None:
    if scale:
        found = value("uint16", raw.to_bytes(2, "big"), scale=float(f"{scale}e-{decimals}"))
        assert found == pytest.approx(raw * scale / 10**decimals, abs=0)


@given(st.binary(max_size=260), st.integers(1, 250))
def test_only_a_reply_of_exactly_the_right_length_has_a_payload(body: bytes, size: int) -> None:
    try:
        data = payload(body, size)
    except ValueError:
        assert not (len(body) == size + 1 and body[0] == size)
    else:
        assert body == bytes([size]) + data
        assert len(data) == size


ALL_TYPES = ["int16", "uint32", "float32", "float64", "bcd16", "bcd32", "string(7)"]


@given(st.lists(st.sampled_from(ALL_TYPES), min_size=1, max_size=12), st.data())
def test_any_bytes_of_the_right_length_give_values_or_reasons(kinds: list[str], data: st.DataObject) -> None:
    points, address = [], 0
    for kind in kinds:
        points.append(make(f"holding:{address}", kind))
        address += parse_type(kind).registers
    block = block_of(*points)
    size = size_bytes(block)
    values, bad = compile_decoder(block)(data.draw(st.binary(min_size=size, max_size=size)))
    assert len(values) == len(points)
    assert {i for i, found in enumerate(values) if found is None} == set(bad)
    assert all(math.isfinite(found) for found in values if isinstance(found, float))

"""Values become the bytes that decode to them again, and what a point cannot take is refused in words."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import compile_decoder
from drivers.modbus.encode import encode_bit, encode_registers
from drivers.modbus.plan import Block
from drivers.modbus.point import ModbusPoint, Order, parse_address, parse_type
from drivers.model import Value


def make(kind: str, **keys: Any) -> ModbusPoint:
    return ModbusPoint(name="speed", address=parse_address("holding:7"), type=parse_type(kind), **keys)


def decoded(point: ModbusPoint, data: bytes) -> Value:
    (value,), bad = compile_decoder(Block(point.span, (point,)))(data)
    assert not bad
    return value


# Literal bytes: 123456789 = 0x075BCD15 and 12.34 = 0x414570A4; 20000 and 10000 are the full scales of ABB's profiles.
@pytest.mark.parametrize(
    ("kind", "keys", "value", "data"),
    [
        ("uint32", {"order": Order.ABCD}, 123456789, "07 5B CD 15"),
        ("uint32", {"order": Order.CDAB}, 123456789, "CD 15 07 5B"),
        ("int32", {"order": Order.BADC}, 123456789, "5B 07 15 CD"),
        ("int32", {"order": Order.DCBA}, 123456789, "15 CD 5B 07"),
        ("float32", {}, 12.34, "41 45 70 A4"),
        ("float32", {"order": Order.CDAB}, 12.34, "70 A4 41 45"),
        ("float32", {}, Decimal("12.34"), "41 45 70 A4"),
        ("float64", {}, 0.3, "3F D3 33 33 33 33 33 33"),
        ("uint64", {"order": Order.CDAB}, 0x0123456789ABCDEF, "CD EF 89 AB 45 67 01 23"),
        ("uint16", {"scale": 0.001}, 1.42, "05 8C"),
        ("uint16", {"scale": 0.001}, Decimal("1.420"), "05 8C"),
        ("uint16", {"scale": 0.001}, 1.4204, "05 8C"),
        ("uint16", {"scale": 0.001}, 1.4206, "05 8D"),
        ("int16", {"scale": 0.005}, 50, "27 10"),
        ("int16", {"scale": 0.005}, -100, "B1 E0"),
        ("int16", {"scale": 0.1, "offset": -40}, -40.5, "FF FB"),
        ("int16", {"scale": -2}, 6, "FF FD"),
        ("uint16", {}, 0.4, "00 00"),
        ("uint16", {"order": Order.BADC}, 0x1234, "34 12"),
        ("bcd16", {}, 1234, "12 34"),
        ("bcd32", {"scale": 0.01}, 123456.78, "12 34 56 78"),
        ("string(6)", {}, "PC-1", "50 43 2D 31 00 00"),
        ("string(5)", {}, "ABCDE", "41 42 43 44 45 00"),
        ("string(4)", {"order": Order.BADC}, "ABÿ", "42 41 00 FF"),
        ("string(2)", {}, "", "00 00"),
    ],
)
def test_a_value_becomes_its_bytes(kind: str, keys: dict[str, Any], value: Value, data: str) -> None:
    assert encode_registers(make(kind, **keys), value).hex(" ").upper() == data


@pytest.mark.parametrize(
    ("kind", "keys", "value", "words"),
    [
        ("uint16", {}, -1, "speed takes 0 to 65535, not -1"),
        ("uint16", {}, 65536, "speed takes 0 to 65535, not 65536"),
        ("uint16", {"scale": 0.001, "unit": "m/s"}, 70, "speed takes 0 to 65.535 m/s, not 70"),
        ("int16", {"scale": -0.1, "offset": 5}, 5000, "speed takes -3271.7 to 3281.8, not 5000"),
        ("int64", {}, 2**63, "speed takes -9223372036854775808 to 9223372036854775807, not 9223372036854775808"),
        ("int32", {}, 10**400, "speed takes -2147483648 to 2147483647, not more than a number can say"),
        ("bcd16", {}, 10000, "speed takes 0 to 9999, not 10000"),
        ("bcd16", {}, -1, "speed takes 0 to 9999, not -1"),
        ("float32", {}, 1e39, "speed takes -3.40282346638529e+38 to 3.40282346638529e+38, not 1e+39"),
        (
            "float64",
            {"scale": 0.5},
            1.7e308,
            "speed takes -8.98846567431158e+307 to 8.98846567431158e+307, not 1.7e+308",
        ),
        ("float32", {}, math.nan, "speed takes a number, not nan"),
        ("uint16", {}, math.inf, "speed takes a number, not inf"),
        ("uint16", {}, Decimal("NaN"), "speed takes a number, not NaN"),
        ("uint16", {}, Decimal("1E+999999"), "speed takes a number, not 1E+999999"),
        ("uint16", {}, "7", 'speed takes a number, not "7"'),
        ("uint16", {}, True, "speed takes a number, not true"),
        ("uint16", {}, None, "speed takes a number, not nothing"),
        ("string(4)", {}, "ABCDE", "speed takes up to 4 characters, not 5"),
        ("string(4)", {}, "€", 'speed takes Latin-1 text, which has no "€"'),
        ("string(4)", {}, "A\0B", "speed takes text that can be printed"),
        ("string(4)", {}, 7, "speed takes text, not 7"),
    ],
)
def test_what_a_point_cannot_take_is_refused_in_words(
    kind: str, keys: dict[str, Any], value: Value, words: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  compared in full
        encode_registers(make(kind, **keys), value)
    assert str(error.value) == words


@pytest.mark.parametrize(("value", "bit"), [(True, True), (False, False), (1, True), (0, False)])
def test_a_bit_takes_true_and_false_and_1_and_0(value: Value, bit: bool) -> None:
    assert encode_bit(make("bool"), value) is bit


@pytest.mark.parametrize("value", [2, -1, 1.0, "true", None, Decimal(1)])
def test_a_bit_takes_nothing_else(value: Value) -> None:
    with pytest.raises(ValueError, match="speed takes true or false, not "):
        encode_bit(make("bool"), value)


def test_a_decimal_smaller_than_any_number_costs_no_time() -> None:
    assert encode_registers(make("float32"), Decimal("1E-999999")) == bytes(4)


INTEGERS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
factors = st.builds(lambda digits, decimals: float(f"{digits}e-{decimals}"), st.integers(1, 9999), st.integers(0, 4))


@given(st.sampled_from(sorted(INTEGERS)), st.sampled_from(Order), st.data())
def test_an_integer_decodes_to_itself(kind: str, order: Order, data: st.DataObject) -> None:
    size = struct.calcsize(INTEGERS[kind])
    raw = data.draw(st.binary(min_size=size, max_size=size))
    point = make(kind, order=order if size > 2 or order == Order.BADC else Order.ABCD)
    assert encode_registers(point, decoded(point, raw)) == raw


@given(st.sampled_from(["int16", "uint16", "int32"]), factors, st.integers(-999, 999), st.booleans(), st.data())
def test_a_scaled_integer_that_was_read_is_written_back_as_it_was(
    kind: str, scale: float, offset: int, negative: bool, data: st.DataObject
) -> None:
    size = struct.calcsize(INTEGERS[kind])
    raw = data.draw(st.binary(min_size=size, max_size=size))
    point = make(kind, scale=-scale if negative else scale, offset=float(offset))
    assert encode_registers(point, decoded(point, raw)) == raw


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(Order))
def test_a_float32_that_was_read_is_written_back_as_it_was(number: float, order: Order) -> None:
    point = make("float32", order=order)
    value = decoded(point, encode_registers(point, number))
    assert value == pytest.approx(number, rel=1e-7, abs=1e-45)
    assert decoded(point, encode_registers(point, value)) == value


@given(st.integers(0, 99999999))
def test_a_bcd_decodes_to_itself(number: int) -> None:
    point = make("bcd32", order=Order.CDAB)
    assert decoded(point, encode_registers(point, number)) == number


@given(
    st.text(max_size=12),
    st.integers(1, 11),
    st.sampled_from([Order.ABCD, Order.BADC]),
)
def test_a_text_decodes_to_itself_or_is_refused(text: str, size: int, order: Order) -> None:
    point = make(f"string({size})", order=order)
    try:
        data = encode_registers(point, text)
    except ValueError:
        assert len(text) > size or not text.isprintable() or any(ord(letter) > 0xFF for letter in text)
    else:
        assert decoded(point, data) == text.rstrip()


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals())


@given(numbers, st.sampled_from([*INTEGERS, "float32", "float64", "bcd16", "bcd32", "string(3)"]), factors)
def test_any_value_is_taken_or_refused(value: Value, kind: str, scale: float) -> None:
    point = make(kind) if kind == "string(3)" else make(kind, scale=scale)
    try:
        assert len(encode_registers(point, value)) == 2 * point.type.registers
    except ValueError as refusal:
        words = str(refusal)
    else:
        words = "speed takes it"
    assert words.startswith("speed takes ")

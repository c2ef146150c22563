"""Readings as rows: exact both ways, and small."""

from __future__ import annotations

import json
import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Point, PointGroup, Quality, Reading, Value, bad, uncertain
from gateway.buffer.encoding import decode_reading, encode_reading

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
qualities = st.sampled_from([bad("timeout"), bad("comm-failure"), uncertain("out-of-range")])


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    taken: list[Value] = draw(st.lists(values, min_size=1, max_size=12))
    quality: dict[int, Quality] = draw(st.dictionaries(st.integers(0, len(taken) - 1), qualities))
    group = PointGroup("device", 1.0, tuple(Point(f"p{index}") for index in range(len(taken))))
    return Reading(group, draw(st.integers(0, 2**62)), tuple(taken), quality)


def _exact(value: Value) -> object:
    return struct.pack(">d", value) if isinstance(value, float) else (type(value), value)


@given(readings())
def test_what_comes_back_is_exactly_what_went_in(reading: Reading) -> None:
    body, quality = encode_reading(reading)
    back = decode_reading(reading.group, reading.observed_at_ns, body=body, quality=quality)
    assert [_exact(value) for value in back.values] == [_exact(value) for value in reading.values]
    assert back == reading


def _group(size: int) -> PointGroup:
    return PointGroup("device", 1.0, tuple(Point(f"p{index}") for index in range(size)))


def test_a_full_reading_is_an_array_without_quality() -> None:
    assert encode_reading(Reading(_group(3), 0, (1.5, True, "a"))) == ('[1.5,true,"a"]', None)


def test_a_sparse_reading_is_an_object_by_index() -> None:
    body, _ = encode_reading(Reading(_group(20), 0, (None,) * 3 + (1.5,) + (None,) * 16))
    assert json.loads(body) == {"3": 1.5}


def test_one_quality_for_all_points_is_written_once() -> None:
    reading = Reading(_group(50), 0, (None,) * 50, dict.fromkeys(range(50), bad("timeout")))
    assert encode_reading(reading) == ("{}", '"bad:timeout"')


@pytest.mark.parametrize("body", ["[1,2]", '{"3":1}', '{"x":1}', "[1", "7"])
def test_a_row_that_does_not_fit_its_group_is_refused(body: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_reading(_group(3), 0, body=body, quality=None)


def test_negative_zero_keeps_its_sign() -> None:
    body, quality = encode_reading(Reading(_group(1), 0, (-0.0,)))
    (value,) = decode_reading(_group(1), 0, body=body, quality=quality).values
    assert isinstance(value, float)
    assert math.copysign(1, value) == -1


def test_a_decimal_keeps_its_digits() -> None:
    scale = PointGroup("weigh-1", 0.0, (Point("weight", "kg"), Point("stable")))
    body, quality = encode_reading(Reading(scale, 7, (Decimal("12.340"), True)))
    assert body.strip() == "[12.340,true]"
    assert str(decode_reading(scale, 7, body=body, quality=quality).values[0]) == "12.340"


def test_a_whole_decimal_beyond_64_bits_comes_back_as_one_that_can_be_published() -> None:
    scale = PointGroup("counter", 0.0, (Point("total"), Point("turns")))
    total, turns = Decimal("123456789012345678901234"), 2**64 - 1
    body, quality = encode_reading(Reading(scale, 7, (total, turns)))
    decoded = decode_reading(scale, 7, body=body, quality=quality).values
    assert decoded == (total, turns)
    assert [type(value) for value in decoded] == [Decimal, int]

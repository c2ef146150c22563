"""Lines out of a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pattern import LineSplitter


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n", b"\x03", b"\x03\r\n"])
def test_every_end_of_a_line_ends_it(end: bytes) -> None:
    assert LineSplitter().feed(b"one" + end + b"two" + end) == ["one", "two"]


def test_a_line_may_be_framed_by_stx_and_etx() -> None:
    assert LineSplitter().feed(b"\x02one\x03\x02two\x03") == ["one", "two"]


def test_an_unfinished_line_waits_for_its_end() -> None:
    lines = LineSplitter()
    assert lines.feed(b"12.3") == []
    assert not lines.is_between
    assert lines.feed(b"40\r") == ["12.340"]
    assert lines.is_between


def test_bytes_above_127_are_latin_1() -> None:
    assert LineSplitter().feed(b"20 \xb0C\r\n") == ["20 °C"]


def test_half_a_line_at_the_start_is_dropped_when_the_stream_was_joined() -> None:
    assert LineSplitter(joined=True).feed(b"2.340\r\n112.340\r\n") == ["112.340"]


def test_a_dropped_line_takes_its_rest_with_it() -> None:
    lines = LineSplitter()
    lines.feed(b"11")
    lines.drop_line()
    assert lines.feed(b"2.340\r\n7.5\r\n") == ["7.5"]


def test_dropping_between_two_lines_drops_nothing() -> None:
    lines = LineSplitter()
    lines.feed(b"1\r\n")
    lines.drop_line()
    assert lines.feed(b"2\r\n") == ["2"]


def test_a_line_that_is_too_long_is_none_and_the_next_one_is_whole() -> None:
    assert LineSplitter(longest=8).feed(b"123456789012\r\n12345678\r\n") == [None, "12345678"]


def test_endless_bytes_do_not_grow() -> None:
    lines = LineSplitter()
    for _ in range(1000):
        assert lines.feed(b"x" * 1000) == []
    assert len(lines._rest) == 0
    assert lines.feed(b"\n") == [None]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_it_does_not_matter_where_the_stream_is_cut(data: bytes, cuts: list[int], joined: bool) -> None:
    whole = LineSplitter(longest=20, joined=joined).feed(data)
    lines, found = LineSplitter(longest=20, joined=joined), []
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        found += lines.feed(data[start:end])
        assert len(lines._rest) <= 20
    assert found == whole

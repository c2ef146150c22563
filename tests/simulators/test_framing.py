"""MBAP from the messaging implementation guide V1.0b; RTU and CRC from the serial line specification V1.02."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.framing import (
    MAX_RTU_BYTES,
    FramingError,
    MbapStream,
    RtuRequest,
    RtuStream,
    TcpRequest,
    crc16,
    mbap_frame,
    rtu_frame,
)

READ_ONE = bytes.fromhex("03 00 05 00 01")


def test_crc_of_the_example_in_section_6_2_2_goes_out_low_byte_first() -> None:
    assert crc16(bytes.fromhex("02 07")) == 0x1241
    assert rtu_frame(2, b"\x07") == bytes.fromhex("02 07 41 12")


def test_mbap_header_counts_the_unit_in_its_length() -> None:
    """The example of section 3.1.3: read one register from unit FF, transaction 1501."""
    assert mbap_frame(0x1501, 0xFF, READ_ONE) == bytes.fromhex("15 01 00 00 00 06 FF 03 00 05 00 01")


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253))), st.data())
def test_tcp_requests_come_out_whole_however_the_stream_is_cut(
    sent: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    whole = b"".join(mbap_frame(*request) for request in sent)
    stream, got = MbapStream(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        got += stream.feed(whole[:size])
        whole = whole[size:]
    assert got == [TcpRequest(*request) for request in sent]


@pytest.mark.parametrize("header", ["0001 0001 0006 01", "0001 0000 0001 01", "0001 0000 00FF 01"])
def test_what_is_not_mbap_is_a_framing_error(header: str) -> None:
    with pytest.raises(FramingError, match="not an MBAP header"):
        MbapStream().feed(bytes.fromhex(header))


@given(st.lists(st.binary(max_size=600), max_size=5))
def test_any_tcp_bytes_either_parse_or_are_a_framing_error_and_little_is_held(chunks: list[bytes]) -> None:
    stream = MbapStream()
    try:
        for chunk in chunks:
            stream.feed(chunk)
            assert stream.held_bytes < 260
    except FramingError:
        pass


_RTU_PDUS = st.one_of(
    st.builds(lambda function, rest: bytes((function,)) + rest, st.integers(1, 6), st.binary(min_size=4, max_size=4)),
    st.builds(
        lambda function, head, values: bytes((function,)) + head + bytes((len(values),)) + values,
        st.sampled_from([15, 16]),
        st.binary(min_size=4, max_size=4),
        st.binary(max_size=246),
    ),
)


@given(st.lists(st.tuples(st.integers(0, 247), _RTU_PDUS), max_size=4), st.data())
def test_rtu_requests_come_out_whole_however_the_line_is_cut(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    whole = b"".join(rtu_frame(unit, pdu) for unit, pdu in sent)
    stream, got = RtuStream(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        got += stream.feed(whole[:size])
        whole = whole[size:]
    assert got == [RtuRequest(*request) for request in sent]


@given(st.lists(st.binary(max_size=600), max_size=5))
def test_after_any_noise_and_a_silence_the_line_works_again(chunks: list[bytes]) -> None:
    stream = RtuStream()
    for chunk in chunks:
        stream.feed(chunk)
        assert stream.held_bytes <= MAX_RTU_BYTES
    stream.silence()
    assert stream.feed(rtu_frame(5, READ_ONE)) == [RtuRequest(5, READ_ONE)]


def test_a_wrong_crc_makes_everything_up_to_the_next_silence_noise() -> None:
    stream = RtuStream()
    good = rtu_frame(1, READ_ONE)
    assert stream.feed(good[:-1] + bytes((good[-1] ^ 1,)) + good) == []
    assert stream.silence() == []
    assert stream.feed(good) == [RtuRequest(1, READ_ONE)]


def test_a_function_of_unknown_length_ends_at_the_silence() -> None:
    stream = RtuStream()
    assert stream.feed(bytes.fromhex("02 07 41 12")) == []
    assert stream.silence() == [RtuRequest(2, b"\x07")]

"""Telnet taken out of a stream, however that is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.transport.telnet import (
    LONGEST_SUBNEGOTIATION_BYTES,
    Command,
    Negotiation,
    Subnegotiation,
    Telnet,
    escape,
    subnegotiate,
)

EXCHANGE = b"12\xff\xfd\x2c.\xff\xff3\xff\xfa\x2c\x65\x00\xff\xff\x00\xff\xf04\xff\xf15"
"""Data, IAC DO 44, an escaped 255, a subnegotiation with an escaped 255, and a NOP, which is nothing to us."""


def test_data_and_commands_are_told_apart() -> None:
    data, commands = Telnet().feed(EXCHANGE)
    assert data == b"12.\xff345"
    assert commands == [Negotiation(0xFD, 0x2C), Subnegotiation(b"\x2c\x65\x00\xff\x00")]


@given(st.lists(st.integers(0, len(EXCHANGE)), max_size=8))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    telnet, data = Telnet(), b""
    commands: list[Command] = []
    places = [0, *sorted(cuts), len(EXCHANGE)]
    for start, end in pairwise(places):
        piece, found = telnet.feed(EXCHANGE[start:end])
        data += piece
        commands += found
    assert (data, commands) == Telnet().feed(EXCHANGE)


@given(st.binary(max_size=64))
def test_escaped_data_comes_back(data: bytes) -> None:
    assert Telnet().feed(escape(data)) == (data, [])


@given(st.binary(max_size=64))
def test_a_subnegotiation_comes_back(body: bytes) -> None:
    assert Telnet().feed(subnegotiate(body)) == (b"", [Subnegotiation(body)])


def test_a_subnegotiation_without_an_end_does_not_grow() -> None:
    telnet = Telnet()
    telnet.feed(b"\xff\xfa" + bytes(100_000))
    (command,) = telnet.feed(b"\xff\xf0")[1]
    assert command == Subnegotiation(bytes(LONGEST_SUBNEGOTIATION_BYTES))


def test_a_command_in_a_subnegotiation_that_was_cut_short_is_understood() -> None:
    assert Telnet().feed(b"\xff\xfa\x2c\x65\xff\xfd\x2cx") == (b"x", [Negotiation(0xFD, 0x2C)])

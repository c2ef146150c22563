"""Messages cut from a stream, however it is cut; what is not LLRP; and no input that makes the reader fall over."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.llrp.wire import MAX_MESSAGE_BYTES, FramingError, Message, MessageStream, encode, parameters
from tests.simulators.llrp.desk import EVENTS_ON, PALLET, Desk, StillPortal, hexed, rospec, tag

STREAM = hexed(EVENTS_ON) + hexed(rospec()) + hexed("0448 0000000A 00000055")


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_messages_are_the_same_however_the_stream_is_cut(cuts: set[int]) -> None:
    stream = MessageStream()
    found: list[Message] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        found += stream.feed(STREAM[start:end])
    assert [(each.type, each.id) for each in found] == [(3, 4), (20, 0x101), (72, 0x55)]
    assert stream.held_bytes == 0


@pytest.mark.parametrize(
    "header",
    ["2401 0000000B 00000001", "0401 00000009 00000001", "0401 00100001 00000001"],
    ids=["reserved bits", "shorter than its header", "longer than a message may be"],
)
def test_what_is_no_message_ends_the_stream(header: str) -> None:
    with pytest.raises(FramingError, match="not the header"):
        MessageStream().feed(hexed(header))


def test_the_longest_message_is_one() -> None:
    whole = encode(3, 1, bytes(MAX_MESSAGE_BYTES - 10))
    (message,) = MessageStream().feed(whole)
    assert len(message.body) == MAX_MESSAGE_BYTES - 10


@pytest.mark.parametrize("data", ["00DC", "00DC 0003", "00DC 0009 01", "81 0001", "04DC 0004"])
def test_what_is_no_row_of_parameters_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="parameter"):
        parameters(hexed(data))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1023), st.binary(max_size=120))
def test_any_message_is_answered_or_ignored(type_: int, body: bytes) -> None:
    desk = Desk(StillPortal([tag(PALLET)]))
    desk.ask(encode(type_, 5, body).hex())
    desk.wait(0.2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_rospec_with_wrong_bytes_is_taken_or_refused(data: st.DataObject) -> None:
    raw = bytearray(hexed(rospec(start="00B3 0005 01")))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(10, len(raw) - 1))] = data.draw(st.integers(0, 255))
    desk = Desk(StillPortal([tag(PALLET)]))
    answer = desk.ask(raw.hex())
    assert answer[:2] == hexed("041E")
    desk.ask("0418 0000000E 00000006 00000000")
    desk.wait(0.3)
    if answer[14:16] != b"\0\0":
        assert desk.portal.rounds == []

"""From a stream of bytes to messages."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rfid.llrp.framing import HEADER, MOST_BYTES, Framer, Message, NotLlrp, frame

KEEPALIVE = bytes.fromhex("043E0000000A00000055")
OK = bytes.fromhex("0404000000120000000D011F000800000000")


def _messages(*pieces: bytes) -> list[Message]:
    framer = Framer()
    return [message for piece in pieces for message in framer.feed(piece)]


@pytest.mark.parametrize(
    ("data", "version", "kind", "number", "body"),
    [
        ("043E0000000A00000055", 1, 62, 0x55, ""),
        ("0404000000120000000D011F000800000000", 1, 4, 13, "011F000800000000"),
        ("08640000001200000001011F0008006E0000", 2, 100, 1, "011F0008006E0000"),
        ("07FF0000000F000000010000651A16", 1, 1023, 1, "0000651A16"),
    ],
)
def test_a_header_is_taken_apart(data: str, version: int, kind: int, number: int, body: str) -> None:
    assert _messages(bytes.fromhex(data)) == [Message(version, kind, number, bytes.fromhex(body))]


def test_what_goes_out_has_its_header() -> None:
    assert frame(72, 0x55) == bytes.fromhex("04480000000A00000055")
    assert frame(46, 1, version=2) == bytes.fromhex("082E0000000A00000001")


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8), st.data())
def test_messages_may_be_cut_and_joined_anywhere(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(struct.pack(">HII", 0x43D, 10 + len(body), i) + body for i, body in enumerate(bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [(message.id, message.body) for message in _messages(*pieces)] == [*enumerate(bodies)]


def test_nothing_is_kept_of_what_was_whole() -> None:
    framer = Framer()
    for _ in range(1000):
        assert len([*framer.feed(KEEPALIVE + OK[:5])]) == 1
        assert framer.pending_bytes == 5
        assert len([*framer.feed(OK[5:])]) == 1
    assert framer.pending_bytes == 0


@pytest.mark.parametrize("length", [0, 9, MOST_BYTES + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_told_before_anything_is_waited_for(length: int) -> None:
    with pytest.raises(NotLlrp, match=f"a length of {length} bytes"):
        _messages(HEADER.pack(0x43D, length, 1))


def test_what_comes_before_a_message_that_cannot_be_is_still_there() -> None:
    messages = Framer().feed(KEEPALIVE + b"HTTP/1.1 400 Bad Request\r\n")
    assert next(messages).type == 62
    with pytest.raises(NotLlrp):
        next(messages)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400", b"SSH-2.0-OpenSSH", b"\x15\x03\x01\x00\x02\x02\x28..."])
def test_other_protocols_are_not_llrp(greeting: bytes) -> None:
    with pytest.raises(NotLlrp):
        _messages(greeting)


@given(st.lists(st.binary(max_size=200)))
def test_no_bytes_make_it_grow_or_fail_otherwise(pieces: list[bytes]) -> None:
    framer = Framer()
    came = taken = 0
    try:
        for piece in pieces:
            came += len(piece)
            for message in framer.feed(piece):
                taken += 10 + len(message.body)
            assert framer.pending_bytes == came - taken <= MOST_BYTES
    except NotLlrp:
        pass

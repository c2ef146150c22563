"""Literal messages: written out by hand from the standard's chapter 16, and decoded by independent tools before."""

from __future__ import annotations

import pytest

from simulators.llrp import events
from simulators.llrp.codes import ConnectionStatus, Status, Tlv
from simulators.llrp.grammar import field_error, parameter_error, status
from simulators.llrp.reports import Content, Origin, TagReport
from simulators.llrp.wire import encode
from tests.simulators.llrp.desk import BOOTED_US, Desk, hexed

CAPABILITIES = hexed(
    "040b000000cb00000001 011f000800000000"
    "0089003b 0002 4000 0000651a 001e886a 0007 73696d2d312e30"
    "  008b0008 0001 0000  008d0008 0004 0004  008c0009 0001 0001 01  008c0009 0002 0001 01"
    "008e001c 48 01 0000 00000001 00000020 00000001 000005e4 00000008"
    "008f005b 0114 0002  00900053  00910008 0001 03e8  00910008 0002 0bb8"
    "  0092001b 00 00940016 0004 000d35a4 000d37fc 000d3a54 000d3cac"
    "  01480024 01490020 000003e8 00000000 00009c40 000005dc 000186a0 000186a0 00000000"
    "01470007 40 0002"
)

ADD_ROSPEC = (
    "0414000000520000010100b1004800000001000000b2001200b300050000b60009000000000000b7001a00020001000200b80009"
    "000000000000ba000700010100ed001201000100ee000b9f80015c000540"
)


def test_capabilities_of_a_reader_with_two_antennas(desk: Desk) -> None:
    assert desk.ask("04 01 00 00 00 0B 00 00 00 01 00") == CAPABILITIES


@pytest.mark.parametrize(("requested", "first"), [(1, "0089"), (2, "008E"), (3, "008F"), (4, "0147")])
def test_capabilities_can_be_asked_for_one_by_one(requested: int, first: str, desk: Desk) -> None:
    answer = desk.ask(f"0401 0000000B 00000001 {requested:02X}")
    assert answer[18:20] == hexed(first)
    assert answer[18:] in CAPABILITIES


@pytest.mark.parametrize(
    ("id_", "event", "message"),
    [
        (
            0,
            events.connection_attempt(ConnectionStatus.SUCCESS),
            "043F 00000020 00000000 | 00F6 0016 | 0080 000C 0006474846222240 | 0100 0006 0000",
        ),
        (
            0,
            events.connection_attempt(ConnectionStatus.FAILED_CLIENT_EXISTS),
            "043F 00000020 00000000 | 00F6 0016 | 0080 000C 0006474846222240 | 0100 0006 0002",
        ),
        (9, events.connection_close(), "043F 0000001E 00000009 | 00F6 0014 | 0080 000C 0006474846222240 | 0101 0004"),
        (
            10,
            events.antenna_changed(2, 0),
            "043F 00000021 0000000A | 00F6 0017 | 0080 000C 0006474846222240 | 00FF 0007 00 0002",
        ),
        (
            11,
            events.rospec_started(1),
            "043F 00000027 0000000B | 00F6 001D | 0080 000C 0006474846222240 | 00F9 000D 00 00000001 00000000",
        ),
    ],
    ids=["connected", "refused", "closing", "antenna lost", "ROSpec started"],
)
def test_events(id_: int, event: bytes, message: str) -> None:
    assert encode(63, id_, events.notification(BOOTED_US, event)) == hexed(message)


def test_a_report_of_a_pallet_and_of_a_tag_with_128_bits() -> None:
    content = Content(0x9F80, memory=0x40)
    pallet = TagReport(
        bytes.fromhex("3114257BF400B7797A000000"),
        Origin(1, 1, 1, 1),
        rssi_dbm=-53,
        channel=3,
        first_us=BOOTED_US,
        last_us=BOOTED_US + 250_000,
        count=7,
    )
    other = TagReport(
        bytes.fromhex("36300000000000000000000000000000"),
        Origin(1, 1, 1, 2),
        rssi_dbm=-61,
        channel=3,
        first_us=BOOTED_US + 1000,
        last_us=BOOTED_US + 1000,
    )
    assert encode(61, 0x2A, pallet.encode(content), other.encode(content)) == hexed(
        "043d0000007f0000002a00f000368d3114257bf400b7797a000000890000000181000186cb87000382000647484622224084000647484625"
        "f2d08800078c300000f0003f00f10016008036300000000000000000000000000000890000000181000286c387000382000647484622262884"
        "00064748462226288800018c4000"
    )


def test_a_status_with_an_error_inside_an_error() -> None:
    detail = parameter_error(Tlv.RF_TRANSMITTER, Status.P_FIELD_ERROR, field_error(0, Status.A_OUT_OF_RANGE))
    assert encode(30, 0x101, status(Status.M_FIELD_ERROR, "RFTransmitter", detail)) == hexed(
        "041E 0000002F 00000101 | 011F 0025 0065 000D 52465472616E736D6974746572 | "
        "0121 0010 00E0 00C9 | 0120 0008 0000 012D"
    )


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("0403 00000019 00000003 00 00DC 0009 01 00002710 00E2 0005 80", "040D 00000012 00000003 011F 0008 0000 0000"),
        ("0403 0000000B 00000005 80", "040D 00000012 00000005 011F 0008 0000 0000"),
        ("0415 0000000E 00000009 00000000", "041F 00000012 00000009 011F 0008 0000 0000"),
        ("0448 0000000A 00000055", ""),
        ("0440 0000000A 0000000C", ""),
        ("040E 0000000A 0000000D", "0404 00000012 0000000D 011F 0008 0000 0000"),
        (
            ADD_ROSPEC,
            "041E 00000012 00000101 011F 0008 0000 0000",
        ),
    ],
    ids=["keepalive and hold", "factory reset", "delete all", "keepalive ack", "enable events", "close", "add"],
)
def test_requests_that_are_in_order(request_: str, answer: str, desk: Desk) -> None:
    assert desk.ask(request_) == hexed(answer)


def test_another_version_is_refused_in_its_own_version(desk: Desk) -> None:
    answer = desk.ask("082E 0000000A 00000001")
    assert answer[:10] == hexed("0864") + len(answer).to_bytes(4) + hexed("00000001")
    assert answer[10:16] == hexed("011F") + (len(answer) - 10).to_bytes(2) + hexed("006E")


def test_an_unknown_message_is_refused_with_an_error_message(desk: Desk) -> None:
    answer = desk.ask("07FF 0000000F 00000007 0000651A 15")
    assert answer[:2] == hexed("0464")
    assert answer[6:10] == hexed("00000007")
    assert answer[14:16] == hexed("006D")


def test_a_keepalive_is_sent_at_its_interval(desk: Desk) -> None:
    desk.ask("0403 00000014 00000003 00 00DC 0009 01 00002710")
    desk.wait(9.9)
    assert desk.unasked() == []
    desk.wait(0.1)
    (keepalive,) = desk.unasked()
    assert keepalive[:6] == hexed("043E 0000000A")

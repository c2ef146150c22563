"""What a reader says of itself: capabilities, status, events."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rfid.llrp import events
from drivers.rfid.llrp.capabilities import Capabilities, parse_capabilities, power_index
from drivers.rfid.llrp.parameters import Malformed
from drivers.rfid.llrp.status import parse_status
from tests.drivers.rfid import scripted_reader as scripted

TIME_US = 1767225600123456
TIME = "0080000C0006474846222240"


def test_capabilities_are_read() -> None:
    assert parse_capabilities(scripted.CAPABILITIES) == Capabilities(
        antennas=2,
        manufacturer=25882,
        model=2001002,
        firmware="sim-1.0",
        warns_of_full_buffer=True,
        holds_reports=True,
        most_filters=2,
        powers=((1, 1000), (2, 3000)),
        fixed_channels=4,
        modes=(1000,),
    )


def test_a_hop_table_is_found() -> None:
    table = "0093001000 000002 000d35a4 000d37fc".replace(" ", "")
    frequencies = f"00920015 80 {table}".replace(" ", "")
    band = bytes.fromhex(f"008f0021 0348 0001 0090001 9{frequencies}".replace(" ", ""))
    found = parse_capabilities(scripted.OK + band)
    assert (found.hop_tables, found.fixed_channels) == ((0,), 0)


def test_what_a_reader_leaves_out_promises_nothing() -> None:
    assert parse_capabilities(scripted.OK) == Capabilities()


@pytest.mark.parametrize(("wanted", "index"), [(10.0, 1), (29.99, 1), (30.0, 2), (40.0, 2)])
def test_power_is_the_next_step_that_is_not_higher(wanted: float, index: int) -> None:
    assert power_index(((1, 1000), (2, 3000)), wanted) == index


def test_powers_are_found_by_value_in_a_table_that_falls() -> None:
    assert power_index(((1, 3000), (2, 2000), (3, 1000)), 25) == 2


def test_a_power_below_all_steps_is_refused_with_what_is_possible() -> None:
    with pytest.raises(ValueError, match=r"power 9\.5 dBm is not possible; the reader offers 10 to 30 dBm"):
        power_index(((1, 1000), (2, 3000)), 9.5)
    with pytest.raises(ValueError, match="no table of powers"):
        power_index((), 9.5)


def test_a_status_says_what_it_means_and_where() -> None:
    body = "011F0025 0065 000D 52465472616E736D6974746572 01210010 00E0 00C9 01200008 0000 012D"
    status = parse_status(bytes.fromhex(body))
    assert not status.is_success
    assert status.code == 101
    assert status.text == (
        'M_FieldError (101): "RFTransmitter": RF_TRANSMITTER (224) P_FieldError (201): field 0 A_OutOfRange (301)'
    )


def test_success_is_one() -> None:
    assert parse_status(scripted.OK).is_success


def test_errors_that_lie_in_one_another_without_end_are_cut_short() -> None:
    nested = b""
    for _ in range(2000):
        nested = bytes.fromhex("0121") + (8 + len(nested)).to_bytes(2, "big") + bytes.fromhex("00e000c9") + nested
    body = bytes.fromhex("011f") + (8 + len(nested)).to_bytes(2, "big") + bytes.fromhex("00650000") + nested
    assert parse_status(body).text.count("P_FieldError") == 9


def test_a_response_without_a_status_is_malformed() -> None:
    with pytest.raises(Malformed):
        parse_status(b"")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("01000006 0000", events.ConnectionAttempt(0)),
        ("01000006 0002", events.ConnectionAttempt(2)),
        ("01010004", events.ConnectionClosed()),
        ("00FF0007 00 0002", events.AntennaChanged(2, is_connected=False)),
        ("00FF0007 01 0002", events.AntennaChanged(2, is_connected=True)),
        ("00F9000D 00 00000001 00000000", events.InventoryStarted(1)),
        ("00F9000D 01 00000001 00000000", events.InventoryEnded(1, was_preempted=False)),
        ("00F9000D 02 00000001 00000009", events.InventoryEnded(1, was_preempted=True)),
        ("00FA0005 50", events.BufferFilling(80)),
        ("00FB0004", events.BufferOverflowed()),
        ("00FC000B 0002 4869 81 0002", events.ReaderException("Hi", 2)),
        ("00FC0008 0002 4869", events.ReaderException("Hi", None)),
    ],
)
def test_an_event_is_read(event: str, expected: events.Event) -> None:
    inside = bytes.fromhex(TIME) + bytes.fromhex(event)
    body = bytes.fromhex("00F6") + (4 + len(inside)).to_bytes(2, "big") + inside
    assert events.parse_notification(body) == events.Notification(TIME_US, (expected,))


def test_a_capture_of_an_impinj_r420_is_read() -> None:
    # github.com/edgexfoundry/device-rfid-llrp-go, pkg/llrp/testdata
    found = events.parse_notification(bytes.fromhex("00f600140080000c0005ac35bd20d1da01010004"))
    assert found == events.Notification(0x0005AC35BD20D1DA, (events.ConnectionClosed(),))


def test_a_reader_that_knows_no_time_has_none() -> None:
    uptime = bytes.fromhex("00f600160081000c00000000000f424001000006 0000".replace(" ", ""))
    assert events.parse_notification(uptime) == events.Notification(None, (events.ConnectionAttempt(0),))


def test_events_of_other_kinds_are_left_out() -> None:
    hopping = bytes.fromhex("00f60018" + TIME + "00f7000800010002")
    assert events.parse_notification(hopping).events == ()


@given(st.binary(max_size=200), st.sampled_from([b"", bytes.fromhex("00f600c8"), bytes.fromhex("011f00c8")]))
def test_no_bytes_make_any_of_them_fail_otherwise(rest: bytes, start: bytes) -> None:
    for parse in (parse_status, parse_capabilities, events.parse_notification):
        try:
            parse(start + rest)
        except Malformed:
            continue


@given(st.integers(0, len(scripted.CAPABILITIES) - 1), st.integers(0, 255))
def test_no_wrong_byte_in_capabilities_makes_them_fail_otherwise(at: int, byte: int) -> None:
    wrong = bytearray(scripted.CAPABILITIES)
    wrong[at] = byte
    with suppress(Malformed):
        parse_capabilities(bytes(wrong))

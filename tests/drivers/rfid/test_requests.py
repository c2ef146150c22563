"""What goes out, byte by byte."""

from __future__ import annotations

import pytest

from drivers.rfid.llrp import requests
from drivers.rfid.llrp.framing import frame
from drivers.rfid.llrp.requests import Air, Event, Inventory, Request, Transmitter

PLAIN = (
    "0414000000520000010100b1004848474154000000b2001200b300050000b60009000000000000b7001a00020001000200b800090000000000"
    "00ba000700010100ed001201000100ee000b9f80015c000540"
)
WITH_AIR = (
    "0414000000a20000010100b1009848474154000000b2001200b300050000b60009000000000000b7006a00020001000200b800090000000000"
    "00ba005700010100de0028000100e0000a000100010051014a001800014f000803e800000150000b4000200000000000de0028000200e0000a"
    "000100010051014a001800014f000803e800000150000b4000200000000000ed001201000100ee000b9f80015c000540"
)

EVENTS_AND_KEEPALIVE = (
    "0403 0000003B 00000004 00 00F40027 00F5000700 0280 00F5000700 0380 00F5000700 0480 00F5000700 0600 "
    "00F5000700 0880 00DC00090100002710"
)


def _sent(request: Request, number: int) -> str:
    return frame(request.kind, number, request.body).hex()


@pytest.mark.parametrize(
    ("request_", "number", "expected"),
    [
        (requests.get_capabilities(), 1, "0401 0000000B 00000001 00"),
        (requests.enable_rospec(), 6, "0418 0000000E 00000006 48474154"),
        (requests.start_rospec(), 7, "0416 0000000E 00000007 48474154"),
        (requests.stop_rospec(), 8, "0417 0000000E 00000008 48474154"),
        (requests.delete_rospec(0), 9, "0415 0000000E 00000009 00000000"),
        (requests.close_connection(), 13, "040E 0000000A 0000000D"),
        (requests.set_config(factory_reset=True), 5, "0403 0000000B 00000005 80"),
        (requests.set_config(keepalive_ms=10_000), 3, "0403 00000014 00000003 00 00DC0009 01 00002710"),
        (
            requests.set_config(
                keepalive_ms=10_000,
                events=[
                    (Event.ROSPEC, True),
                    (Event.BUFFER_LEVEL, True),
                    (Event.READER_EXCEPTION, True),
                    (Event.AISPEC_END, False),
                    (Event.ANTENNA, True),
                ],
            ),
            4,
            EVENTS_AND_KEEPALIVE,
        ),
        (requests.add_rospec(Inventory((1, 2))), 0x101, PLAIN),
    ],
)
def test_a_request_is_the_bytes_of_the_standard(request_: Request, number: int, expected: str) -> None:
    assert _sent(request_, number) == expected.replace(" ", "").lower()


def test_the_questions_of_llrp_1_1_have_its_version() -> None:
    asked = requests.get_supported_version()
    assert frame(asked.kind, 1, asked.body, version=2).hex() == "082e0000000a00000001"
    told = requests.set_protocol_version(2)
    assert frame(told.kind, 2, told.body, version=2).hex() == "082f0000000b0000000202"


def test_power_mode_and_session_stand_at_each_antenna() -> None:
    air = Air(Transmitter(power_index=81, hop_table=1, channel=1), mode=1000, session=1, population=32)
    assert _sent(requests.add_rospec(Inventory((1, 2), {1: air, 2: air})), 0x101) == WITH_AIR


def test_an_antenna_that_is_left_as_it_is_has_no_configuration() -> None:
    assert _sent(requests.add_rospec(Inventory((1, 2), {1: Air()})), 0x101) == PLAIN


def test_a_periodic_inventory_starts_by_the_clock_and_stops_after_its_duration() -> None:
    body = requests.add_rospec(Inventory(duration_ms=2000, period_ms=30_000)).body.hex()
    start = "00b30011 02 00b4000c 00000000 00007530".replace(" ", "")
    stop = "00b60009 01 000007d0".replace(" ", "")
    assert f"00b2001e{start}{stop}00b70018 0001 0000".replace(" ", "") in body


def test_a_filter_masks_the_beginning_of_the_epc() -> None:
    body = requests.add_rospec(Inventory((0,), {0: Air(prefixes=("3034F", "31"))})).body.hex()
    first = "014b0016 00 014c000c 40 0020 0014 3034f0 014e0005 00"
    second = "014b0014 00 014c000a 40 0020 0008 31 014e0005 01"
    command = f"014a002f 00 {first} {second}"
    assert command.replace(" ", "") in body


def test_inventory_without_a_period_waits_for_its_start() -> None:
    assert "00b3000500" in requests.add_rospec(Inventory()).body.hex()

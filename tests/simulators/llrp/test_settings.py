"""GET_READER_CONFIG and SET_READER_CONFIG."""

from __future__ import annotations

import struct

import pytest

from simulators.llrp.wire import parameters
from tests.simulators.llrp.desk import EVENTS_ON, OK, Desk, hexed, rospec

ALL = [218, *[221] * 2, *[222] * 2, 244, 237, 239, 217, 220, *[225] * 4, *[219] * 4, 226]


def get(desk: Desk, requested: int, *, antenna: int = 0, gpi: int = 0, gpo: int = 0) -> bytes:
    answer = desk.ask(struct.pack(">HIIHBHH", 0x0402, 17, 2, antenna, requested, gpi, gpo).hex())
    assert answer[:2] == hexed("040C")
    return answer


def types(answer: bytes) -> list[int]:
    first, *others = parameters(answer[10:])
    assert first.type == 287
    return [each.type for each in others]


def test_all_of_it_in_the_order_of_the_standard(desk: Desk) -> None:
    assert types(get(desk, 0)) == ALL


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        (1, [218]),
        (2, [221, 221]),
        (3, [222, 222]),
        (4, [237]),
        (5, [244]),
        (6, [239]),
        (7, [217]),
        (8, [220]),
        (9, [225] * 4),
        (10, [219] * 4),
        (11, [226]),
    ],
)
def test_one_thing_at_a_time(requested: int, found: list[int], desk: Desk) -> None:
    assert types(get(desk, requested)) == found


def test_one_antenna_and_one_port(desk: Desk) -> None:
    assert get(desk, 2, antenna=2)[18:] == hexed("00DD 0009 80 0002 0258")
    assert get(desk, 9, gpi=3)[18:] == hexed("00E1 0008 0003 00 02")
    assert get(desk, 10, gpo=1)[18:] == hexed("00DB 0007 0001 00")


def test_a_lost_antenna_shows(desk: Desk) -> None:
    desk.reader.lose_antennas(frozenset({2}))
    assert get(desk, 2)[18:] == hexed("00DD 0009 80 0001 0258 00DD 0009 00 0002 0258")


def test_an_antenna_is_at_full_power_at_first(desk: Desk) -> None:
    assert get(desk, 3, antenna=1)[18:] == hexed(
        "00DE 002E 0001 | 00DF 0006 0001 | 00E0 000A 0000 0001 0002 | "
        "014A 0018 00 | 014F 0008 03E8 0000 | 0150 000B 00 0020 00000000"
    )


@pytest.mark.parametrize(
    ("set_", "requested", "shown"),
    [
        ("00DC 0009 01 00002710", 8, "00DC 0009 01 00002710"),
        ("00E2 0005 80", 11, "00E2 0005 80"),
        ("00EF 0005 01", 6, "00EF 0005 01"),
        ("00ED 000D 01 0007 | 00EE 0006 1400", 4, "00ED 000D 01 0007 | 00EE 0006 1400"),
        ("00DB 0007 0002 80", 10, "00DB0007000100 00DB0007000280 00DB0007000300 00DB0007000400"),
        ("00E1 0008 0004 80 00", 9, "00E100080001 0002 00E100080002 0002 00E100080003 0002 00E100080004 8002"),
    ],
    ids=["keepalive", "hold", "access report", "report", "output", "input"],
)
def test_what_is_set_is_shown(set_: str, requested: int, shown: str, desk: Desk) -> None:
    body = hexed(set_)
    assert desk.ask(f"0403 {11 + len(body):08X} 00000003 00 {set_}")[10:] == hexed(OK)
    assert get(desk, requested)[18:] == hexed(shown)


def test_events_can_be_switched_on_and_off(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    shown = get(desk, 5)[22:]
    assert [(shown[at + 5], shown[at + 6] >> 7) for at in range(0, len(shown), 7)] == [
        (event, 1 if event in {2, 3, 4, 6, 8} else 0) for event in range(9)
    ]


def test_what_is_set_on_antenna_0_holds_for_all_and_leaves_the_rest(desk: Desk) -> None:
    desk.ask("0403 0000001B 00000003 00 | 00DE 0010 0000 | 00E0 000A 0000 0002 0001")
    shown = get(desk, 3)
    assert shown.count(hexed("00E0 000A 0000 0002 0001")) == 2
    assert shown.count(hexed("014F 0008 03E8 0000")) == 2


def test_a_factory_reset_forgets_settings_and_rospec(desk: Desk) -> None:
    fresh = get(desk, 0)
    desk.ask(EVENTS_ON)
    desk.ask(rospec())
    desk.ask("0403 0000000B 00000005 80")
    assert get(desk, 0) == fresh
    assert len(desk.ask("041A 0000000A 00000002")) == 18
    desk.wait(60)
    assert desk.unasked() == []


def test_the_state_value_changes_with_the_settings(desk: Desk) -> None:
    before = get(desk, 7)
    assert get(desk, 7) == before
    desk.ask(EVENTS_ON)
    assert get(desk, 7) != before


def test_a_lost_connection_ends_the_keepalive(desk: Desk) -> None:
    desk.ask("0403 00000014 00000003 00 00DC 0009 01 00002710")
    desk.reader.disconnect()
    desk.reader.connect()
    desk.wait(60)
    assert desk.unasked() == []


def test_keepalives_do_not_pile_up_while_nobody_takes_them(desk: Desk) -> None:
    desk.ask("0403 00000014 00000003 00 00DC 0009 01 000003E8")
    desk.wait(60)
    assert [message[:2] for message in desk.unasked()] == [hexed("043E")]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("0403 0000000B 00000003 40", 101),
        ("0403 0000000A 00000003", 100),
        ("0403 00000014 00000003 00 00DD 0009 80 0001 0000", 100),
        ("0403 00000014 00000003 00 00DC 0009 01 00000000", 100),
        ("0403 00000014 00000003 00 00DC 0009 02 00000001", 100),
        ("0403 00000012 00000003 00 00DB 0007 0005 80", 100),
        ("0403 00000016 00000003 00 00F4 000B 00F5 0007 0009 80", 100),
        ("0403 00000017 00000003 00 03FF 000C 0000651A 00000017", 111),
        ("0403 00000019 00000003 00 00E2 0005 80 00DC 0009 01 00000001", 102),
        ("0403 0000000F 00000003 00 012C 0004", 107),
        ("0402 00000011 00000002 0003 00 0000 0000", 101),
        ("0402 00000011 00000002 0000 0C 0000 0000", 101),
        ("0402 00000011 00000002 0000 00 0005 0000", 101),
        ("0401 0000000B 00000002 05", 101),
        ("0401 0000000A 00000002", 100),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(request_: str, status: int, desk: Desk) -> None:
    fresh = get(desk, 0)
    assert int.from_bytes(desk.ask(request_)[14:16]) == status
    assert get(desk, 0) == fresh


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("0429 0000000E 00000009 00000000", "0433 00000012 00000009" + OK),
        ("042A 0000000E 00000009 00000000", "0434 00000012 00000009" + OK),
        ("042B 0000000E 00000009 00000000", "0435 00000012 00000009" + OK),
        ("042C 0000000A 00000009", "0436 00000012 00000009" + OK),
    ],
)
def test_there_are_no_access_specs(request_: str, answer: str, desk: Desk) -> None:
    assert desk.ask(request_) == hexed(answer)


def test_an_access_spec_is_refused(desk: Desk) -> None:
    assert int.from_bytes(desk.ask("0428 0000000E 00000009 00CF 0004")[14:16]) == 109
    assert int.from_bytes(desk.ask("042A 0000000E 00000009 00000001")[14:16]) == 101

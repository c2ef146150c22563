"""Which tags take part: masks of C1G2Filters over the EPC bank (Gen2, 6.3.2.1.2: CRC, PC, then the EPC from bit 32)."""

from __future__ import annotations

import pytest

from simulators.llrp.selection import Filter, crc, epc_memory, takes_part
from tests.simulators.llrp.desk import (
    CARTON,
    ENABLE,
    IMMEDIATE,
    PALLET,
    Desk,
    about_rospec,
    ai_spec,
    hexed,
    rospec,
    tag,
)

SSCC = Filter(bank=1, pointer=0x20, bits=8, mask=b"\x31")
PALLET_EPC, CARTON_EPC = bytes.fromhex(PALLET), bytes.fromhex(CARTON)


def filtered(*filters: str) -> str:
    """An AISpec for antenna 1 with C1G2Filters."""
    inner = "".join(filters)
    count = len(hexed(inner))
    return ai_spec(
        1, inventory=f"00BA {18 + count:04X} 0001 01 | 00DE {11 + count:04X} 0000 | 014A {5 + count:04X} 00 | {inner}"
    )


def filter_(mask: str, *, pointer: int = 0x20, bits: int, bank: int = 1, action: int | None = None) -> str:
    octets = hexed(mask)
    last = "" if action is None else f"014E 0005 {action:02X}"
    size = 9 + len(octets)
    whole = 5 + size + len(hexed(last))
    return f"014B {whole:04X} 40 | 014C {size:04X} {bank << 6:02X} {pointer:04X} {bits:04X} {mask} | {last}"


def seen(desk: Desk, *filters: str) -> list[str]:
    desk.portal.tags = [tag(PALLET), tag(CARTON)]
    answer = desk.ask(rospec(start=IMMEDIATE, ai_specs=[filtered(*filters)]))
    assert answer[14:16] == b"\0\0", answer.hex(" ")
    desk.ask(about_rospec(ENABLE))
    desk.reader.advance()
    return [each["epc"] for one in desk.reports() for each in one]


def test_only_tags_that_match_are_reported(desk: Desk) -> None:
    assert seen(desk, filter_("31", bits=8)) == [PALLET]


def test_a_mask_may_end_inside_a_byte(desk: Desk) -> None:
    assert seen(desk, filter_("30", bits=7)) == [PALLET, CARTON]


def test_a_mask_may_start_inside_a_byte(desk: Desk) -> None:
    assert seen(desk, filter_("10", pointer=0x24, bits=4)) == [PALLET]


def test_a_mask_may_cover_the_pc_word(desk: Desk) -> None:
    assert seen(desk, filter_("3000", pointer=0x10, bits=16)) == [PALLET, CARTON]


def test_no_bits_match_every_tag(desk: Desk) -> None:
    assert seen(desk, filter_("", bits=0)) == [PALLET, CARTON]


def test_a_mask_beyond_the_memory_of_the_tag_matches_none(desk: Desk) -> None:
    assert seen(desk, filter_("00", pointer=0x20 + 92, bits=8)) == []


def test_a_bank_that_the_tags_do_not_have_matches_none(desk: Desk) -> None:
    assert seen(desk, filter_("E2", bank=2, pointer=0, bits=8)) == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [(0, [PALLET]), (1, [PALLET]), (2, [PALLET]), (3, [CARTON]), (4, [CARTON]), (5, [CARTON])],
)
def test_the_action_says_which_side_takes_part(action: int, expected: list[str], desk: Desk) -> None:
    assert seen(desk, filter_("31", bits=8, action=action)) == expected


def test_a_second_filter_adds_what_it_selects(desk: Desk) -> None:
    assert seen(desk, filter_("31", bits=8, action=0), filter_("30", bits=8, action=1)) == [PALLET, CARTON]


def test_a_second_filter_takes_away_what_it_unselects(desk: Desk) -> None:
    assert seen(desk, filter_("30", bits=4, action=0), filter_("31", bits=8, action=3)) == [CARTON]


@pytest.mark.parametrize(
    ("filters", "parameter", "error"),
    [
        ([filter_("31", bits=8)] * 3, 331, 205),
        ([filter_("31", bits=8, action=6)], 334, 201),
        ([filter_("31", bits=8, bank=0)], 332, 201),
        (["014B 000F 80 | 014C 000A 40 0020 0008 31"], 331, 201),
        (["014B 000E 40 | 014C 0009 40 0020 0010"], 332, 200),
    ],
    ids=["too many", "no such action", "no such bank", "truncated replies", "bits that are not there"],
)
def test_filters_that_cannot_be_are_refused(filters: list[str], parameter: int, error: int, desk: Desk) -> None:
    answer = desk.ask(rospec(ai_specs=[filtered(*filters)]))
    length = int.from_bytes(answer[16:18])
    assert answer[18 + length :][4:8] == parameter.to_bytes(2) + error.to_bytes(2)


def test_the_readers_own_filter_holds_where_the_rospec_has_none(desk: Desk) -> None:
    inner = filter_("31", bits=8)
    count = len(hexed(inner))
    desk.ask(f"0403 {22 + count:08X} 00000003 00 | 00DE {11 + count:04X} 0000 | 014A {5 + count:04X} 00 | {inner}")
    desk.portal.tags = [tag(PALLET), tag(CARTON)]
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    desk.reader.advance()
    assert [each["epc"] for one in desk.reports() for each in one] == [PALLET]


def test_the_crc_of_an_epc_bank_checks_itself() -> None:
    memory = epc_memory(PALLET_EPC)
    assert memory[2:4] == bytes.fromhex("3000")
    assert memory[4:] == PALLET_EPC
    assert int.from_bytes(memory[:2]) == crc(PALLET_EPC)
    residue = 0xFFFF
    for byte in memory[2:] + memory[:2]:
        for bit in range(7, -1, -1):
            top = residue >> 15 ^ (byte >> bit & 1)
            residue = (residue << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    assert residue == 0x1D0F  # Gen2, annex F


def test_without_a_filter_all_take_part() -> None:
    assert takes_part(CARTON_EPC, ())
    assert not takes_part(CARTON_EPC, (SSCC,))

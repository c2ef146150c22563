"""What is reported, when, and what becomes of it when nobody takes it."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.llrp.model import Model
from simulators.llrp.selection import crc
from tests.simulators.llrp.desk import (
    BOOTED_US,
    CARTON,
    DELETE,
    ENABLE,
    EVENTS_ON,
    IMMEDIATE,
    LONG,
    OK,
    PALLET,
    STOP,
    Desk,
    StillPortal,
    about_rospec,
    ai_spec,
    decode_report,
    hexed,
    rospec,
    tag,
)

EVERYTHING = "00EE 000B FFC0 | 015C 0005 C0"
ON_REQUEST = "00ED 000D 00 0000 | 00EE 0006 9F80"
HOLD = "0403 00000010 00000003 00 00E2 0005 80"


def report(trigger: int, every: int, selector: str = "00EE 0006 9F80") -> str:
    parts = hexed(selector)
    return f"00ED {7 + len(parts):04X} {trigger:02X} {every:04X} {selector}"


def run(desk: Desk, seconds: float, **parts: Any) -> None:
    desk.ask(rospec(start=IMMEDIATE, **parts))
    desk.ask(about_rospec(ENABLE))
    desk.wait(seconds)


def get_report(desk: Desk) -> bytes:
    return desk.ask("043C 0000000A 00000077")


def test_a_tag_is_reported_with_what_the_selector_asks_for(desk: Desk) -> None:
    run(desk, 0.01, report=report(1, 1, EVERYTHING))
    assert desk.reports() == [
        [
            {
                "epc": PALLET,
                "rospec": 1,
                "spec_index": 1,
                "parameter_spec": 1,
                "antenna": 1,
                "rssi": -53,
                "channel": 3,
                "first_us": BOOTED_US,
                "last_us": BOOTED_US,
                "count": 1,
                "crc": crc(bytes.fromhex(PALLET)),
                "pc": 0x3000,
            }
        ]
    ]


@pytest.mark.parametrize(
    ("bit", "names"),
    [
        (0x8000, {"rospec"}),
        (0x4000, {"spec_index"}),
        (0x2000, {"parameter_spec"}),
        (0x1000, {"antenna"}),
        (0x0800, {"channel"}),
        (0x0400, {"rssi"}),
        (0x0200, {"first_us"}),
        (0x0100, {"last_us"}),
        (0x0080, {"count"}),
        (0x0040, set()),
        (0x0000, set()),
    ],
)
def test_each_field_has_its_bit(bit: int, names: set[str], desk: Desk) -> None:
    run(desk, 0.01, report=report(1, 1, f"00EE 0006 {bit:04X}"))
    ((shown,),) = desk.reports()
    assert shown.keys() == {"epc"} | names


def test_observations_are_merged_until_the_report(desk: Desk) -> None:
    run(desk, 0.01, report=ON_REQUEST)
    for rssi, channel in ((-60, 1), (-40, 2), (-50, 4)):
        desk.portal.tags = [tag(PALLET, rssi=rssi, channel=channel)]
        desk.wait(0.05)
    (merged,) = decode_report(get_report(desk))
    assert merged["count"] == 4
    assert merged["rssi"] == -40
    assert merged["channel"] == 3  # of the first observation
    assert merged["last_us"] - merged["first_us"] == 150_000


def test_antennas_are_told_apart_only_when_the_report_shows_them(desk: Desk) -> None:
    desk.portal.tags = [tag(PALLET, antenna=1), tag(PALLET, antenna=2)]
    run(desk, 0.01, report=report(0, 0, "00EE 0006 1080"))
    assert [(each["antenna"], each["count"]) for each in decode_report(get_report(desk))] == [(1, 1), (2, 1)]
    desk.ask(about_rospec(DELETE))
    run(desk, 0.01, report=report(0, 0, "00EE 0006 0080"))
    assert [each["count"] for each in decode_report(get_report(desk))] == [2]


def test_the_count_stays_at_its_highest(desk: Desk) -> None:
    desk.portal.tags = [tag(PALLET)] * 1000
    run(desk, 3.5, report=ON_REQUEST)
    (merged,) = decode_report(get_report(desk))
    assert merged["count"] == 0xFFFF


def test_an_epc_of_another_length_goes_as_epc_data(desk: Desk) -> None:
    desk.portal.tags = [tag(LONG)]
    run(desk, 0.01, report=report(1, 1, EVERYTHING))
    ((shown,),) = desk.reports()
    assert (shown["epc"], shown["pc"]) == (LONG, 0x4000)


def test_every_tag_is_a_report_of_its_own_with_n_1(desk: Desk) -> None:
    desk.portal.tags = [tag(PALLET), tag(CARTON)]
    run(desk, 0.06, report=report(1, 1))
    assert [[each["epc"] for each in one] for one in desk.reports()] == [[PALLET], [CARTON], [PALLET], [CARTON]]


def test_n_tags_make_a_report(desk: Desk) -> None:
    desk.portal.tags = [tag(PALLET), tag(CARTON)]
    run(desk, 0.01, report=report(2, 2))
    assert [[each["epc"] for each in one] for one in desk.reports()] == [[PALLET, CARTON]]


def test_fewer_than_n_tags_wait_for_the_end(desk: Desk) -> None:
    run(desk, 0.99, report=report(1, 2))
    assert desk.reports() == []
    desk.ask(about_rospec(STOP))
    ((merged,),) = desk.reports()
    assert merged["count"] == 20


@pytest.mark.parametrize(("trigger", "reports"), [(1, 2), (2, 1)], ids=["AISpec", "ROSpec"])
def test_without_n_the_end_makes_the_report(trigger: int, reports: int, desk: Desk) -> None:
    short = "00B8 0009 01 00000064"
    desk.ask(rospec(ai_specs=[ai_spec(0, stop=short), ai_spec(0, stop=short)], report=report(trigger, 0)))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec("0416"))
    desk.wait(1)
    assert len(desk.reports()) == reports


def test_the_end_is_told_after_the_last_report(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    desk.ask(rospec(stop="00B6 0009 01 00000064", report=report(2, 0)))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec("0416"))
    desk.wait(0.2)
    assert [message[1] for message in desk.unasked()] == [63, 63, 61, 63]


def test_on_request_only_the_request_brings_a_report(desk: Desk) -> None:
    run(desk, 1, report=ON_REQUEST)
    assert desk.reports() == []
    answer = get_report(desk)
    assert answer[:2] == hexed("043D")
    assert answer[6:10] == hexed("00000077")
    assert [each["epc"] for each in decode_report(answer)] == [PALLET]


def test_a_request_with_nothing_to_report_is_answered_too(desk: Desk) -> None:
    assert get_report(desk) == hexed("043D 0000000A 00000077")


def test_without_a_report_spec_that_of_the_reader_holds(desk: Desk) -> None:
    desk.ask("0403 00000018 00000003 00" + report(1, 1, "00EE 0006 0400"))
    run(desk, 0.01, report="")
    assert desk.reports() == [[{"epc": PALLET, "rssi": -53}]]


def test_reports_that_are_held_come_when_they_are_enabled(desk: Desk) -> None:
    assert desk.ask(HOLD)[10:] == hexed(OK)
    run(desk, 0.01)
    assert len(desk.reports()) == 1  # this connection is not a new one
    desk.reader.disconnect()
    desk.wait(0.5)
    desk.reader.connect()
    assert [message[1] for message in desk.reader.take().answers] == [63]
    assert desk.unasked() == []
    desk.ask("0440 0000000A 0000000C")
    assert len(desk.reports()) == 10


def test_without_hold_what_was_missed_comes_at_once(desk: Desk) -> None:
    run(desk, 0.01)
    desk.unasked()
    desk.reader.disconnect()
    desk.wait(0.5)
    desk.reader.connect()
    assert len(desk.reports()) == 10


def test_what_the_buffer_cannot_keep_is_lost_and_the_client_is_told(portal: StillPortal) -> None:
    desk = Desk(portal, model=Model(report_capacity=10))
    desk.ask(EVENTS_ON)
    run(desk, 0.01)
    desk.unasked()
    desk.reader.disconnect()
    desk.wait(2)
    desk.reader.connect()
    messages = desk.unasked()
    assert [message[1] for message in messages].count(61) == 9
    assert [message[26:] for message in messages if message[1] == 63] == [hexed("00FA 0005 50"), hexed("00FB 0004")]


def test_more_tags_than_a_report_can_gather_are_lost_and_the_client_is_told(portal: StillPortal) -> None:
    portal.tags = [tag(f"3114257BF400B7797A{number:06X}") for number in range(20)]
    desk = Desk(portal, model=Model(report_capacity=10))
    run(desk, 0.01, report=ON_REQUEST)
    assert len(decode_report(get_report(desk))) == 10
    assert [message[26:] for message in desk.unasked()] == [hexed("00FB 0004")]


class TestAReaderThatOmitsWhatHasNotChanged:
    @pytest.fixture
    def desk(self, portal: StillPortal) -> Desk:
        desk = Desk(portal, model=Model(omits_unchanged=True))
        run(desk, 0.01, report=report(1, 1, "00EE 0006 1480"))  # antenna, RSSI, count
        return desk

    def test_a_field_comes_again_when_it_has_changed(self, desk: Desk) -> None:
        for rssi, channel in ((-53, 3), (-60, 3), (-60, 4)):
            desk.portal.tags = [tag(PALLET, rssi=rssi, channel=channel)]
            desk.wait(0.05)
        assert desk.reports() == [
            [{"epc": PALLET, "antenna": 1, "rssi": -53, "count": 1}],
            [{"epc": PALLET}],
            [{"epc": PALLET, "rssi": -60}],
            [{"epc": PALLET}],
        ]

    def test_it_is_that_of_the_last_tag_whichever_that_was(self, desk: Desk) -> None:
        desk.unasked()
        desk.portal.tags = [tag(CARTON, antenna=2), tag(PALLET, antenna=1)]
        desk.wait(0.05)
        assert desk.reports() == [[{"epc": CARTON, "antenna": 2}], [{"epc": PALLET, "antenna": 1}]]

    def test_a_new_client_is_told_everything(self, desk: Desk) -> None:
        desk.unasked()
        desk.reader.disconnect()
        desk.wait(0.06)
        desk.reader.connect()
        desk.wait(0.05)
        assert [one[0].keys() for one in desk.reports()] == [{"epc", "antenna", "rssi", "count"}] * 2

    def test_after_a_lost_report_everything_is_told(self, desk: Desk) -> None:
        desk.reader.lose_reports(True)
        desk.wait(0.06)
        desk.reader.lose_reports(False)
        desk.wait(0.05)
        assert desk.reports()[0][0].keys() == {"epc", "antenna", "rssi", "count"}


def test_a_power_cycle_forgets_everything(desk: Desk) -> None:
    desk.ask(HOLD)
    run(desk, 1)
    desk.reader.power_cycle()
    desk.reader.connect()
    desk.wait(1)
    assert desk.unasked() == []
    assert len(desk.ask("041A 0000000A 00000002")) == 18

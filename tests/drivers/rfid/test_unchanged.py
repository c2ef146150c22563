"""What a reader leaves out is as before."""

from __future__ import annotations

from drivers.rfid.llrp.reports import TagReport, parse_reports
from drivers.rfid.llrp.unchanged import LastReports
from drivers.rfid.quiet import Quiet
from tests.drivers.rfid.scripted_reader import tag

OTHER = bytes.fromhex("3034257BF7194E4000001A85")


def _report(data: bytes) -> TagReport:
    (report,) = parse_reports(data)
    return report


def test_what_is_left_out_is_that_of_the_same_tag_at_the_same_antenna() -> None:
    last = LastReports()
    whole = last.complete(_report(tag(rssi=-40, first_us=1, last_us=2, count=3)))
    last.complete(_report(tag(OTHER, rssi=-70, first_us=7, last_us=8, count=9)))
    last.complete(_report(tag(antenna=2, rssi=-60, first_us=5, last_us=6, count=4)))
    assert last.complete(_report(tag(rssi=None, first_us=None, last_us=None, count=None, pc=None))) == whole


def test_what_comes_takes_the_place_of_what_was() -> None:
    last = LastReports()
    last.complete(_report(tag(rssi=-40, last_us=2)))
    last.complete(_report(tag(rssi=None, last_us=3)))
    found = last.complete(_report(tag(rssi=None)))
    assert (found.rssi_dbm, found.last_seen_us) == (-40, 3)


def test_an_antenna_that_is_left_out_is_that_of_the_report_before() -> None:
    last = LastReports()
    last.complete(_report(tag(antenna=2)))
    assert last.complete(_report(tag(OTHER, antenna=None))).antenna == 2


def test_a_signal_strength_is_never_that_of_another_tag() -> None:
    last = LastReports()
    last.complete(_report(tag(rssi=-40)))
    assert last.complete(_report(tag(OTHER, rssi=None))).rssi_dbm is None


def test_no_more_is_remembered_than_the_most() -> None:
    last = LastReports(most=10)
    for number in range(100):
        last.complete(_report(tag(number.to_bytes(12, "big"))))
    assert len(last) == 10


def test_the_same_thing_is_said_once_a_minute() -> None:
    quiet = Quiet()
    said = [second for second in range(130) if quiet.may_say("trouble", now_s=float(second))]
    assert said == [0, 60, 120]


def test_different_things_are_said_each() -> None:
    quiet = Quiet()
    assert all(quiet.may_say(number, now_s=0.0) for number in range(1000))

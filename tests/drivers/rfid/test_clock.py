"""Whose time is used."""

from __future__ import annotations

import pytest

from drivers.rfid.clock import ClockChoice, ReaderClock, iso_text

NOW_NS = 1_767_225_600_123_456_000
NOW_US = NOW_NS // 1000
YEAR_2000_US = 946_684_800_000_000
YEAR_2300_US = 10_413_792_000_000_000


def _clock(choice: ClockChoice, utc_us: int | None) -> ReaderClock:
    return ReaderClock(choice, utc_us=utc_us, now_ns=NOW_NS)


@pytest.mark.parametrize("offset_us", [-5_000_000, 0, 5_000_000])
def test_a_clock_that_is_right_within_seconds_is_believed(offset_us: int) -> None:
    clock = _clock(ClockChoice.AUTO, NOW_US + offset_us)
    assert clock.time_ns(NOW_US - 7, now_ns=NOW_NS) == NOW_NS - 7000
    assert not clock.is_distrusted


@pytest.mark.parametrize("utc_us", [YEAR_2000_US, NOW_US - 5_000_001, NOW_US + 5_000_001, None])
def test_a_clock_that_is_wrong_is_not_believed(utc_us: int | None) -> None:
    clock = _clock(ClockChoice.AUTO, utc_us)
    assert clock.time_ns(YEAR_2000_US, now_ns=NOW_NS) == NOW_NS
    assert clock.is_distrusted


def test_a_clock_that_jumps_ahead_later_is_not_believed_then() -> None:
    clock = _clock(ClockChoice.AUTO, NOW_US)
    assert clock.time_ns(NOW_US + 5_000_001, now_ns=NOW_NS) == NOW_NS


def test_who_wants_the_time_of_the_reader_gets_it() -> None:
    clock = _clock(ClockChoice.READER, YEAR_2000_US)
    assert clock.time_ns(YEAR_2000_US, now_ns=NOW_NS) == YEAR_2000_US * 1000
    assert not clock.is_distrusted


def test_who_wants_the_time_of_the_gateway_gets_it() -> None:
    clock = _clock(ClockChoice.GATEWAY, NOW_US)
    assert clock.time_ns(NOW_US - 7, now_ns=NOW_NS) == NOW_NS
    assert not clock.is_distrusted


@pytest.mark.parametrize("choice", ClockChoice)
@pytest.mark.parametrize("utc_us", [None, 2**64 - 1, YEAR_2300_US])
def test_a_time_that_is_none_is_never_used(choice: ClockChoice, utc_us: int | None) -> None:
    assert _clock(choice, NOW_US).time_ns(utc_us, now_ns=NOW_NS) == NOW_NS


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (NOW_NS, "2026-01-01T00:00:00.123456Z"),
        (NOW_NS + 999, "2026-01-01T00:00:00.123456Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999_000, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_microseconds(time_ns: int, text: str) -> None:
    assert iso_text(time_ns) == text

"""The life of a ROSpec: added, enabled, started, ended, and everything about it that is refused."""

from __future__ import annotations

import struct

import pytest

from tests.simulators.llrp.desk import (
    BOOTED_US,
    CARTON,
    DELETE,
    DISABLE,
    ENABLE,
    EVENTS_ON,
    IMMEDIATE,
    OK,
    PALLET,
    START,
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

PERIODIC = "00B3 0011 02 | 00B4 000C {offset:08X} {period:08X}"
GET_ROSPECS = "041A 0000000A 00000002"


def ok(answer: bytes) -> bool:
    return answer[10:] == hexed(OK)


def refusal(answer: bytes) -> tuple[int, int | None, int | None, int | None]:
    """Status, and of the error inside it: the parameter (None for the message), its error, and the field's error."""
    kind, _, code, length = struct.unpack_from(">HHHH", answer, 10)
    assert kind == 287
    detail = answer[18 + length :]
    parameter = error = field = None
    if detail[:2] == hexed("0121"):
        parameter, error = struct.unpack_from(">HH", detail, 4)
        detail = detail[8:]
    if detail[:2] == hexed("0120"):
        (field,) = struct.unpack_from(">H", detail, 6)
    return code, parameter, error, field


def state(desk: Desk) -> int | None:
    """Of the only ROSpec, as GET_ROSPECS shows it."""
    answer = desk.ask(GET_ROSPECS)
    return answer[27] if len(answer) > 18 else None


def times_read(desk: Desk) -> int:
    count = len(desk.portal.rounds)
    desk.portal.rounds.clear()
    return count


def test_it_goes_from_disabled_to_inactive_to_active_and_back(desk: Desk) -> None:
    seen = []
    for request in (
        rospec(),
        about_rospec(ENABLE),
        about_rospec(START),
        about_rospec(STOP),
        about_rospec(DISABLE),
        about_rospec(DELETE),
    ):
        assert ok(desk.ask(request))
        seen.append(state(desk))
    assert seen == [0, 1, 2, 1, 0, None]


def test_it_is_shown_as_it_was_added(desk: Desk) -> None:
    added = hexed(rospec())
    desk.ask(rospec())
    assert desk.ask(GET_ROSPECS)[18:] == added[10:]


def test_it_reads_at_the_rate_of_the_reader_while_it_is_active(desk: Desk) -> None:
    desk.ask(rospec())
    desk.ask(about_rospec(ENABLE))
    desk.wait(1)
    assert times_read(desk) == 0
    desk.ask(about_rospec(START))
    desk.wait(0.98)
    assert times_read(desk) == 20
    desk.ask(about_rospec(STOP))
    desk.wait(1)
    assert times_read(desk) == 0


def test_another_rate_can_be_had(portal: StillPortal) -> None:
    desk = Desk(portal, rounds_per_s=100)
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    desk.wait(0.995)
    assert times_read(desk) == 100


def test_rounds_that_were_missed_are_not_made_up_for(desk: Desk) -> None:
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    desk.clock.now_s = 60
    for _ in range(10):
        desk.reader.advance()
    assert times_read(desk) == 1


@pytest.mark.parametrize(("antennas", "asked"), [((1,), [1]), ((2,), [2]), ((0,), [1, 2]), ((2, 1), [1, 2])])
def test_it_reads_with_the_antennas_of_its_ai_spec(antennas: tuple[int, ...], asked: list[int], desk: Desk) -> None:
    desk.ask(rospec(start=IMMEDIATE, ai_specs=[ai_spec(*antennas)]))
    desk.ask(about_rospec(ENABLE))
    desk.reader.advance()
    assert desk.portal.rounds == [asked]


def test_immediate_starts_when_enabled(desk: Desk) -> None:
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    assert state(desk) == 2


def test_immediate_starts_again_after_its_duration(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    desk.ask(rospec(start=IMMEDIATE, stop="00B6 0009 01 000000C8"))
    desk.ask(about_rospec(ENABLE))
    desk.wait(1)
    started = [message for message in desk.unasked() if message[26:31] == hexed("00F9 000D 00")]
    assert len(started) == 5


def test_immediate_stays_stopped_when_a_client_has_stopped_it(desk: Desk) -> None:
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(STOP))
    desk.wait(1)
    assert state(desk) == 1


def test_periodic_starts_after_its_offset_and_every_period(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    desk.ask(rospec(start=PERIODIC.format(offset=500, period=2000), stop="00B6 0009 01 000001F4"))
    desk.ask(about_rospec(ENABLE))
    states = []
    for _ in range(5):
        desk.wait(0.7)
        states.append(state(desk))
    assert states == [2, 1, 1, 2, 1]  # on from 0.5 to 1.0 and from 2.5 to 3.0


def test_periodic_without_a_period_starts_once(desk: Desk) -> None:
    desk.ask(rospec(start=PERIODIC.format(offset=0, period=0), stop="00B6 0009 01 00000064"))
    desk.ask(about_rospec(ENABLE))
    desk.wait(10)
    assert times_read(desk) <= 3


@pytest.mark.parametrize(("utc_s", "starts_at_s"), [(3, 3), (-1, 4)], ids=["to come", "gone by"])
def test_periodic_can_start_at_a_time_of_day(utc_s: int, starts_at_s: int, desk: Desk) -> None:
    utc_us = BOOTED_US + utc_s * 1_000_000
    desk.ask(rospec(start=f"00B3 001D 02 | 00B4 0018 00000000 00001388 | 0080 000C {utc_us:016X}"))
    desk.ask(about_rospec(ENABLE))
    desk.wait(starts_at_s - 0.01)
    assert state(desk) == 1
    desk.wait(0.02)
    assert state(desk) == 2


@pytest.mark.parametrize(
    ("stop", "ends_after_s"),
    [
        ("00B8 0009 01 000001F4", 0.5),
        ("00B8 0019 03 00000000 | 00B9 0010 00 00 000A 0000 0000 00000000", 0.45),
        ("00B8 0019 03 00000000 | 00B9 0010 00 00 03E8 0000 0000 00000320", 0.8),
        ("00B8 0019 03 00000000 | 00B9 0010 01 00 0000 0000 00C8 00000000", 0.2),
        ("00B8 0019 03 00000000 | 00B9 0010 02 00 0000 0005 0000 00000000", 0.2),
    ],
    ids=["duration", "10 observations", "too few observations in time", "no new tag", "5 attempts"],
)
def test_an_ai_spec_ends_at_its_stop_trigger(stop: str, ends_after_s: float, desk: Desk) -> None:
    desk.ask(rospec(ai_specs=[ai_spec(1, stop=stop)]))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(START))
    desk.wait(ends_after_s - 0.01)
    assert state(desk) == 2
    desk.wait(0.02)
    assert state(desk) == 1


def test_a_new_tag_puts_off_the_end_for_lack_of_new_tags(desk: Desk) -> None:
    stop = "00B8 0019 03 00000000 | 00B9 0010 01 00 0000 0000 00C8 00000000"
    desk.ask(rospec(ai_specs=[ai_spec(1, stop=stop)]))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(START))
    desk.wait(0.12)
    desk.portal.tags.append(tag(CARTON))
    desk.wait(0.2)
    assert state(desk) == 2
    desk.wait(0.1)
    assert state(desk) == 1


def test_ai_specs_run_one_after_the_other(desk: Desk) -> None:
    specs = [ai_spec(1, stop="00B8 0009 01 00000064"), ai_spec(2, stop="00B8 0009 01 00000064")]
    desk.ask(rospec(ai_specs=specs))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(START))
    desk.wait(1)
    asked = list(desk.portal.rounds)
    assert asked == sorted(asked)
    assert {tuple(each) for each in asked} == {(1,), (2,)}
    assert state(desk) == 1


def test_the_client_is_told_of_starts_and_ends_if_it_wants_to_know(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    desk.ask(rospec(stop="00B6 0009 01 00000064"))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(START))
    desk.wait(0.2)
    told = [message[26:] for message in desk.unasked() if message[1] == 63]
    assert told == [
        hexed("00F9 000D 00 00000001 00000000"),
        hexed("00FE 000B 00 00000001 0001"),
        hexed("00F9 000D 01 00000001 00000000"),
    ]


def test_the_client_is_not_told_what_it_has_not_asked_for(desk: Desk) -> None:
    desk.ask(rospec(stop="00B6 0009 01 00000064"))
    desk.ask(about_rospec(ENABLE))
    desk.ask(about_rospec(START))
    desk.wait(0.2)
    assert {message[1] for message in desk.unasked()} == {61}


def test_a_lost_antenna_sees_nothing_and_the_client_is_told(desk: Desk) -> None:
    desk.ask(EVENTS_ON)
    desk.ask(rospec(start=IMMEDIATE))
    desk.ask(about_rospec(ENABLE))
    desk.reader.lose_antennas(frozenset({1}))
    desk.wait(0.2)
    messages = desk.unasked()
    assert [message[26:] for message in messages if message[26:28] == hexed("00FF")] == [hexed("00FF 0007 00 0001")]
    assert not [message for message in messages if message[1] == 61]
    desk.reader.lose_antennas(frozenset())
    desk.wait(0.2)
    messages = desk.unasked()
    assert [message[26:] for message in messages if message[26:28] == hexed("00FF")] == [hexed("00FF 0007 01 0001")]
    assert decode_report(messages[-1])[0]["epc"] == PALLET


def test_enabling_deleting_and_disabling_all_needs_no_rospec(desk: Desk) -> None:
    for word in (ENABLE, DISABLE, DELETE):
        assert ok(desk.ask(about_rospec(word, 0)))


@pytest.mark.parametrize("word", [ENABLE, DISABLE, DELETE, START, STOP])
def test_a_rospec_that_is_not_there_is_refused(word: str, desk: Desk) -> None:
    desk.ask(rospec())
    assert refusal(desk.ask(about_rospec(word, 2))) == (101, None, None, 300)


@pytest.mark.parametrize("word", [START, STOP])
def test_all_cannot_be_started_or_stopped(word: str, desk: Desk) -> None:
    desk.ask(rospec())
    desk.ask(about_rospec(ENABLE))
    assert refusal(desk.ask(about_rospec(word, 0))) == (101, None, None, 300)


def test_a_disabled_one_cannot_be_started(desk: Desk) -> None:
    desk.ask(rospec())
    assert refusal(desk.ask(about_rospec(START))) == (101, None, None, 300)
    assert state(desk) == 0


def test_there_is_room_for_one(desk: Desk) -> None:
    desk.ask(rospec())
    assert refusal(desk.ask(rospec(id_=2)))[0] == 105


RF = "00BA {length:04X} 0001 01 | 00DE {inner:04X} 0001 | {parts}"


def with_antenna(parts: str) -> str:
    count = len(hexed(parts))
    return ai_spec(1, inventory=RF.format(length=7 + 6 + count, inner=6 + count, parts=parts))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (rospec(id_=0), (100, 177, 201, 300)),
        (rospec(state=1), (100, 177, 201, 300)),
        (rospec(start="00B3 0005 03"), (100, 179, 201, 300)),
        (rospec(stop="00B6 0009 02 00000000"), (100, 182, 201, 300)),
        (rospec(start="00B3 0005 02"), (100, 180, 203, None)),
        (rospec(ai_specs=[ai_spec(3)]), (100, 183, 201, 301)),
        (rospec(ai_specs=[ai_spec(1, stop="00B8 0009 02 00000000")]), (100, 184, 201, 300)),
        (rospec(ai_specs=[ai_spec(1, inventory="")]), (100, 186, 203, None)),
        (rospec(ai_specs=[ai_spec(1, inventory="00BA 0007 0001 01 00BA 0007 0002 01")]), (100, 186, 205, None)),
        (rospec(ai_specs=[ai_spec(1, inventory="00BA 0007 0001 02")]), (100, 186, 201, 301)),
        (rospec(ai_specs=[ai_spec(1)] * 33), (100, 183, 205, None)),
        (rospec(ai_specs=["00BB 0004"]), (100, 187, 209, None)),
        (rospec(report="00ED 000D 03 0001 | 00EE 0006 9F80"), (100, 237, 201, 300)),
        (rospec(report="00ED 000D 01 0001 | 00EE 0006 9F81"), (100, 238, 201, 300)),
        (rospec(ai_specs=[with_antenna("00E0 000A 0001 0001 0051")]), (100, 224, 201, 301)),
        (rospec(ai_specs=[with_antenna("00E0 000A 0001 0005 0001")]), (100, 224, 201, 301)),
        (rospec(ai_specs=[with_antenna("00DF 0006 0002")]), (100, 223, 201, 301)),
        (rospec(ai_specs=[with_antenna("014A 000D 00 | 014F 0008 03E9 0000")]), (100, 335, 201, 301)),
        (rospec(ai_specs=[with_antenna("014A 0005 80")]), (100, 330, 201, 300)),
        (rospec(ai_specs=[with_antenna("03FF 000C 0000651A 00000017")]), (100, 1023, 209, None)),
        (rospec(report="012C 0004"), (100, 300, 207, None)),
        (rospec(report="00B2 0004"), (100, 178, 202, None)),
        ("0414 0000000A 00000101", (103, None, None, None)),
        ("0414 0000000E 00000101 00B1 0040", (100, None, None, None)),
        ("0414 0000000E 00000101 00B1 0004", (100, 177, 200, None)),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_added(
    request_: str, expected: tuple[int, int | None, int | None, int | None], desk: Desk
) -> None:
    assert refusal(desk.ask(request_)) == expected
    assert state(desk) is None


def test_power_channel_mode_and_session_that_exist_are_taken(desk: Desk) -> None:
    parts = (
        "00DF 0006 0001 | 00E0 000A 0000 0004 0002 | 014A 0018 00 | 014F 0008 03E8 0000 | 0150 000B 40 0020 00000000"
    )
    assert ok(desk.ask(rospec(ai_specs=[with_antenna(parts)])))

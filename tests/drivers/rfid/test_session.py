"""Tags from a reader over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from drivers.model import Level
from drivers.rfid.clock import iso_text
from tests.drivers.rfid.listener import carried, driver, listening
from tests.drivers.rfid.scripted_reader import (
    CAPABILITIES,
    OK,
    SSCC,
    ScriptedReader,
    connection_attempt,
    event,
    message,
    report,
    rospec_event,
    status,
    tag,
)

EPC = SSCC.hex().upper()
URI = "urn:epc:id:sscc:0614141.1234567890"
OTHER = bytes.fromhex("3034257BF7194E4000001A85")
YEAR_2000_US = 946_684_800_000_000


@pytest.fixture
async def reader() -> AsyncIterator[ScriptedReader]:
    async with ScriptedReader().listening() as listening_reader:
        yield listening_reader


async def test_a_tag_is_a_reading_with_all_that_is_known_of_it(reader: ScriptedReader) -> None:
    now_us = time.time_ns() // 1000
    async with listening(reader) as listener:
        listener.client.send(report(tag(rssi=-53, count=7, first_us=now_us - 250_000, last_us=now_us)))
        reading = await anext(listener.readings)
    assert carried(reading) == {
        "epc": EPC,
        "uri": URI,
        "antenna": 1,
        "rssi": -53,
        "seen_count": 7,
        "first_seen": iso_text((now_us - 250_000) * 1000),
        "last_seen": iso_text(now_us * 1000),
    }
    assert reading.observed_at_ns == now_us * 1000
    assert not reading.quality
    assert reading.group.events


async def test_the_reader_is_set_up_in_this_order_and_left_in_that(reader: ScriptedReader) -> None:
    async with listening(reader, antennas=[1, 2], keepalive="10s"):
        pass
    asked = [kind for kind, _ in reader.seen]
    assert asked == [1, 3, 21, 20, 24, 22, 64, 23, 21, 14]
    bodies = [body.hex() for _, body in reader.seen]
    events_on = "00f40027 00f50007000280 00f50007000380 00f50007000480 00f50007000600 00f50007000880"
    assert bodies[1] == f"00{events_on}00dc00090100002710".replace(" ", "")
    assert bodies[2] == "00000000"
    assert bodies[3] == (
        "00b1004848474154000000b2001200b300050000b60009000000000000b7001a00020001000200b80009000000000000ba0007000101"
        "00ed001201000100ee000b9f80015c000540"
    )
    assert (bodies[7], bodies[8]) == ("48474154", "48474154")


async def test_a_periodic_reading_is_enabled_and_not_started(reader: ScriptedReader) -> None:
    async with listening(reader, duration="2s", periodic="30s"):
        pass
    assert [kind for kind, _ in reader.seen] == [1, 3, 21, 20, 24, 64, 23, 21, 14]


async def test_a_factory_reset_is_asked_for_only_by_who_wants_it(reader: ScriptedReader) -> None:
    async with listening(reader, factory_reset=True):
        pass
    async with listening(reader):
        pass
    assert [body[0] for kind, body in reader.seen if kind == 3] == [0x80, 0x00]


async def test_reports_may_be_cut_anywhere_and_joined(reader: ScriptedReader) -> None:
    frames = report(tag(SSCC)) + message(62, 1) + report(tag(OTHER), tag(OTHER, antenna=2))
    async with listening(reader, window="none") as listener:
        for cut in range(len(frames)):
            listener.client.send(frames[:cut])
            await asyncio.sleep(0)
            listener.client.send(frames[cut:])
            found = [await listener.next() for _ in range(3)]
            assert [(each["epc"], each["antenna"]) for each in found] == [
                (EPC, 1),
                (OTHER.hex().upper(), 1),
                (OTHER.hex().upper(), 2),
            ]


async def test_headers_of_llrp_1_1_are_accepted(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(message(61, 1, tag(), version=2))
        assert (await listener.next())["epc"] == EPC


async def test_a_tag_that_stays_is_one_reading(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(*[report(tag())] * 500, report(tag(OTHER)))
        assert [(await listener.next())["epc"] for _ in range(2)] == [EPC, OTHER.hex().upper()]


async def test_without_a_window_every_report_is_a_reading(reader: ScriptedReader) -> None:
    async with listening(reader, window="none") as listener:
        listener.client.send(*[report(tag())] * 5)
        assert [(await listener.next())["epc"] for _ in range(5)] == [EPC] * 5


async def test_a_departure_is_told_when_the_window_has_passed(reader: ScriptedReader) -> None:
    async with listening(reader, window="20ms", report_tags="departure") as listener:
        listener.client.send(report(tag(rssi=-60, count=2)), report(tag(rssi=-40, count=3)))
        found = await listener.next()
    assert (found["epc"], found["seen_count"], found["rssi"]) == (EPC, 5, -40)


async def test_a_departure_is_told_while_other_tags_keep_coming(reader: ScriptedReader) -> None:
    made = driver(
        reader.url,
        {"name": "left", "antennas": [1], "window": "20ms", "report_tags": "departure"},
        {"name": "right", "antennas": [2], "window": "none"},
    )
    async with listening(reader, made) as listener:
        listener.client.send(report(tag(antenna=1)))
        names = set()
        while "left" not in names:
            listener.client.send(report(tag(OTHER, antenna=2)))
            names.add((await anext(listener.readings)).group.device)


async def test_a_lost_connection_ends_a_stay_and_the_next_session_tells_of_it(reader: ScriptedReader) -> None:
    made = driver(reader.url, window="1h", report_tags="both")
    async with listening(reader, made) as listener:
        listener.client.send(report(tag(count=4)), report(tag(OTHER)))
        assert [(await listener.next())["seen_count"] for _ in range(2)] == [4, 1]
    async with listening(reader, made) as listener:
        assert [(await listener.next())["seen_count"] for _ in range(2)] == [4, 1]
        listener.client.send(report(tag(count=2)))
        assert (await listener.next())["seen_count"] == 2


async def test_what_the_reader_leaves_out_is_as_in_its_last_report(reader: ScriptedReader) -> None:
    async with listening(reader, window="none") as listener:
        listener.client.send(report(tag(rssi=-44, count=3)), report(tag(rssi=None, antenna=None, count=None)))
        await listener.next()
        found = await listener.next()
    assert (found["rssi"], found["antenna"], found["seen_count"]) == (-44, 1, 3)


async def test_what_the_reader_never_said_is_no_value(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(report(tag(rssi=None, antenna=None, count=None)))
        reading = await anext(listener.readings)
    found = carried(reading)
    assert (found["rssi"], found["antenna"], found["seen_count"]) == (None, None, 1)
    assert not reading.quality


async def test_tags_that_do_not_begin_as_asked_are_left_out_also_when_the_reader_tells_them(
    reader: ScriptedReader,
) -> None:
    async with listening(reader, filter="3034") as listener:
        listener.client.send(report(tag(SSCC)), report(tag(OTHER)))
        assert (await listener.next())["epc"] == OTHER.hex().upper()


async def test_two_portals_share_a_reader_by_its_antennas(reader: ScriptedReader) -> None:
    made = driver(reader.url, {"name": "left", "antennas": [1]}, {"name": "right", "antennas": [2]})
    async with listening(reader, made) as listener:
        listener.client.send(report(tag(OTHER, antenna=2), tag(antenna=1), tag(antenna=9), tag(antenna=2)))
        found = [await anext(listener.readings) for _ in range(3)]
    assert [(each.group.device, each.values[2]) for each in found] == [("right", 2), ("left", 1), ("right", 2)]


async def test_a_tag_that_gs1_does_not_number_has_its_application_family(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(report(tag(pc=0x31A2)))
        assert (await listener.next())["uri"] == f"urn:epc:raw:96.xA2.x{EPC}"


async def test_times_of_a_reader_whose_clock_is_wrong_are_not_used_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = ScriptedReader(greeting=lambda: connection_attempt(0, utc_us=YEAR_2000_US))
    async with wrong.listening():
        made = driver(wrong.url)
        for _ in range(2):
            before_ns = time.time_ns()
            async with listening(wrong, made) as listener:
                listener.client.send(report(tag(first_us=YEAR_2000_US, last_us=YEAR_2000_US + 5)))
                reading = await anext(listener.readings)
            assert before_ns <= reading.observed_at_ns <= time.time_ns()
            assert carried(reading)["first_seen"] == iso_text(reading.observed_at_ns)
        said = [record for record in caplog.records if "the clock of the reader is not used" in record.message]
        assert len(said) == 1
        wrong.greeting = lambda: connection_attempt(0)
        async with listening(wrong, made) as listener:
            now_us = time.time_ns() // 1000
            listener.client.send(report(tag(last_us=now_us)))
            assert (await listener.next())["last_seen"] == iso_text(now_us * 1000)


async def test_a_report_that_contradicts_itself_is_one_bad_reading_until_one_is_understood(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    garbled = report(tag(), b"\x00\xf0\x00\x04")
    async with listening(reader, window="none") as listener:
        listener.client.send(garbled, garbled, report(tag(OTHER)), garbled)
        found = [await anext(listener.readings) for _ in range(6)]
    assert [carried(each)["epc"] for each in found] == [EPC, None, EPC, OTHER.hex().upper(), EPC, None]
    assert {str(quality) for quality in found[1].quality.values()} == {"bad:bad-response"}
    assert all(quality.level is Level.BAD for quality in found[1].quality.values())
    assert sum("contradicts itself" in record.message for record in caplog.records) == 2


async def test_tags_without_an_antenna_are_told_to_be_lost_where_portals_share_the_reader(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    portals = driver(reader.url, {"name": "in", "antennas": [1]}, {"name": "out", "antennas": [2]})
    async with listening(reader, portals) as listener:
        listener.client.send(report(tag(antenna=None), tag(OTHER, antenna=None)), report(tag(antenna=2)))
        found = [await anext(listener.readings) for _ in range(3)]
    assert [(each.group.device, carried(each)["epc"]) for each in found] == [("in", None), ("out", None), ("out", EPC)]
    assert [each.levelname for each in caplog.records if "which antenna" in each.message] == ["ERROR"]


async def test_tags_that_come_before_the_answer_to_the_start_are_not_lost(reader: ScriptedReader) -> None:
    reader.answers[22] = lambda number, _: report(tag()) + rospec_event(0) + message(32, number, OK)
    async with listening(reader) as listener:
        assert (await listener.next())["epc"] == EPC


async def test_tags_that_somebody_else_has_asked_for_are_not_ours(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = report(tag(rospec=1), tag(rospec=1))
    reader.answers[21] = lambda number, _: theirs + theirs + message(31, number, OK)
    async with listening(reader) as listener:
        listener.client.send(report(tag(OTHER)))
        assert (await listener.next())["epc"] == OTHER.hex().upper()
    assert [each.getMessage() for each in caplog.records if "another client" in each.message] == [
        f"{reader.url}: 2 tags are left out that another client has asked for"
    ]


@pytest.mark.parametrize("kind", [1, 21, 64])
async def test_tags_that_the_reader_has_seen_for_us_while_the_connection_was_lost_are_told(
    reader: ScriptedReader, kind: int
) -> None:
    answer = {1: (11, CAPABILITIES), 21: (31, OK)}.get(kind)
    reader.answers[kind] = lambda number, _: report(tag()) + (message(answer[0], number, answer[1]) if answer else b"")
    async with listening(reader) as listener:
        assert (await listener.next())["epc"] == EPC


async def test_two_passes_that_a_stalled_network_tells_at_once_are_two(reader: ScriptedReader) -> None:
    now_us = time.time_ns() // 1000
    first, second = ((now_us - ago_us, now_us - ago_us) for ago_us in (4_000_000, 500_000))
    async with listening(reader, window="1s") as listener:
        for first_us, last_us in (first, second):
            listener.client.send(report(tag(first_us=first_us, last_us=last_us)))
        assert (await listener.next())["first_seen"] < (await listener.next())["first_seen"]  # type: ignore[operator]


async def test_a_keepalive_is_answered_with_its_number(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(message(62, 0x55), report(tag()))
        await listener.next()
        assert await listener.client.next(72) == (0x55, b"")


async def test_messages_of_vendors_are_passed_over(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(message(1023, 1, bytes.fromhex("0000651a16ffff")), report(tag()))
        assert (await listener.next())["epc"] == EPC


async def test_an_answer_is_told_from_others_by_its_number(reader: ScriptedReader) -> None:
    reader.answers[20] = lambda number, _: (
        message(30, number + 1000, status(101, "not yours")) + message(100, 0, status(109)) + message(30, number, OK)
    )
    async with listening(reader) as listener:
        listener.client.send(report(tag()))
        assert (await listener.next())["epc"] == EPC


async def test_a_reader_that_numbers_its_answers_itself_is_understood(reader: ScriptedReader) -> None:
    numbers = iter(range(1000, 2000))
    kinds = {1: (11, CAPABILITIES), 14: (4, OK)} | {kind: (kind + 10, OK) for kind in (3, 20, 21, 22, 23, 24)}
    for kind, (answer, body) in kinds.items():
        reader.answers[kind] = lambda _, __, answer=answer, body=body: message(answer, next(numbers), body)
    async with listening(reader) as listener:
        listener.client.send(report(tag()))
        assert (await listener.next())["epc"] == EPC


async def test_a_reader_without_event_holding_is_not_told_to_stop_holding(reader: ScriptedReader) -> None:
    reader.answers[1] = lambda number, _: message(11, number, OK)
    async with listening(reader):
        pass
    assert 64 not in [kind for kind, _ in reader.seen]


async def test_llrp_1_1_is_spoken_with_a_reader_that_knows_it(reader: ScriptedReader) -> None:
    reader.answers[46] = lambda number, _: message(56, number, b"\1\2" + OK, version=2)
    async with listening(reader, version="1.1") as listener:
        words = [await listener.client.requests.get() for _ in range(3)]
    assert [(word >> 10, word & 0x3FF) for word, _, _ in words] == [(2, 46), (2, 47), (2, 1)]
    assert words[1][2] == b"\2"


async def test_a_reader_of_1_0_1_is_spoken_to_in_1_0_1(reader: ScriptedReader) -> None:
    reader.answers[46] = lambda number, _: message(100, number, status(110))
    async with listening(reader, version="1.1") as listener:
        words = [await listener.client.requests.get() for _ in range(2)]
    assert [(word >> 10, word & 0x3FF) for word, _, _ in words] == [(2, 46), (1, 1)]


async def test_others_get_their_turn_during_a_message_of_thousands_of_tags(reader: ScriptedReader) -> None:
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async with listening(reader) as listener:
        listener.client.send(report(*[tag()] * 2000), report(tag(OTHER)))
        await listener.next()
        counting = asyncio.create_task(count())
        await listener.next()
        counting.cancel()
        await asyncio.wait([counting])
    assert len(turns) >= 2000 // 50 - 1


async def test_events_of_other_kinds_are_passed_over(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(event(bytes.fromhex("00f7000800010002")), rospec_event(1, 99), report(tag()))
        assert (await listener.next())["epc"] == EPC

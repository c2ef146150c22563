"""Readers that refuse, fall silent, hang up, restart and complain."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.rfid.llrp.connection import Connection
from tests.drivers.rfid.listener import carried, driver, listening
from tests.drivers.rfid.scripted_reader import (
    BUFFER_80_PERCENT,
    BUFFER_OVERFLOW,
    CONNECTION_CLOSE,
    OK,
    SSCC,
    ScriptedReader,
    antenna_event,
    connection_attempt,
    event,
    exception_event,
    message,
    report,
    rospec_event,
    status,
    tag,
)

EPC = SSCC.hex().upper()


@pytest.fixture
async def reader() -> AsyncIterator[ScriptedReader]:
    async with ScriptedReader().listening() as listening_reader:
        yield listening_reader


async def _cannot_connect(reader: ScriptedReader, **keys: object) -> DeviceUnavailable:
    with pytest.raises(DeviceUnavailable) as caught:
        async with listening(reader, **keys):
            pass
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("code", "text"), [(1, "to which the reader itself"), (2, "another client has it"), (3, "status 3")]
)
async def test_a_reader_that_belongs_to_somebody_else_says_so(reader: ScriptedReader, code: int, text: str) -> None:
    reader.greeting = lambda: connection_attempt(code)
    error = await _cannot_connect(reader)
    assert text in error.message
    assert reader.seen == []


async def test_nothing_is_sent_before_the_reader_has_greeted(reader: ScriptedReader) -> None:
    reader.greeting = lambda: b""
    error = await _cannot_connect(reader, timeout="50ms")
    assert "no connection event" in error.message
    assert error.reason is Reason.TIMEOUT
    assert reader.seen == []


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
async def test_a_port_that_is_no_llrp_reader_is_named_as_that(reader: ScriptedReader, greeting: bytes) -> None:
    reader.greeting = lambda: greeting
    error = await _cannot_connect(reader)
    assert "cannot be LLRP" in error.message
    assert "port" in error.hint


async def test_a_reader_that_is_not_there_is_unavailable(reader: ScriptedReader) -> None:
    gone = ScriptedReader()
    async with gone.listening():
        pass
    error = await _cannot_connect(gone)
    assert "Connection refused" in error.message


async def test_a_host_that_does_not_resolve_is_named() -> None:
    with pytest.raises(DeviceUnavailable, match=r"the host name reader\.invalid does not resolve"):
        async with driver("llrp://reader.invalid").connect():
            pass


async def test_a_refused_rospec_is_told_in_the_words_of_the_reader(reader: ScriptedReader) -> None:
    refusal = bytes.fromhex(
        "011F002500650 00D52465472616E736D69747465720121001000E000C9012000080000012D".replace(" ", "")
    )
    reader.answers[20] = lambda number, _: message(30, number, refusal)
    error = await _cannot_connect(reader)
    assert "RF_TRANSMITTER (224) P_FieldError (201)" in error.message
    assert error.reason is Reason.DEVICE_ERROR


async def test_an_error_message_is_an_answer_too(reader: ScriptedReader) -> None:
    reader.answers[24] = lambda number, _: message(100, number, status(109, "unknown"))
    assert 'M_UnsupportedMessage (109): "unknown"' in (await _cannot_connect(reader)).message


async def test_a_request_without_an_answer_is_given_up(reader: ScriptedReader) -> None:
    reader.answers[1] = lambda *_: b""
    error = await _cannot_connect(reader, timeout="50ms")
    assert "asking what it can do" in error.message
    assert error.reason is Reason.TIMEOUT


@pytest.mark.parametrize("answer", [b"", b"\x01\x1f\x00\x09\x00\x00\x00\x00", OK + b"\x00\x89\x00\x05\x00"])
async def test_an_answer_that_contradicts_itself_is_told(reader: ScriptedReader, answer: bytes) -> None:
    reader.answers[1] = lambda number, _: message(11, number, answer)
    assert "contradicts itself" in (await _cannot_connect(reader)).message


async def test_an_answer_that_drowns_in_reports_is_given_up(reader: ScriptedReader) -> None:
    reader.answers[1] = lambda *_: report(tag()) * 9000
    assert "other messages came and no answer" in (await _cannot_connect(reader)).message


async def test_settings_that_the_reader_cannot_do_are_told_before_it_is_asked(reader: ScriptedReader) -> None:
    error = await _cannot_connect(reader, power=5)
    assert "power 5 dBm is not possible; the reader offers 10 to 30 dBm" in error.message
    assert 20 not in [kind for kind, _ in reader.seen]


async def test_a_reader_that_refuses_events_is_used_without_them(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    reader.answers[3] = lambda number, body: message(13, number, status(101) if b"\x00\xf4" in body else OK)
    async with listening(reader) as listener:
        listener.client.send(report(tag()))
        assert (await listener.next())["epc"] == EPC
    assert [body.hex() for kind, body in reader.seen if kind == 3][1] == "0000dc00090100001388"
    assert "does not tell what happens to it" in caplog.text


async def test_a_reader_that_takes_no_configuration_is_used_without_keepalives(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    reader.answers |= dict.fromkeys((3, 21), lambda number, _: message(100, number, status(109)))
    async with listening(reader, keepalive="10ms") as listener:
        waiting = asyncio.create_task(listener.next())
        await asyncio.sleep(0.05)  # twice as long as it would have to speak
        listener.client.send(report(tag()))
        assert (await waiting)["epc"] == EPC
    assert "sends no keepalives" in caplog.text


async def test_a_reader_that_falls_silent_is_unavailable(reader: ScriptedReader) -> None:
    async with listening(reader, keepalive="20ms") as listener:
        error = await listener.failure()
    assert "was silent for 0.05 s" in error.message
    assert error.reason is Reason.TIMEOUT
    assert [kind for kind, _ in reader.seen][-1] == 64, "nobody is there to take leave of"


async def test_bytes_of_a_message_that_does_not_end_are_no_sign_of_life(reader: ScriptedReader) -> None:
    async with listening(reader, keepalive="20ms") as listener:
        listener.client.send((0x043D000FFFFF00000001).to_bytes(10, "big"), message(62, 1))
        error = await listener.failure()
    assert "20 bytes of one that does not end" in error.message


async def test_keepalives_keep_a_session_without_tags_alive(reader: ScriptedReader) -> None:
    async with listening(reader, keepalive="160ms") as listener:
        waiting = asyncio.create_task(listener.next())
        for number in range(5):  # for longer than a silent reader would be waited for
            listener.client.send(message(62, number))
            await listener.client.next(72)
            await asyncio.sleep(0.1)
        assert not waiting.done()
        listener.client.send(report(tag()))
        assert (await waiting)["epc"] == EPC


async def test_a_lying_length_is_told_at_once(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(report(tag()), bytes.fromhex("043DFFFFFFFF00000001"))
        assert (await listener.next())["epc"] == EPC
        error = await listener.failure()
    assert "a length of 4294967295 bytes" in error.message
    assert error.reason is Reason.BAD_RESPONSE


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (lambda client: client.send(event(CONNECTION_CLOSE)), "says that it closes the connection"),
        (lambda client: client.writer.close(), "closed the connection"),
        (lambda client: (client.send(report(tag())[:30]), client.writer.close()), "closed the connection"),
        (lambda client: client.writer.transport.abort(), "closed the connection"),
    ],
)
async def test_a_reader_that_goes_is_unavailable(
    reader: ScriptedReader, what: Callable[[object], None], text: str
) -> None:
    async with listening(reader) as listener:
        what(listener.client)
        assert text in (await listener.failure()).message


async def test_after_a_restart_the_same_driver_reads_on() -> None:
    reader = ScriptedReader()
    async with reader.listening():
        made = driver(reader.url)
        async with listening(reader, made) as listener:
            listener.client.send(report(tag()))
            await listener.next()
            listener.client.writer.transport.abort()
            await listener.failure()
    await _refused(made)
    async with reader.listening(), listening(reader, made) as listener:
        listener.client.send(report(tag()))
        assert (await listener.next())["epc"] == EPC


async def _refused(made: object) -> None:
    with pytest.raises(DeviceUnavailable):
        async with made.connect():  # type: ignore[attr-defined]
            pass


async def test_taking_leave_of_a_reader_that_does_not_answer_ends_in_time(reader: ScriptedReader) -> None:
    reader.answers |= dict.fromkeys((23, 21, 14), lambda *_: b"")
    reader.answers[21] = lambda number, body: message(31, number, OK) if body == bytes(4) else b""
    async with listening(reader, timeout="150ms"):
        pass
    assert [kind for kind, _ in reader.seen][-3:] == [23, 21, 14], "it is told all the same"


async def test_leave_is_taken_of_a_reader_that_has_stopped_already(reader: ScriptedReader) -> None:
    reader.answers[23] = lambda number, _: message(33, number, status(101))
    async with listening(reader):
        pass
    assert [kind for kind, _ in reader.seen][-3:] == [23, 21, 14]


async def test_who_is_cancelled_takes_leave(reader: ScriptedReader) -> None:
    async def listen() -> None:
        async with listening(reader) as listener:
            await listener.next()

    task = asyncio.create_task(listen())
    client = await reader.joined.get()
    reader.joined.put_nowait(client)
    await client.next(22)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [kind for kind, _ in reader.seen][-3:] == [23, 21, 14]


async def test_an_antenna_that_comes_off_is_told_once_and_so_is_its_return(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    off, on = antenna_event(2, connected=False), antenna_event(2, connected=True)
    async with listening(reader, antennas=[1, 2]) as listener:
        listener.client.send(antenna_event(3, connected=False), off, off, on, on, report(tag()))
        reading = await anext(listener.readings)
        assert (await listener.next())["epc"] == EPC
    assert carried(reading)["antenna"] == 2
    assert {reading.group.names[index]: str(quality) for index, quality in reading.quality.items()} == dict.fromkeys(
        ("epc", "uri", "rssi", "seen_count", "first_seen", "last_seen"), "bad:device-error"
    )
    assert [record.levelname for record in caplog.records if "antenna 2" in record.message] == ["ERROR", "WARNING"]
    assert "antenna 3" not in caplog.text


async def test_an_antenna_that_sees_a_tag_is_connected_and_may_come_off_again(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(reader, antennas=[1, 2]) as listener:
        listener.client.send(antenna_event(1, connected=False), report(tag()), antenna_event(1, connected=False))
        assert [(await listener.next())["epc"] for _ in range(3)] == [None, EPC, None]
    assert [each.levelname for each in caplog.records if "antenna 1 is" in each.message] == [
        "ERROR",
        "WARNING",
        "ERROR",
    ]


async def test_with_all_antennas_only_one_that_has_seen_a_tag_can_be_missed(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(reader) as listener:
        listener.client.send(antenna_event(1, connected=False), report(tag()), antenna_event(1, connected=False))
        assert (await listener.next())["epc"] == EPC
        assert (await listener.next())["epc"] is None
    assert caplog.text.count("is disconnected") == 1


async def test_reports_that_the_reader_has_lost_are_an_error_and_a_bad_reading(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(reader) as listener:
        listener.client.send(event(BUFFER_80_PERCENT), event(BUFFER_OVERFLOW), event(BUFFER_OVERFLOW), report(tag()))
        reading = await anext(listener.readings)
        assert (await listener.next())["epc"] == EPC
    assert {str(quality) for quality in reading.quality.values()} == {"bad:device-error"}
    assert set(reading.values) == {None}
    assert [record.levelname for record in caplog.records if "has lost reports" in record.message] == ["ERROR"]
    assert "full of reports to 80 percent" in caplog.text


async def test_what_the_reader_complains_of_is_logged_once(
    reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(reader) as listener:
        listener.client.send(exception_event("PA too hot"), exception_event("PA too hot"), report(tag()))
        await listener.next()
    assert caplog.text.count("PA too hot") == 1


async def test_an_attempt_of_another_client_disturbs_nobody(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(connection_attempt(4), report(tag()))
        assert (await listener.next())["epc"] == EPC


@pytest.mark.parametrize(("what", "text"), [(1, "the reader has ended it"), (2, "another client's took its place")])
async def test_an_inventory_that_ends_unasked_is_begun_anew(reader: ScriptedReader, what: int, text: str) -> None:
    async with listening(reader) as listener:
        listener.client.send(rospec_event(0), rospec_event(what))
        assert text in (await listener.failure()).message


async def test_the_end_of_an_earlier_inventory_is_not_that_of_ours(reader: ScriptedReader) -> None:
    async with listening(reader) as listener:
        listener.client.send(rospec_event(1), rospec_event(0), report(tag()))
        assert (await listener.next())["epc"] == EPC


async def test_a_periodic_inventory_ends_again_and_again(reader: ScriptedReader) -> None:
    async with listening(reader, duration="1s", periodic="2s") as listener:
        listener.client.send(rospec_event(0), rospec_event(1), rospec_event(0), report(tag()))
        assert (await listener.next())["epc"] == EPC


async def test_a_reader_that_takes_no_answers_is_given_up_before_they_pile_up() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        stream, writer = await asyncio.open_connection(sock=ours)
        connection = Connection(stream, writer, link="llrp://reader")
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()

        async def flood() -> None:
            for _ in range(1000):
                await loop.sock_sendall(theirs, message(62, 1) * 100)
                await connection.receive(loop.time() + 0.001)

        with pytest.raises(DeviceUnavailable, match="takes none of our answers"):
            await flood()
        assert writer.transport.get_write_buffer_size() < 128 * 1024
        writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_a_reader_sends_the_session_ends_in_order_or_goes_on(reader: ScriptedReader, seed: int) -> None:
    random = Random(seed)
    now_us = time.time_ns() // 1000
    said = b"".join(
        (
            report(tag(first_us=now_us, last_us=now_us), tag(bytes(16))),
            event(BUFFER_OVERFLOW),
            antenna_event(1, connected=False),
            exception_event("PA too hot"),
            message(62, 1),
            report(tag(antenna=2)),
        )
    )
    wrong = bytearray(said if random.random() < 0.8 else random.randbytes(200))
    for _ in range(random.randrange(8)):
        wrong[random.randrange(len(wrong))] = random.randrange(256)
    del wrong[random.randrange(len(wrong)) :]
    async with listening(reader, window="none") as listener:
        listener.client.send(bytes(wrong))
        listener.client.writer.close()
        assert (await listener.failure()).hint

"""Brokers that behave as mosquitto does not: old ones, limited ones, silent ones, broken ones."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.mqtt import DestinationUnavailable

CONNECT, PUBLISH, PINGREQ, PINGRESP, DISCONNECT = 0x10, 0x30, 0xC0, 0xD0, 0xE0


async def stay(client):
    """Accept with MQTT 5 and read on until the gateway hangs up."""
    assert await client.version() == 5
    client.connack()
    while True:
        await client.packet()


class OnlyOldVersion:
    """Speaks MQTT 3.1.1 and answers a newer CONNECT with `refusal`."""

    def __init__(self, refusal):
        self.refusal = refusal
        self.versions = []

    async def __call__(self, client):
        self.versions.append(await client.version())
        if self.versions[-1] == 5:
            client.send(*self.refusal)
            return
        client.send(0x20, 2, 0, 0)
        while True:
            first, body = await client.packet()
            if first & 0xF0 == PUBLISH:
                topic_bytes = int.from_bytes(body[:2], "big")
                client.send(0x40, 2, *body[2 + topic_bytes : 4 + topic_bytes])


@pytest.mark.parametrize("refusal", [(0x20, 2, 0, 1), (0x20, 3, 0, 0x84, 0)], ids=["return code 1", "reason 0x84"])
async def test_a_broker_that_refuses_the_version_is_asked_with_the_older_one_from_then_on(
    scripted, broker, collect, refusal
):
    script = OnlyOldVersion(refusal)
    async with scripted.plays(script):
        made = broker(scripted.url)
        for _ in range(2):
            async with made.connect() as connection:
                assert connection.version.value == "MQTT 3.1.1"
                assert connection.window == 1000
                connection.publish("hub/a", b"x", token=(1,))
                assert [(answer.token, answer.code) for answer in await collect(connection, 1)] == [((1,), 0)]
    assert script.versions == [5, 4, 4]


async def test_a_broker_that_hangs_up_on_the_newer_version_twice_is_asked_with_the_older_one(scripted, broker):
    script = OnlyOldVersion(())
    async with scripted.plays(script):
        made = broker(scripted.url)
        for _ in range(2):
            with pytest.raises(DestinationUnavailable, match="closed the connection without answering CONNECT"):
                async with made.connect():
                    pass
        async with made.connect() as connection:
            assert connection.version.value == "MQTT 3.1.1"
        async with made.connect():
            pass
    assert script.versions == [5, 5, 4, 5, 4, 4]


async def test_a_broker_that_was_silent_for_a_while_is_not_left_with_the_older_version(scripted, broker):
    versions = []

    async def script(client):
        versions.append(await client.version())
        if len(versions) > 2:
            client.send(0x20, 2, 0, 0) if versions[-1] == 4 else client.connack()
            await client.packet()

    async with scripted.plays(script):
        made = broker(scripted.url)
        for _ in range(2):
            with pytest.raises(DestinationUnavailable):
                async with made.connect():
                    pass
        async with made.connect() as connection:
            assert connection.version.value == "MQTT 5"
    assert versions == [5, 5, 4, 5]


async def test_one_hang_up_in_between_does_not_lose_the_newer_version(scripted, broker):
    versions = []

    async def script(client):
        versions.append(await client.version())
        if len(versions) > 1:
            client.connack()
            await client.packet()

    async with scripted.plays(script):
        made = broker(scripted.url)
        with pytest.raises(DestinationUnavailable):
            async with made.connect():
                pass
        async with made.connect():
            pass
    assert versions == [5, 5]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x85, 'client id not valid.*does not accept the client id "gw"'),
        (0x86, 'bad user name or password.*"sort-01" with this password'),
        (0x8A, "banned"),
        (0x88, "server unavailable"),
        (0x9F, "connection rate exceeded"),
    ],
)
async def test_a_refused_connection_is_explained(scripted, broker, code, words):
    async def script(client):
        await client.version()
        client.connack(code)

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match=words) as refused:
            async with broker(scripted.url, username="sort-01").connect():
                pass
    assert refused.value.needs_person == (code in {0x85, 0x86, 0x8A})


@pytest.mark.parametrize(
    ("code", "words"), [(4, "bad user name or password"), (5, "not authorised"), (3, "unavailable")]
)
async def test_an_old_brokers_return_codes_are_explained_too(scripted, broker, code, words):
    async def script(client):
        if await client.version() == 5:
            client.send(0x20, 2, 0, 1)
        else:
            client.send(0x20, 2, 0, code)

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match=words):
            async with broker(scripted.url).connect():
                pass


@pytest.mark.parametrize(
    ("code", "words", "needs_person"),
    [
        (0x8B, "ended the connection: server shutting down", False),
        (0x8E, 'another client connected with the client id "gw"', True),
        (0x97, "quota exceeded", False),
    ],
)
async def test_an_ended_connection_is_explained(scripted, broker, code, words, needs_person):
    async def script(client):
        await client.version()
        client.connack()
        client.send(DISCONNECT, 1, code)

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        with pytest.raises(DestinationUnavailable, match=words) as ended:
            await asyncio.wait_for(connection.acknowledgements(), 10)
    assert ended.value.needs_person == needs_person


async def test_the_brokers_own_reason_is_passed_on(scripted, broker):
    async def script(client):
        await client.version()
        reason = b"go away"
        client.connack(0x87, bytes([31, 0, len(reason)]) + reason)

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match='"go away"'):
            async with broker(scripted.url).connect():
                pass


async def test_a_broker_with_quality_of_service_0_only_is_no_destination(scripted, broker):
    async def script(client):
        await client.version()
        client.connack(0, bytes([36, 0]))
        await client.packet()

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match="accepts QoS 0 only") as refused:
            async with broker(scripted.url).connect():
                pass
    assert refused.value.needs_person


@pytest.mark.parametrize("codes", [(), (0, 0)], ids=["none", "two"])
async def test_a_broker_that_answers_a_subscription_wrongly_is_left(scripted, broker, codes):
    async def script(client):
        await client.version()
        client.connack()
        await client.packet()
        client.send(0x90, 3 + len(codes), 0, 1, 0, *codes)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        with pytest.raises(DestinationUnavailable, match=f"one subscription with {len(codes)} reason codes"):
            await asyncio.wait_for(connection.subscribe("hub/#"), 10)


async def test_a_fault_in_taking_a_packet_ends_the_connection_and_is_met_once(scripted, broker, monkeypatch, caplog):
    def faulty(*_):
        raise ZeroDivisionError

    async def script(client):
        await client.version()
        client.connack()
        message_id, _, _ = await client.publish()
        client.puback(message_id)
        client.send(*[PINGRESP, 0] * 50)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        monkeypatch.setattr(connection, "on_puback", faulty)
        connection.publish("hub/a", b"x", token=(1,))
        with pytest.raises(DestinationUnavailable, match=r"could not be handled: ZeroDivisionError"):
            await asyncio.wait_for(connection.acknowledgements(), 10)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"username": "u" * 65536}, "username cannot be sent: it has 65536 bytes"),
        ({"username": "u", "password": "é" * 32768}, "password cannot be sent: it has 65536 bytes"),
        ({"username": "u\udcff"}, "username cannot be sent: it is not UTF-8"),
        ({"client_id": "c" * 65536}, "client_id cannot be sent"),
    ],
)
async def test_a_text_that_no_packet_can_carry_is_explained(scripted, broker, texts, words):
    async with scripted.plays(stay):
        with pytest.raises(DestinationUnavailable, match=words) as refused:
            async with broker(scripted.url, **texts).connect():
                pass
    assert refused.value.needs_person


async def test_the_retain_flag_is_left_out_for_a_broker_that_retains_nothing(scripted, broker):
    flags = asyncio.get_running_loop().create_future()

    async def script(client):
        await client.version()
        client.connack(0, bytes([37, 0]))
        flags.set_result((await client.packet())[0] & 0x0F)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        connection.publish("hub/status", b"x", token=(), retain=True)
        assert await asyncio.wait_for(flags, 10) == 0b0010


async def test_a_broker_that_refuses_a_retained_will_gets_one_that_is_not(scripted, broker):
    will_flags = []

    async def script(client):
        _, body = await client.packet()
        will_flags.append(body[7] & 0b00100000)
        client.connack(0x9A if will_flags[-1] else 0)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect():
        pass
    assert will_flags == [0b00100000, 0]


async def test_the_keep_alive_of_the_broker_is_obeyed(scripted, broker):
    pinged = asyncio.Event()

    async def script(client):
        await client.version()
        client.connack(0, bytes([19, 0, 1]))
        while (await client.packet())[0] != PINGREQ:
            pass
        pinged.set()
        client.send(0xD0, 0)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url, keepalive=3600.0).connect():
        await asyncio.wait_for(pinged.wait(), 10)


async def test_a_broker_that_pings_but_acknowledges_nothing_is_left(scripted, broker):
    async with scripted.plays(stay), broker(scripted.url, silence_s=0.1).connect() as connection:
        connection.publish("hub/a", b"x", token=(1,))
        with pytest.raises(DestinationUnavailable, match="leaves messages unacknowledged, the oldest of 1"):
            await asyncio.wait_for(connection.acknowledgements(), 10)


async def test_a_broker_that_never_answers_runs_into_the_time_limit(scripted, broker):
    async def script(client):
        await client.reader.read()

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match=r"did not accept a connection within 0\.1 s"):
            async with broker(scripted.url, timeout_s=0.1).connect():
                pass


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00", b"\x20\xff\xff\xff\xff\xff", b"\x20\x03\x00\x77\x00"],
)
async def test_what_is_not_a_broker_is_refused(scripted, broker, garbage):
    async def script(client):
        await client.version()
        client.writer.write(garbage)

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable):
            async with broker(scripted.url).connect():
                pass


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws", "wss"])
async def test_a_cancelled_connect_leaves_nothing_behind(scripted, broker, scheme):
    reached = asyncio.Event()

    async def script(client):
        await client.reader.read(1)
        reached.set()
        await client.reader.read()

    async with scripted.plays(script), asyncio.TaskGroup() as group:
        stack = AsyncExitStack()
        url = scripted.url.replace("mqtt", scheme)
        connecting = group.create_task(stack.enter_async_context(broker(url).connect()))
        await asyncio.wait_for(reached.wait(), 10)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()


async def test_a_window_of_bytes_bounds_what_is_held_for_a_broker_that_does_not_read(scripted, broker):
    async with scripted.plays(stay), broker(scripted.url).connect() as connection:
        for number in range(16):
            await connection.room()
            connection.publish("hub/a", b"x" * 2**16, token=(number,))
            if number == 12:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(connection.room(share=0.75), 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.room(), 0)
        assert connection.in_flight < connection.window

"""Messages that come to the gateway, and its answers."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import PIPE

import pytest

from gateway.mqtt import DestinationUnavailable, Received


async def test_messages_of_a_subscription_come_with_what_mqtt_5_says_about_them(mosquitto, broker):
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        assert await connection.subscribe("hub/+/set/+") is None
        for options in (
            ("-r",),
            ("-D", "publish", "response-topic", "answers/me", "-D", "publish", "correlation-data", "7"),
        ):
            sending = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-V", "5", "-q", "1", *options]
            process = await asyncio.create_subprocess_exec(*sending, "-t", "hub/lift/set/speed", "-m", "x")
            assert await process.wait() == 0
        messages = await received(connection, 2)
    assert messages == [
        Received("hub/lift/set/speed", b"x", retained=True),
        Received("hub/lift/set/speed", b"x", response_topic="answers/me", correlation=b"7"),
    ]


async def test_what_the_broker_has_kept_is_not_asked_for(mosquitto, broker):
    mosquitto.start()
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-q", "1", "-t", "a/set/b", "-m", "old", "-r"
    )
    assert await process.wait() == 0
    async with broker(mosquitto.url).connect() as connection:
        assert await connection.subscribe("+/set/+") is None
        await mosquitto.publish("a/set/b", "new")
        assert await received(connection, 1) == [Received("a/set/b", b"new")]


async def test_an_answer_carries_the_correlation_data_and_counts_for_the_window_only(mosquitto, broker):
    mosquitto.start()
    listening = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-V", "5", "-q", "1", "-t", "answers"]
    process = await asyncio.create_subprocess_exec(*listening, "-C", "1", "-F", "%D %q %r %p", stdout=PIPE)
    async with broker(mosquitto.url).connect() as connection:
        async with asyncio.timeout(10):
            while "Sending SUBACK" not in mosquitto.log:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await connection.respond("answers", b"x", correlation=b"order-7")
        assert connection.in_flight == 0
        out, _ = await process.communicate()
        process._transport.close()
        assert out.strip() == b"order-7 1 0 x"
        connection.publish("hub/a", b"x", token=(1,))
        (answer,) = await connection.acknowledgements()
        assert answer.token == (1,)


async def test_a_message_that_no_command_can_be_stays_with_the_broker(mosquitto, broker):
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        assert await connection.subscribe("a/set/b") is None
        await mosquitto.publish("a/set/b", "x" * 20_000)
        await mosquitto.publish("a/set/b", "small")
        assert await received(connection, 1) == [Received("a/set/b", b"small")]


async def test_a_lost_connection_ends_the_waiting_for_messages(mosquitto, broker):
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        assert await connection.subscribe("a/set/b") is None
        mosquitto.stop(signal.SIGKILL)
        with pytest.raises(DestinationUnavailable):
            await asyncio.wait_for(connection.received(), 10)


async def received(connection, count):
    """That many messages."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await connection.received()
    return found


async def test_with_an_older_broker_messages_have_no_properties_and_what_it_has_kept_is_marked(scripted, broker):
    topic = b"a/set/b"
    sent = bytes([len(topic) + 2 + 2 + 1, 0, len(topic)]) + topic + b"\0\x07x"

    async def script(client):
        if await client.version() == 5:
            client.send(0x20, 2, 0, 1)
            return
        client.send(0x20, 2, 0, 0)
        first, body = await client.packet()
        assert (first, body[2:]) == (0x82, b"\0\x07a/set/+\x01")
        client.send(0x90, 3, body[0], body[1], 1)
        client.writer.write(b"\x33" + sent + b"\x3a" + sent)
        acknowledged = [await client.packet() for _ in range(2)]
        assert acknowledged == [(0x40, b"\0\x07")] * 2
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        assert await connection.subscribe("a/set/+") is None
        messages = await received(connection, 2)
    assert messages == [Received("a/set/b", b"x", retained=True), Received("a/set/b", b"x", again=True)]


async def test_a_refused_subscription_is_told_in_the_words_of_the_broker(scripted, broker):
    async def script(client):
        await client.version()
        client.connack()
        _, body = await client.packet()
        reason = b"not yours"
        client.writer.write(bytes([0x90, 6 + len(reason) + 1, *body[:2], 3 + len(reason), 31, 0, len(reason)]) + reason)
        client.send(0x87)
        await client.packet()

    async with scripted.plays(script), broker(scripted.url).connect() as connection:
        refusal = await connection.subscribe("a/set/+")
        connection.publish("hub/a", b"x", token=(1,))
    assert refusal == 'not authorised (0x87): "not yours"'

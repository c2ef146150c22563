"""Connections to a real mosquitto."""

from __future__ import annotations

import asyncio
import signal

import pytest

from gateway.mqtt import DestinationUnavailable, MessageTooLarge


async def test_messages_reach_the_subscriber_in_order_and_come_back_acknowledged(mosquitto, broker, collect):
    mosquitto.start()
    async with mosquitto.subscriber("hub/#") as subscriber, broker(mosquitto.url).connect() as connection:
        for number in range(3):
            connection.publish("hub/a", b"%d" % number, token=(number,))
        answers = await collect(connection, 3)
        received = [await subscriber.next() for _ in range(3)]

    assert [message.payload for message in received] == [b"0", b"1", b"2"]
    assert [(answer.token, answer.code) for answer in answers] == [((0,), 0), ((1,), 0), ((2,), 0)]
    assert connection.version.value == "MQTT 5"


async def test_nobody_listening_to_a_topic_is_an_acceptance(mosquitto, broker, collect):
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        connection.publish("hub/a", b"x", token=(1,))
        (answer,) = await collect(connection, 1)
    assert answer.code in {0x00, 0x10}


async def test_the_window_is_the_brokers_receive_maximum(mosquitto, broker, collect):
    mosquitto.options.append("max_inflight_messages 5")
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        assert connection.window == 5
        for number in range(5):
            connection.publish("hub/a", b"x", token=(number,))
        with pytest.raises(RuntimeError, match="full window of 5"):
            connection.publish("hub/a", b"x", token=(5,))
        await connection.room()
        connection.publish("hub/a", b"x", token=(5,))
        assert len(await collect(connection, 6)) == 6
    assert "receive maximum" not in mosquitto.log


async def test_a_share_of_the_window_leaves_the_rest_free(mosquitto, broker, collect):
    mosquitto.options.append("max_inflight_messages 5")
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        for number in range(3):
            await connection.room(share=0.6)
            connection.publish("hub/a", b"x", token=(number,))
        await connection.room()
        assert connection.in_flight == 3
        await asyncio.wait_for(connection.room(share=0.6), 10)
        assert connection.in_flight < 3


async def test_a_message_larger_than_the_brokers_largest_packet_is_not_sent(mosquitto, broker, collect):
    mosquitto.options.append("max_packet_size 2000")
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        with pytest.raises(MessageTooLarge, match="larger than the 2000 bytes that mqtt://127"):
            connection.publish("hub/a", b"x" * 2000, token=(1,))
        connection.publish("hub/a", b"x" * 1900, token=(2,))
        (answer,) = await collect(connection, 1)
    assert answer.token == (2,)


async def test_a_forbidden_topic_is_refused_and_the_line_goes_on(mosquitto, broker, collect):
    mosquitto.access("topic write hub/allowed")
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        connection.publish("hub/forbidden", b"x", token=(1,))
        connection.publish("hub/allowed", b"x", token=(2,))
        answers = await collect(connection, 2)
    assert {answer.token: answer.code >= 0x80 for answer in answers} == {(1,): True, (2,): False}
    assert {answer.code for answer in answers if answer.token == (1,)} == {0x87}


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_refused_password_says_so_and_needs_a_person(mosquitto, broker, password):
    mosquitto.password("sort-01", "right")
    mosquitto.start()
    settings = {} if password is None else {"username": "sort-01", "password": password}
    with pytest.raises(DestinationUnavailable, match=r"refused the connection: not authorised.*check") as refused:
        async with broker(mosquitto.url, **settings).connect():
            pass
    assert refused.value.needs_person


async def test_the_right_password_is_accepted(mosquitto, broker):
    mosquitto.password("sort-01", "right")
    mosquitto.start()
    async with broker(mosquitto.url, username="sort-01", password="right").connect() as connection:
        assert connection.in_flight == 0


async def test_nothing_listening_says_so(mosquitto, broker):
    with pytest.raises(DestinationUnavailable, match="Connection refused; no broker listens there"):
        async with broker(mosquitto.url).connect():
            pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70])
async def test_a_name_that_does_not_resolve_says_so(broker, host):
    with pytest.raises(DestinationUnavailable, match="does not resolve"):
        async with broker(f"mqtt://{host}").connect():
            pass


async def test_the_will_is_published_and_retained_when_the_connection_is_cut(mosquitto, broker):
    mosquitto.start()
    async with mosquitto.subscriber("hub/status") as subscriber:
        with pytest.raises(KeyError):
            async with broker(mosquitto.url).connect():
                raise KeyError
        assert (await subscriber.next()).payload == b'{"online":false}'
    async with mosquitto.subscriber("hub/status") as late:
        assert await late.next() == ("hub/status", True, b'{"online":false}')


async def test_a_goodbye_drops_the_will(mosquitto, broker, collect):
    mosquitto.start()
    async with mosquitto.subscriber("hub/#") as subscriber:
        async with broker(mosquitto.url).connect() as connection:
            connection.publish("hub/status", b"mine", token=(), retain=True)
            await collect(connection, 1)
        await mosquitto.publish("hub/end", "of the test")
        assert [(await subscriber.next()).payload for _ in range(2)] == [b"mine", b"of the test"]
    async with mosquitto.subscriber("hub/status") as late:
        assert await late.next() == ("hub/status", True, b"mine")


async def test_a_killed_broker_ends_every_wait(mosquitto, broker):
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        waiting = asyncio.gather(connection.acknowledgements(), connection.room(share=0.0), return_exceptions=True)
        await asyncio.sleep(0)
        mosquitto.stop(signal.SIGKILL)
        errors = await asyncio.wait_for(waiting, 10)
        assert [str(error) for error in errors] == [
            f"the connection to {mosquitto.url} was closed by the broker or the network"
        ] * 2
        with pytest.raises(DestinationUnavailable):
            connection.publish("hub/a", b"x", token=(1,))


async def test_a_frozen_broker_is_noticed_by_its_missing_ping(mosquitto, broker):
    mosquitto.start()
    async with broker(mosquitto.url, keepalive=1.0).connect() as connection:
        mosquitto.freeze()
        with pytest.raises(DestinationUnavailable, match="has stopped answering: no reply to a ping"):
            await asyncio.wait_for(connection.acknowledgements(), 20)


async def test_the_next_connection_starts_clean(mosquitto, broker, collect):
    mosquitto.start()
    made = broker(mosquitto.url)
    async with made.connect() as connection:
        connection.publish("hub/a", b"x", token=(1,))
    async with made.connect() as connection:
        assert connection.in_flight == 0
        connection.publish("hub/a", b"y", token=(2,))
        assert [answer.token for answer in await collect(connection, 1)] == [(2,)]


async def test_more_than_the_socket_takes_is_sent_when_the_broker_reads_again(mosquitto, broker, collect):
    mosquitto.options.append("max_inflight_messages 0")
    mosquitto.start()
    async with broker(mosquitto.url).connect() as connection:
        for number in range(200):
            async with asyncio.timeout(10):
                await connection.room()
            connection.publish("hub/a", b"x" * 200_000, token=(number,))
            await asyncio.sleep(0)
            if number % 50 == 0:
                await collect(connection, 1)
        while connection.in_flight:
            await collect(connection, 1)

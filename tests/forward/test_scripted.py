"""Forwarding to brokers that refuse, vanish and stay silent on command."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import orjson
import pytest

from tests.forward.conftest import STATUS, ScriptedBroker


def number(message):
    return int(message["id"].split("-")[1])


async def test_a_message_refused_for_now_is_sent_again_with_the_same_id(scripted, line):
    refused = []

    def answer(message):
        if number(message) == 3 and len(refused) < 2:
            refused.append(message["id"])
            return 0x97
        return 0

    broker = ScriptedBroker(answer)
    async with scripted.plays(broker), line() as own:
        await own.append(5)
        async with own.forwarding(scripted.url):
            await own.delivered()
        assert own.health.set_aside == 0
        assert own.health.acknowledged == 5
    assert refused == own.ids(3, 3) * 2
    assert broker.connections == 3


async def test_a_quota_for_everything_is_waited_out_and_sets_nothing_aside(scripted, line, caplog):
    broker = ScriptedBroker(lambda _message: 0x80 if broker.connections < 8 else 0)
    async with scripted.plays(broker), line() as own:
        await own.append(2)
        async with own.forwarding(scripted.url):
            await own.until(lambda: "the broker refuses messages for now: unspecified error" in own.health.detail)
            await own.delivered()
        assert (own.health.set_aside, own.health.acknowledged) == (0, 2)


async def test_a_message_that_alone_is_refused_again_and_again_is_set_aside(scripted, line, caplog):
    broker = ScriptedBroker(lambda message: 0x83 if number(message) == 2 else 0)
    async with scripted.plays(broker), line() as own:
        await own.append(3)
        async with own.forwarding(scripted.url):
            for _ in range(5):
                await own.append()
                await own.until(lambda: own.health.acknowledged + own.health.set_aside >= own.appended - 1)
            await own.delivered()
        assert own.health.set_aside == 1
        assert own.health.acknowledged == own.appended - 1
    assert "implementation specific" in caplog.text


def about_the_status(caplog):
    return [record.getMessage() for record in caplog.records if "status message" in record.getMessage()]


@pytest.mark.parametrize("code", [0x87, 0x97, 0x83, 0x80], ids=hex)
async def test_a_refused_status_is_reported_once_and_readings_go_on(scripted, line, caplog, code):
    caplog.set_level("INFO")
    refusals = 3
    connections = 0

    async def script(client):
        nonlocal connections
        connections += 1
        await client.version()
        client.connack()
        for _ in range(4):
            message_id, topic, _ = await client.publish()
            client.puback(message_id, code if topic == STATUS and connections <= refusals else 0)
        if connections > refusals:
            await client.publish()

    async with scripted.plays(script), line() as own, own.forwarding(scripted.url):
        for served in range(refusals + 1):
            await own.until(lambda served=served: connections == served + 1 and own.health.up)
            await own.append(3)
            await own.delivered()
        assert (own.health.acknowledged, own.health.set_aside) == (own.appended, 0)
    refused, mended = about_the_status(caplog)
    assert "the status message is refused by the broker: " in refused
    assert f"(0x{code:02X})" in refused
    assert "the status message is published again" in mended


async def test_a_status_that_was_refused_for_now_is_sent_again_on_the_same_connection(
    scripted, line, caplog, monkeypatch
):
    monkeypatch.setattr("gateway.forward.status.PAUSE_S", 0.01)
    caplog.set_level("INFO")
    statuses = []

    async def script(client):
        await client.version()
        client.connack()
        while True:
            message_id, _, payload = await client.publish()
            statuses.append(orjson.loads(payload)["online"])
            client.puback(message_id, 0x97 if len(statuses) < 3 else 0)

    async with scripted.plays(script), line() as own, own.forwarding(scripted.url):
        await own.until(lambda: len(about_the_status(caplog)) == 2)
        assert statuses == [True, True, True]
    assert "the status message is refused by the broker: quota exceeded" in about_the_status(caplog)[0]
    assert "the status message is published again" in about_the_status(caplog)[1]


async def test_a_broker_that_takes_not_even_the_status_stays_connected_and_all_is_set_aside(scripted, line, caplog):
    messages = []

    async def script(client):
        await client.version()
        client.connack(0, bytes([39, 0, 0, 0, 40]))
        messages.append(await client.publish())

    async with scripted.plays(script), line() as own:
        await own.append(3)
        async with own.forwarding(scripted.url):
            await own.delivered()
            assert own.health.up
        assert (own.health.acknowledged, own.health.set_aside) == (0, 3)
    assert messages == []
    (told,) = about_the_status(caplog)
    assert "the status message is larger than the 40 bytes that" in told


async def test_connections_that_break_anywhere_lose_nothing_and_repeat_only_the_same(scripted, line, monkeypatch):
    monkeypatch.setattr("gateway.forward.sender.ALONE_S", 0.01)
    seen = defaultdict(set)

    async def script(client):
        await client.version()
        client.connack()
        for _ in range(40):
            message_id, topic, payload = await client.publish()
            if topic != STATUS:
                message = orjson.loads(payload)
                seen[message["id"]].add(orjson.dumps(message["values"]))
            if message_id % 3:
                client.puback(message_id)
        if len(seen) > 160:
            while True:
                message_id, topic, payload = await client.publish()
                message = orjson.loads(payload)
                if topic != STATUS:
                    seen[message["id"]].add(orjson.dumps(message["values"]))
                client.puback(message_id)
        client.writer.transport.abort()

    async with scripted.plays(script), line() as own:
        async with own.forwarding(scripted.url, silence_s=0.5, drain_s=1.0):
            for _ in range(20):
                await own.append(10)
            await own.delivered()
        assert set(seen) == set(own.ids(1, 200))
    assert all(len(values) == 1 for values in seen.values())


async def test_stopping_does_not_wait_longer_than_it_may(scripted, line, caplog):
    broker = ScriptedBroker(lambda _message: None)
    async with scripted.plays(broker), line() as own:
        async with asyncio.timeout(10), own.forwarding(scripted.url, drain_s=0.05):
            await own.append(5)
            await own.until(lambda: len(broker.received) == 5)
        assert own.buffer.backlog("hub-broker") == 5
    assert "readings wait in the buffer, now 5, until the next start" in caplog.text
    assert "tried again" not in caplog.text


async def test_a_broker_that_acknowledges_nothing_is_left_and_gets_everything_again(scripted, line):
    broker = ScriptedBroker(lambda _message: 0 if broker.connections > 1 else None)
    async with scripted.plays(broker), line() as own, own.forwarding(scripted.url, silence_s=0.1):
        await own.append(5)
        await own.delivered()
    assert [message["id"] for message in broker.received] == own.ids(1, 5) * 2
    assert [message["historical"] for message in broker.received][5:] == [True] * 5


async def test_an_outage_is_logged_at_its_edges_only(scripted, line, caplog):
    caplog.set_level("INFO")
    broker = ScriptedBroker(connack=lambda: 0x88 if broker.connections < 5 else 0)
    async with scripted.plays(broker), line() as own, own.forwarding(scripted.url):
        await own.append(7)
        await own.delivered()
    mine = [record for record in caplog.records if record.name.startswith("gateway.forward")]
    assert [record.levelname for record in mine] == ["WARNING", "INFO"]
    assert "refused the connection: server unavailable (0x88)" in mine[0].getMessage()
    assert "after 4 failures" in mine[1].getMessage()


async def test_what_the_database_could_not_give_at_first_is_found_by_a_later_sweep(scripted, line, monkeypatch):
    monkeypatch.setattr("gateway.forward.session.SWEEP_S", 0.02)
    broker = ScriptedBroker()
    async with scripted.plays(broker), line() as own:
        await own.append(3)
        peek, failures = own.buffer.peek, iter([True])

        async def unreadable_once(*args, **kwargs):
            return [] if next(failures, False) else await peek(*args, **kwargs)

        monkeypatch.setattr(own.buffer, "peek", unreadable_once)
        async with own.forwarding(scripted.url):
            await own.delivered()
    assert [message["id"] for message in broker.received] == own.ids(1, 3)

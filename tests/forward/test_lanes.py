"""What is missed waits its turn, keeps its order and its rate; what is new never waits for it."""

from __future__ import annotations

import asyncio

from gateway.forward.pace import CHUNK_READINGS, FIRST_WINDOW
from gateway.mqtt import Connection
from tests.forward.conftest import NAME, STATUS, ScriptedBroker

LATER = 3600.0


def numbers(messages):
    return [message["values"]["n"] for message in messages]


async def test_live_readings_overtake_history_which_stays_in_order(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(300)
        replay = {"order": "live-first", "values_per_second": 200}
        async with own.forwarding(mosquitto.url, replay=replay):
            await subscriber.until(lambda message: message["values"]["n"] == 200)
            await own.append()
            rest = await subscriber.until(lambda message: message["values"]["n"] == 300)
        order = [message["values"]["n"] for message in rest]
        assert order.index(301) < len(order) - 1
        assert [number for number in order if number != 301] == list(range(201, 301))
        assert [message["values"]["n"] for message in rest if not message["historical"]] == [301]


async def test_live_readings_that_come_together_go_in_one_turn_of_the_loop(scripted, line, monkeypatch):
    turn, turns, publish = 0, [], Connection.publish

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def noted(connection, topic, payload, **how):
        if topic != STATUS:
            turns.append(turn)
        publish(connection, topic, payload, **how)

    async with scripted.plays(ScriptedBroker()), line() as own, own.forwarding(scripted.url):
        await own.until(lambda: own.health.up)
        monkeypatch.setattr(Connection, "publish", noted)
        counting = asyncio.create_task(count())
        await own.append(CHUNK_READINGS)
        await own.delivered()
        counting.cancel()
        assert turns == [turns[0]] * CHUNK_READINGS


async def test_in_order_sends_history_before_anything_newer(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(200)
        replay = {"order": "in-order", "values_per_second": 1000}
        async with own.forwarding(mosquitto.url, replay=replay):
            head = await subscriber.until(lambda message: message["values"]["n"] == 20)
            await own.append(5)
            rest = await subscriber.until(lambda message: message["values"]["n"] == 205)
        everything = head + rest
        assert [message["values"]["n"] for message in everything] == list(range(1, 206))
        assert [message["historical"] for message in everything] == [True] * 200 + [False] * 5


async def test_history_waits_for_a_random_time_and_live_readings_do_not(mosquitto, line, caplog):
    caplog.set_level("INFO")
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(5)
        async with own.forwarding(mosquitto.url, draw=lambda _low, _high: LATER):
            await own.until(lambda: own.health.up)
            await own.append(2)
            live = await subscriber.until(lambda message: message["values"]["n"] == 7)
            await own.until(lambda: own.health.backlog == 5)
        history = await subscriber.until(lambda message: message["values"]["n"] == 5)  # at the stop, which waits for it
    assert (numbers(live), numbers(history)) == ([6, 7], [1, 2, 3, 4, 5])
    assert "5 readings behind, history starts in 3600.0 s" in caplog.text


async def test_in_order_what_is_new_waits_with_the_history_for_its_start(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(5)
        async with own.forwarding(mosquitto.url, draw=lambda _low, _high: LATER, replay={"order": "in-order"}):
            await own.until(lambda: own.health.up)
            await own.append(2)
        everything = await subscriber.until(lambda message: message["values"]["n"] == 7)
    assert numbers(everything) == [1, 2, 3, 4, 5, 6, 7]
    assert [message["historical"] for message in everything] == [True] * 5 + [False] * 2


async def test_history_waits_no_longer_than_the_destination_has_been_behind(scripted, line):
    drawn = []

    def draw(low, high):
        drawn.append((low, high))
        return low

    accepted = {1}  # connections
    broker = ScriptedBroker(connack=lambda: 0 if broker.connections in accepted else 0x88, most=3)
    async with scripted.plays(broker), line() as own:
        await own.append(3)  # of an earlier run, for all that is known: so behind for ever
        async with own.forwarding(scripted.url, draw=draw):
            await own.until(lambda: "server unavailable" in own.health.detail)
            await own.append(3)
            accepted.add(broker.connections + 1)
            await own.delivered()
    assert drawn[0] == (0.0, 5.0)
    assert len(drawn) == 2
    assert drawn[1][0] == 0.0 < drawn[1][1] < 5.0


async def test_with_nothing_missed_there_is_nothing_to_wait_for(scripted, line, caplog):
    caplog.set_level("INFO")
    async with (
        scripted.plays(ScriptedBroker()),
        line() as own,
        own.forwarding(scripted.url, draw=lambda _low, _high: LATER),
    ):
        await own.until(lambda: own.health.up)
        await own.append(2)
        await own.delivered()
    assert "0 readings behind\n" in caplog.text


async def test_the_rate_of_history_holds_over_all_connections_and_only_for_history(scripted, line):
    broker = ScriptedBroker(most=100)
    loop = asyncio.get_running_loop()
    async with scripted.plays(broker), line() as own:
        await own.append(600)
        began_s = loop.time()
        async with own.forwarding(scripted.url, replay={"values_per_second": 400}):
            await own.delivered()
            assert broker.connections > 5
            assert loop.time() - began_s >= 0.5  # a second's worth at once, the other half at the rate
            await own.append(400)
            await own.delivered()
    assert own.buffer.backlog(NAME) == 0


async def test_live_readings_have_room_while_history_is_not_acknowledged(scripted, line):
    broker = ScriptedBroker(lambda message: None if message["historical"] else 0)
    async with scripted.plays(broker), line() as own:
        await own.append(200)
        async with own.forwarding(scripted.url) as forwarding:
            await own.until(lambda: len(broker.received) >= FIRST_WINDOW)
            await own.append()
            await own.until(lambda: own.health.acknowledged == 1)
            history = [message for message in broker.received if message["historical"]]
            assert numbers(history) == list(range(1, len(history) + 1))
            assert len(history) < 2 * FIRST_WINDOW
            forwarding.cancel()

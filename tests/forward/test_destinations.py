"""Several destinations of one buffer: one that is dead, slow or a black hole is the only one to feel it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import orjson

from tests.forward.conftest import NAME, STATUS, Line, ScriptedBroker
from tests.plugins.mosquitto import Mosquitto

DEAD, HOLE, SLOW = "dead", "hole", "slow"


@asynccontextmanager
async def black_hole(port):
    """Accepts connections, takes what comes and never says a word."""
    open_ones = set()

    async def swallow(reader, writer):
        open_ones.add(writer)
        await reader.read()
        open_ones.discard(writer)
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", port)
    try:
        yield server
    finally:
        server.close()
        for writer in open_ones:
            writer.transport.abort()
        await server.wait_closed()


async def test_one_that_is_dead_slow_or_a_black_hole_is_the_only_one_to_wait(mosquitto, scripted, line, tmp_path):
    may_answer = asyncio.Semaphore(10)

    async def slow(client):
        await client.version()
        client.connack()
        while True:
            message_id, topic, _ = await client.publish()
            if topic != STATUS:
                await may_answer.acquire()
            client.puback(message_id)

    (tmp_path / "found").mkdir()
    dead, found = Mosquitto(tmp_path), Mosquitto(tmp_path / "found")
    mosquitto.start()
    async with scripted.plays(slow), line(DEAD, HOLE, SLOW) as own, AsyncExitStack() as stack:
        others = {name: Line(own.buffer, name) for name in (DEAD, HOLE, SLOW)}
        hole = await stack.enter_async_context(black_hole(found.port))
        subscriber = await stack.enter_async_context(mosquitto.subscriber("hub/lgg/sort-01/infeed"))
        for other, url in ((others[DEAD], dead.url), (others[HOLE], found.url), (others[SLOW], scripted.url)):
            await stack.enter_async_context(other.forwarding(url, timeout_s=0.2, drain_s=0.0))
        await stack.enter_async_context(own.forwarding(mosquitto.url))
        await own.until(lambda: own.health.up)
        await own.until(lambda: "did not accept a connection within 0.2 s" in others[HOLE].health.detail)
        await own.until(lambda: "no broker listens there" in others[DEAD].health.detail)
        await own.append(500)
        live = await subscriber.until(lambda message: message["values"]["n"] == 500)
        assert [message["values"]["n"] for message in live] == list(range(1, 501))
        assert not any(message["historical"] for message in live)
        await own.delivered()
        await others[SLOW].until(lambda: others[SLOW].health.acknowledged == 10)
        assert {name: own.buffer.backlog(name) for name in others} == {DEAD: 500, HOLE: 500, SLOW: 490}
        for _ in range(490):
            may_answer.release()
        await others[SLOW].delivered()
        assert {name: own.buffer.backlog(name) for name in others} == {DEAD: 500, HOLE: 500, SLOW: 0}
        hole.close()
        found.start()
        stack.callback(found.stop)
        await others[HOLE].delivered()
        assert own.buffer.backlog(DEAD) == 500


async def test_order_holds_for_each_device_in_each_lane_of_each_connection(scripted, line):
    """Connections break in the middle; nothing is acknowledged twice, and nothing is left out."""
    connections = []

    async def script(client):
        await client.version()
        client.connack()
        here = []
        connections.append(here)
        while len(here) < 60 or len(connections) > 8:
            message_id, topic, payload = await client.publish()
            if topic != STATUS:
                here.append(orjson.loads(payload))
            if topic == STATUS or len(here) % 25:
                client.puback(message_id)

    async with scripted.plays(script), line() as own, own.forwarding(scripted.url, silence_s=0.2):
        for _ in range(40):
            for device in ("infeed", "outfeed", "sorter"):
                await own.append(3, device=device)
        await own.delivered()
    seen = set()
    for here in connections:
        for device in ("infeed", "outfeed", "sorter"):
            for historical in (True, False):
                lane = [
                    int(message["id"].split("-")[1])
                    for message in here
                    if (message["device"], message["historical"]) == (device, historical)
                ]
                assert lane == sorted(set(lane))
                seen.update(lane)
    assert seen == set(range(1, 361))
    assert len(connections) > 3
    live = [int(message["id"].split("-")[1]) for here in connections for message in here if not message["historical"]]
    assert len(live) == len(set(live)), "live in one connection, history in every later one"


async def test_a_broker_that_acknowledges_nothing_for_days_takes_no_memory(scripted, line):
    broker = ScriptedBroker(lambda _message: None, connack=lambda: 0)
    async with scripted.plays(broker), line() as own:
        async with own.forwarding(scripted.url, silence_s=0.02, drain_s=0.0) as forwarding:
            for _ in range(10):
                before = broker.connections
                await own.append(20)
                await own.until(lambda before=before: broker.connections > before + 1)
            await own.until(lambda: not own.health.up)
            (backlog,) = [backlog for name, backlog in own.buffer._backlogs if name == NAME]
            assert not backlog.handed_out
            forwarding.cancel()
        assert own.buffer.backlog(NAME) == 200

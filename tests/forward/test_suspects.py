"""Which reading a broker hangs up on, and that it is never a good one that is set aside."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.buffer import inspect
from gateway.forward.suspects import MOST_HANG_UPS, MOST_WITHOUT_OTHERS, Suspects
from tests.forward.conftest import STATUS

REASON = f"{MOST_HANG_UPS} connections ended when it was sent alone, after others were accepted"


def number(message):
    return int(message["id"].split("-")[1])


class HangsUp:
    """Accepts readings, but ends the connection at some, and after every `most`, without an answer."""

    def __init__(self, *poison, most=None):
        self.poison = set(poison)
        self.most = most
        self.accepted = []
        self.connections = 0

    async def __call__(self, client):
        self.connections += 1
        await client.version()
        client.connack()
        here = 0
        while here != self.most:
            message_id, topic, payload = await client.publish()
            if topic != STATUS:
                message = orjson.loads(payload)
                for reading in message if isinstance(message, list) else [message]:
                    if number(reading) in self.poison:
                        return
                    self.accepted.append(number(reading))
                    here += 1
            client.puback(message_id)


async def goes_on(own, set_aside):
    """Append readings, each of which arrives, until that many are set aside and all others acknowledged."""
    async with asyncio.timeout(30):
        while own.health.set_aside < set_aside:
            await own.append()
            await own.until(lambda: own.health.acknowledged + set_aside >= own.appended)
        await own.delivered()


def test_a_reading_in_flight_at_two_ends_in_a_row_is_sent_alone_until_it_is_accepted():
    suspects = Suspects()
    suspects.ended({1, 2, 3}, others_accepted=True)
    assert not any(position in suspects for position in (1, 2, 3))
    suspects.ended({2, 3, 4}, others_accepted=True)
    assert [position in suspects for position in (1, 2, 3, 4)] == [False, True, True, False]
    suspects.forget([2])
    assert [position in suspects for position in (2, 3)] == [False, True]


def test_a_reading_is_hopeless_after_ends_at_it_alone_with_others_accepted():
    suspects = Suspects()
    ends = [suspects.ended({7}, others_accepted=True) for _ in range(MOST_HANG_UPS)]
    assert ends == [None] * (MOST_HANG_UPS - 1) + [7]
    assert 7 not in suspects


def test_a_broker_that_takes_nothing_at_all_makes_no_reading_hopeless():
    suspects = Suspects()
    assert [suspects.ended({7}, others_accepted=False) for _ in range(50)] == [None] * 50
    assert suspects.deferred == {7}


def test_a_reading_is_deferred_only_when_it_was_alone_at_several_ends_in_a_row():
    suspects = Suspects()
    for _ in range(MOST_WITHOUT_OTHERS - 1):
        suspects.ended({7}, others_accepted=False)
    suspects.ended(set(), others_accepted=False)
    suspects.ended({7}, others_accepted=False)
    assert not suspects.deferred


@pytest.mark.parametrize("other", [set(), {1, 2}])
def test_an_end_at_another_moment_clears_what_counted(other):
    suspects = Suspects()
    for _ in range(3):
        for _ in range(MOST_HANG_UPS - 1):
            assert suspects.ended({7}, others_accepted=True) is None
        assert suspects.ended(other, others_accepted=True) is None


@pytest.mark.parametrize("order", ["live-first", "in-order"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("poison", [(1,), (17, 18)], ids=str)
async def test_a_reading_at_which_the_broker_hangs_up_is_set_aside_alone(
    scripted, line, tmp_path, *, monkeypatch, caplog, order, batch, poison
):
    monkeypatch.setattr("gateway.forward.session.DEFERRED_S", 0.02)
    broker = HangsUp(*poison)
    async with scripted.plays(broker), line() as own:
        await own.append(40)
        replay = {"order": order, "start_within": 0.0}
        async with own.forwarding(scripted.url, batch=batch, replay=replay):
            await goes_on(own, len(poison))
        assert set(broker.accepted) == set(range(1, own.appended + 1)) - set(poison)
        assert own.health.acknowledged == own.appended - len(poison)
        kept = list(inspect.set_aside(tmp_path / "buffer.db"))
    assert [one["id"] for one in kept] == [f"{own.buffer.epoch}-{position}" for position in poison]
    assert {one["reason"] for one in kept} == {REASON}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert f"reading {poison[0]} is set aside" in errors[0]


@pytest.mark.parametrize("most", [2, 3, 10])
async def test_a_broker_that_hangs_up_at_any_reading_gets_all_of_them(scripted, line, most):
    broker = HangsUp(most=most)
    async with scripted.plays(broker), line() as own:
        await own.append(60)
        async with own.forwarding(scripted.url):
            for _ in range(10):
                await own.append()
            await own.delivered()
    assert own.health.set_aside == 0
    assert set(broker.accepted) == set(range(1, 71))


async def test_a_broker_that_takes_no_reading_sets_none_aside_and_gets_all_when_it_is_mended(scripted, line):
    broker = HangsUp(*range(1, 100))
    async with scripted.plays(broker), line() as own:
        await own.append(5)
        async with own.forwarding(scripted.url):
            await own.until(lambda: broker.connections > 3 * MOST_HANG_UPS)
            assert own.health.set_aside == 0
            broker.poison.clear()
            await own.delivered()
    assert own.health.set_aside == 0
    assert set(broker.accepted) == {1, 2, 3, 4, 5}


async def test_live_readings_pass_by_a_row_of_suspects(scripted, line):
    arrived = []
    connections = 0

    async def script(client):
        nonlocal connections
        connections += 1
        await client.version()
        client.connack()
        here = 0
        while here < 15 or connections > 2:
            message_id, topic, payload = await client.publish()
            if topic != STATUS:
                here += 1
            if topic == STATUS or connections > 2:
                client.puback(message_id)
                arrived.extend([] if topic == STATUS else [number(orjson.loads(payload))])
            if len(arrived) == 5 and own.appended == 15:
                await own.append()

    async with scripted.plays(script), line() as own:
        await own.append(15)
        async with own.forwarding(scripted.url):
            await own.delivered()
    assert arrived.index(16) < arrived.index(15)
    assert [one for one in arrived if one != 16] == list(range(1, 16))


async def test_what_was_answered_before_the_end_counts(scripted, line):
    """A refusal and the end of the connection arrive together, as from a mosquitto that limits its queue."""

    async def script(client):
        await client.version()
        client.connack()
        while True:
            message_id, topic, payload = await client.publish()
            refused = topic != STATUS and number(orjson.loads(payload)) == 3
            client.puback(message_id, 0x95 if refused else 0)
            if refused:
                return

    async with scripted.plays(script), line() as own:
        await own.append(5)
        async with own.forwarding(scripted.url):
            await own.delivered()
        assert (own.health.set_aside, own.health.acknowledged) == (1, 4)


async def test_what_the_end_of_a_connection_interrupts_is_set_aside_later_and_counted_once(
    scripted, line, tmp_path, caplog, monkeypatch
):
    refusals = {1: 0x95, 2: 0x95, 3: 0x99}
    connections = 0

    async def script(client):
        nonlocal connections
        connections += 1
        await client.version()
        client.connack()
        while True:
            message_id, topic, payload = await client.publish()
            client.puback(message_id, 0 if topic == STATUS else refusals.get(number(orjson.loads(payload)), 0))
            if connections == 1 and topic != STATUS and number(orjson.loads(payload)) == 3:
                return

    async with scripted.plays(script), line() as own:
        set_aside, interruptions = own.buffer.set_aside, iter([True])

        async def interrupted_in_the_second_reason(name, position, reason):
            await set_aside(name, position, reason)
            if position == 3 and next(interruptions, False):
                while True:  # until the lanes notice that the connection is over
                    await own.append()

        monkeypatch.setattr(own.buffer, "set_aside", interrupted_in_the_second_reason)
        await own.append(3)
        async with own.forwarding(scripted.url):
            await own.until(lambda: own.health.set_aside >= 3)
            await own.delivered()
        kept = list(inspect.set_aside(tmp_path / "buffer.db"))
        assert (own.health.set_aside, own.health.acknowledged) == (3, own.appended - 3)
    assert sorted(one["id"] for one in kept) == own.ids(1, 3)
    assert len({one["reason"] for one in kept}) == 2
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2


@pytest.mark.parametrize("order", ["live-first", "in-order"])
async def test_mosquitto_that_hangs_up_at_a_large_message_gets_all_the_others(mosquitto, line, tmp_path, order):
    mosquitto.options += ["message_size_limit 2000", "max_queued_messages 0"]
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(20)
        await own.append(value="x" * 3000)
        await own.append(20)
        async with own.forwarding(mosquitto.url, replay={"order": order}):
            await goes_on(own, 1)
        seen = set()
        while len(seen) < own.appended - 1:
            seen.add(number(orjson.loads((await subscriber.next()).payload)))
    assert seen == set(range(1, own.appended + 1)) - {21}

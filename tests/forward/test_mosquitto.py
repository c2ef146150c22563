"""From a real buffer to a real mosquitto, seen by an independent subscriber."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict

import orjson

ONLINE = {"online": True, "version": "1.2.3", "started_ms": 17, "history": 0}


async def test_a_committed_reading_arrives_and_leaves_the_buffer(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        async with own.forwarding(mosquitto.url):
            await own.until(lambda: own.health.up)
            await own.append()
            message = await subscriber.next()
            await own.delivered()
        assert orjson.loads(message.payload) == {
            "id": f"{own.buffer.epoch}-1",
            "ts_ms": 1_700_000_000_000,
            "gateway": "sort-01",
            "device": "infeed",
            "values": {"n": 1},
            "historical": False,
        }
        assert not message.retained
        assert (own.health.acknowledged, own.health.backlog, own.health.ever_up) == (1, 0, True)
        assert sum(own.health.publish_seconds.counts) >= 1


async def test_the_status_is_online_while_connected_and_offline_after_an_orderly_stop(mosquitto, line):
    mosquitto.start()
    async with line() as own:
        async with own.forwarding(mosquitto.url):
            await own.until(lambda: own.health.up)
            await own.append()
            await own.delivered()
            async with mosquitto.subscriber("hub/lgg/sort-01/status") as subscriber:
                status = await subscriber.next()
            assert status.retained
            said = orjson.loads(status.payload)
            assert said.pop("connected_ms") > said["started_ms"]
            assert said == ONLINE | {"epoch": own.buffer.epoch}
        assert not own.health.up
    async with mosquitto.subscriber("hub/lgg/sort-01/status") as subscriber:
        assert await subscriber.next() == ("hub/lgg/sort-01/status", True, b'{"online":false}')


async def test_the_status_says_how_much_history_is_to_come_and_when_it_has_been_sent(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/#") as subscriber:
        await own.append(3)
        async with own.forwarding(mosquitto.url):
            first, *readings, last = [await subscriber.next() for _ in range(5)]
    begun, ended = orjson.loads(first.payload), orjson.loads(last.payload)
    assert [orjson.loads(one.payload)["historical"] for one in readings] == [True] * 3
    assert (begun["online"], begun["history"]) == (True, 3)
    assert ended == begun | {"history": 0}


async def test_a_cancelled_forwarder_leaves_the_will_and_keeps_the_readings(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/status") as subscriber:
        async with own.forwarding(mosquitto.url) as task:
            assert orjson.loads((await subscriber.next()).payload)["online"] is True
            task.cancel()
            assert (await subscriber.next()).payload == b'{"online":false}'
            await own.append(3)
        assert own.buffer.backlog("hub-broker") == 3


async def test_a_broker_that_is_down_at_the_start_gets_everything_when_it_comes(mosquitto, line):
    async with line() as own:
        async with own.forwarding(mosquitto.url):
            await own.append(300)
            await own.until(lambda: "no broker listens there" in own.health.detail)
            mosquitto.start()
            await own.delivered()
        assert own.health.acknowledged == 300


async def test_every_committed_id_survives_a_broker_that_is_killed_and_comes_back(mosquitto, line):
    mosquitto.remember()
    mosquitto.options.append("max_inflight_messages 0")
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed", session="counter") as subscriber:
        mosquitto.remember()
        seen: dict[str, set[bytes]] = defaultdict(set)

        async def count() -> None:
            while True:
                content = orjson.loads((await subscriber.next(timeout_s=60)).payload)
                seen[content["id"]].add(orjson.dumps(content["values"]))

        async with own.forwarding(mosquitto.url), asyncio.TaskGroup() as group:
            counting = group.create_task(count())
            for _ in range(3):
                for _ in range(70):
                    await own.append()
                # the subscriber is connected again, too, and nothing is on its way: a mosquitto that is killed forgets
                # what it has acknowledged and not yet passed on
                await own.until(lambda: len(seen) == own.appended)
                mosquitto.stop(signal.SIGKILL)
                for _ in range(150):
                    await own.append()
                await own.until(lambda: not own.health.up)
                mosquitto.start()
            await own.until(lambda: len(seen) == own.appended)
            counting.cancel()
        assert sorted(seen, key=lambda name: int(name.split("-")[1])) == own.ids(1, own.appended)
        assert all(len(values) == 1 for values in seen.values())
        assert own.health.set_aside == 0


async def test_a_batch_is_an_array_of_one_device_in_order(mosquitto, line):
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/+") as subscriber:
        for _ in range(20):
            await own.append(device="infeed")
            await own.append(device="outfeed")
        async with own.forwarding(mosquitto.url, batch=8):
            arrays = await subscriber.until(
                lambda message: isinstance(message, list) and message[-1]["values"]["n"] == 40
            )
    readings = [message for message in arrays if isinstance(message, list)]
    assert [len(array) for array in readings] == [8, 8, 8, 8, 4, 4]
    for device, first in (("infeed", 1), ("outfeed", 2)):
        mine = [reading["values"]["n"] for array in readings for reading in array if reading["device"] == device]
        assert mine == list(range(first, 41, 2))


async def test_a_small_receive_maximum_slows_down_and_breaks_nothing(mosquitto, line):
    mosquitto.options.append("max_inflight_messages 5")
    mosquitto.start()
    async with line() as own:
        await own.append(300)
        async with own.forwarding(mosquitto.url):
            await own.append(300)
            await own.delivered()
        assert own.health.acknowledged == 600
    assert mosquitto.log.count("New client connected") == 1


async def test_a_forbidden_topic_is_set_aside_with_its_reason_and_the_line_goes_on(mosquitto, line, caplog):
    mosquitto.access("topic write hub/lgg/sort-01/status", "topic write hub/lgg/sort-01/outfeed")
    mosquitto.start()
    async with line() as own:
        await own.append(3, device="infeed")
        await own.append(2, device="outfeed")
        async with own.forwarding(mosquitto.url):
            await own.delivered()
            await own.until(lambda: own.health.set_aside == 3)
        assert (own.health.acknowledged, own.health.up) == (2, False)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "refused by the broker: not authorised (0x87)" in errors[0]


async def test_a_reading_too_large_for_the_broker_is_set_aside_alone(mosquitto, line):
    mosquitto.options.append("max_packet_size 2000")
    mosquitto.start()
    async with line() as own, mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber:
        await own.append(4)
        await own.append(value="x" * 3000)
        await own.append(1)
        async with own.forwarding(mosquitto.url, batch=10):
            messages = await subscriber.until(lambda message: message[-1]["values"]["n"] == 6)
            await own.until(lambda: own.health.set_aside == 1)
            await own.delivered()
        assert [reading["values"]["n"] for message in messages for reading in message] == [1, 2, 3, 4, 6]


async def test_a_frozen_broker_is_left_and_found_again(mosquitto, line):
    mosquitto.start()
    async with line() as own, own.forwarding(mosquitto.url, keepalive=1.0):
        await own.until(lambda: own.health.up)
        mosquitto.freeze()
        await own.append(10)
        await own.until(lambda: not own.health.up)
        assert "no reply to a ping" in own.health.detail
        mosquitto.stop(signal.SIGKILL)
        mosquitto.start()
        await own.delivered()
        assert own.health.up


async def test_stopping_drains_what_was_appended_last(mosquitto, line):
    mosquitto.start()
    async with line() as own:
        async with own.forwarding(mosquitto.url):
            await own.until(lambda: own.health.up)
            for _ in range(5):
                await own.append(200)
        assert own.buffer.backlog("hub-broker") == 0


async def test_a_destination_that_is_down_is_not_waited_for(mosquitto, line):
    async with line() as own:
        await own.append(5)
        async with asyncio.timeout(10), own.forwarding(mosquitto.url, drain_s=3600.0):
            await own.until(lambda: own.health.detail != "")
        assert own.buffer.backlog("hub-broker") == 5


async def test_a_refused_password_is_an_error_for_a_person(mosquitto, line, caplog):
    mosquitto.password("sort-01", "right")
    mosquitto.start()
    async with line() as own:
        async with own.forwarding(mosquitto.url, username="sort-01", password="wrong"):
            await own.until(lambda: own.health.detail != "")
        assert not own.health.ever_up
    (record,) = [record for record in caplog.records if record.name.startswith("gateway.forward")]
    assert record.levelname == "ERROR"
    assert "check its access list, username, password" in record.getMessage()
    assert "wrong" not in record.getMessage()


async def test_readings_of_an_earlier_run_are_sent_after_a_restart(mosquitto, line):
    async with line() as own:
        await own.append(20)
        epoch = own.buffer.epoch
    mosquitto.start()
    async with (
        line() as own,
        mosquitto.subscriber("hub/lgg/sort-01/infeed") as subscriber,
        own.forwarding(mosquitto.url),
    ):
        messages = await subscriber.until(lambda message: message["values"]["n"] == 20)
    assert [message["id"] for message in messages] == [f"{epoch}-{number}" for number in range(1, 21)]
    assert all(message["historical"] for message in messages)

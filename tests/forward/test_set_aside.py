"""What mosquitto refuses for good is set aside; once it is mended and asked for again, all of it arrives, as it was."""

from __future__ import annotations

import asyncio

import pytest

from gateway.buffer import inspect, retries
from tests.forward.conftest import NAME

LARGE = 3000


@pytest.mark.parametrize("limit", ["max_packet_size 2000", "message_size_limit 2000", "acl"])
@pytest.mark.parametrize("batch", [1, 10])
async def test_what_was_refused_arrives_under_its_ids_once_the_broker_takes_it(mosquitto, line, tmp_path, limit, batch):
    refused = {3, 4, 7}
    if limit == "acl":
        mosquitto.access("topic write hub/lgg/sort-01/status", "topic write hub/lgg/sort-01/small", "topic read #")
    else:
        mosquitto.options.append(limit)
    mosquitto.start()
    database = tmp_path / "buffer.db"
    async with line() as own:
        for number in range(1, 10):
            large = number in refused
            await own.append(device="large" if large else "small", value="x" * LARGE if large else number)
        async with own.forwarding(mosquitto.url, batch=batch):
            await own.until(lambda: own.health.set_aside == len(refused))
            await own.delivered()
        kept = list(inspect.set_aside(database))
        assert {one["id"] for one in kept} == {f"{own.buffer.epoch}-{position}" for position in refused}
        mosquitto.stop()
        mosquitto.options = ["allow_anonymous true"]
        mosquitto.start()
        async with mosquitto.subscriber("hub/#") as subscriber, own.forwarding(mosquitto.url, batch=batch):
            await own.until(lambda: own.health.up)
            (asked,) = await asyncio.to_thread(retries.request, database, [NAME], since_ns=0)
            assert asked.readings == len(refused)
            arrived = []
            while len(arrived) < len(refused):
                (found,) = (await subscriber.until(lambda _: True))[-1:]
                arrived += [one for one in (found if isinstance(found, list) else [found]) if "id" in one]
            await own.delivered()
        assert list(inspect.set_aside(database)) == []
    about = {"destination", "reason", "set_aside_ms"}
    sent_as_kept = [{key: value for key, value in one.items() if key in kept[0].keys() - about} for one in arrived]
    assert sent_as_kept == [
        {key: value for key, value in one.items() if key not in about and value != {}}
        for one in sorted(kept, key=lambda one: int(str(one["id"]).partition("-")[2]))
    ]
    assert all(one["historical"] for one in arrived)


async def test_what_is_still_refused_is_set_aside_again_once(mosquitto, line, tmp_path):
    mosquitto.access("topic write hub/lgg/sort-01/status")
    mosquitto.start()
    async with line() as own:
        await own.append(2)
        async with own.forwarding(mosquitto.url):
            await own.until(lambda: own.health.set_aside == 2)
            await asyncio.to_thread(retries.request, tmp_path / "buffer.db", [NAME], since_ns=0)
            await own.until(lambda: own.health.set_aside == 4)
            await own.until(lambda: retries.is_taken(tmp_path / "buffer.db"))
            await own.delivered()
        assert (own.health.set_aside, own.health.acknowledged) == (4, 0)
    assert inspect.status(tmp_path / "buffer.db").set_aside == {NAME: 2}

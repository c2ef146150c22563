"""A broker that hangs up whenever it refuses costs the others of its devices nothing."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.buffer import inspect, retries
from gateway.forward.bars import AT_ONCE_S, ENOUGH, TRY_EVERY_S, Bars
from tests.forward.conftest import NAME, STATUS


def barred(bars: Bars, *, now_s: float = 0.0) -> Bars:
    for _ in range(ENOUGH):
        bars.refused("door", "no", now_s=now_s)
        assert bars.ended(now_s=now_s)
    return bars


def test_a_device_is_barred_when_enough_connections_have_ended_over_it():
    bars = Bars()
    for _ in range(ENOUGH):
        assert bars.why_not("door", 1, now_s=0.0) is None
        bars.refused("door", "no", now_s=0.0)
        assert bars.ended(now_s=0.0)
    assert bars.why_not("door", 1, now_s=0.0) == "no"
    assert bars.why_not("gate", 1, now_s=0.0) is None


def test_a_refusal_that_ends_nothing_clears_what_counted():
    bars = Bars()
    for _ in range(3 * ENOUGH):
        for after_s in (0.0, 2 * AT_ONCE_S):
            bars.refused("door", "no", now_s=0.0)
            assert bars.ended(now_s=after_s) is (after_s == 0.0)
    assert not bars


def test_now_and_then_one_is_tried_and_lifts_the_bar_when_it_is_accepted():
    bars = barred(Bars())
    assert bars.why_not("door", 7, now_s=TRY_EVERY_S) is None
    assert bars.why_not("door", 8, now_s=TRY_EVERY_S) == "no"
    assert bars.accepted([6, 8]) == []
    assert bars.accepted([7]) == [("door", "no")]
    assert bars.why_not("door", 9, now_s=TRY_EVERY_S) is None


def test_when_somebody_lifts_them_one_more_end_bars_again():
    bars = barred(Bars())
    bars.lift()
    assert bars.why_not("door", 7, now_s=1.0) is None
    bars.refused("door", "no", now_s=1.0)
    bars.ended(now_s=1.0)
    assert bars.why_not("door", 8, now_s=1.0) == "no"


class Refuses:
    """Answers the readings of some devices with a reason code and the end of the connection."""

    def __init__(self, *devices: str, code: int) -> None:
        self.devices = set(devices)
        self.code = code
        self.connections = 0

    async def __call__(self, client):
        self.connections += 1
        await client.version()
        client.connack()
        while True:
            message_id, topic, payload = await client.publish()
            refused = topic != STATUS and orjson.loads(payload)["device"] in self.devices
            client.puback(message_id, self.code if refused else 0)
            if refused:
                return


@pytest.mark.parametrize("code", [0x87, 0x90])
async def test_a_device_that_the_broker_refuses_is_set_aside_unsent_and_the_others_go_on(
    scripted, line, tmp_path, caplog, code
):
    broker = Refuses("door", code=code)
    async with scripted.plays(broker), line() as own:
        async with own.forwarding(scripted.url):
            for _ in range(30):
                await own.append(device="door")
                await own.append()
                await own.delivered()
        assert (own.health.set_aside, own.health.acknowledged) == (30, 30)
        reasons = [one["reason"] for one in inspect.set_aside(tmp_path / "buffer.db")]
    assert broker.connections <= ENOUGH + 2
    assert sum(reason.startswith("not sent, because the broker refuses door") for reason in reasons) >= 26
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2


async def test_when_it_is_allowed_and_sent_again_everything_arrives(scripted, line, tmp_path):
    broker = Refuses("door", code=0x87)
    async with scripted.plays(broker), line() as own, own.forwarding(scripted.url):
        for _ in range(10):
            await own.append(device="door")
            await own.delivered()
        broker.devices.clear()
        await own.buffer.flush()
        (asked,) = await asyncio.to_thread(retries.request, tmp_path / "buffer.db", [NAME], since_ns=0)
        assert asked.readings == 10
        await own.until(lambda: own.health.acknowledged == 10)
        await own.append(device="door")
        await own.delivered()
        assert own.health.set_aside == 10
        assert list(inspect.set_aside(tmp_path / "buffer.db")) == []


async def test_when_it_is_allowed_one_that_is_tried_shows_it(scripted, line, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("gateway.forward.bars.TRY_EVERY_S", 0.05)
    broker = Refuses("door", code=0x87)
    async with scripted.plays(broker), line() as own, own.forwarding(scripted.url):
        while not any("not sent" in record.getMessage() for record in caplog.records):
            await own.append(device="door")
            await own.delivered()
        broker.devices.clear()
        while own.health.acknowledged < 3:
            await own.append(device="door")
            await own.delivered()
    assert sum("the broker takes door again" in record.getMessage() for record in caplog.records) == 1

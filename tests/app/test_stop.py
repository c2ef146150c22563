"""How the daemon ends: by signal, with and without a broker that listens, and by SIGKILL."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway, recorder, until
from tests.plugins.mosquitto import Mosquitto
from tests.plugins.scripted_broker import Client, Scripted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_delivers_what_was_taken_and_says_offline(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path, number: signal.Signals
) -> None:
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    mosquitto.start()
    with recorder(mosquitto, tmp_path) as recorded:
        gateway.start()
        until(lambda: len(recorded.readings()) > 5, "readings arrive")
        assert gateway.stop(number) == 0
        assert gateway.waiting() == {"broker": 0}
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        until(lambda: recorded.positions(epoch) == set(range(1, gateway.committed() + 1)), "everything has arrived")
        statuses = recorded.messages("hub/lgg/sort-01/status")
    assert [status["online"] for status in statuses] == [True, False]
    assert "stopping: no new readings, up to 10 s" in gateway.log
    assert gateway.log.endswith(f"stopped; 0 readings wait in {gateway.buffer}\n")
    assert "Traceback" not in gateway.log
    assert "ERROR" not in gateway.log


def test_a_stop_with_the_broker_down_waits_for_nobody_and_keeps_everything(gateway: Gateway, fleet: Fleet) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.start()
    until(lambda: gateway.committed() >= 3, "readings are committed")
    gateway.send(signal.SIGTERM)
    assert gateway.ended(timeout_s=5) == 0  # half of what it would wait for a broker that is there
    assert gateway.waiting() == {"broker": gateway.committed()}
    assert "Traceback" not in gateway.log


async def test_a_second_signal_ends_the_wait_for_a_broker_that_never_acknowledges(
    gateway: Gateway, scripted: Scripted, fleet: Fleet
) -> None:
    published = asyncio.Event()

    async def never_acknowledges(client: Client) -> None:
        assert await client.version() == 5
        client.connack()
        while True:
            _, topic, _ = await client.publish()
            if not topic.endswith("status"):
                published.set()

    async with scripted.plays(never_acknowledges):
        gateway.settings["destinations"][0]["url"] = scripted.url
        gateway.settings["devices"] = [fleet.device(1)]
        gateway.launch()
        async with asyncio.timeout(20):
            await published.wait()
        gateway.send(signal.SIGTERM)
        await asyncio.to_thread(gateway.wait_for_log, "stopping: no new readings")
        gateway.send(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.ended, timeout_s=5) == 0
    assert len(gateway.lines("asked to stop again: not waiting for the destinations")) == 1
    assert gateway.waiting() == {"broker": gateway.committed()}
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_comes_before_there_is_anything_to_stop_ends_in_good_order(
    gateway: Gateway, fleet: Fleet, number: signal.Signals
) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.launch()
    until(lambda: _held_back(gateway.pid, number), "it has begun to start")
    gateway.send(number)
    assert gateway.ended() == 0
    assert gateway.log.endswith(f"stopped; 0 readings wait in {gateway.buffer}\n")
    assert "Traceback" not in gateway.log
    assert gateway.waiting() == {"broker": 0}


def test_a_reload_that_is_asked_for_before_it_runs_is_done_when_it_does(gateway: Gateway, fleet: Fleet) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.launch()
    until(lambda: _held_back(gateway.pid, signal.SIGHUP), "it has begun to start")
    gateway.send(signal.SIGHUP)
    gateway.wait_for_log("config reloaded; destinations: 1 unchanged")
    assert gateway.stop() == 0


def test_a_stop_in_a_reload_ends_in_good_order(gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet) -> None:
    gateway.settings["devices"] = [fleet.device(number) for number in (1, 2, 3)]
    mosquitto.start()
    gateway.start()
    until(lambda: gateway.metric("destination_acknowledged_readings_total", "broker") > 3, "readings arrive")
    gateway.settings["devices"] = [fleet.device(number) for number in (3, 4, 5)]
    gateway.settings["destinations"][0]["keepalive"] = "17s"
    gateway.write()
    gateway.send(signal.SIGHUP)
    gateway.send(signal.SIGTERM)
    assert gateway.ended() == 0
    assert "stopped; " in gateway.log.splitlines()[-1]
    assert "Traceback" not in gateway.log
    assert not gateway.lines("ERROR")


async def test_a_stop_does_not_wait_for_a_broker_that_does_not_answer_and_reloads_no_more(
    gateway: Gateway, scripted: Scripted, fleet: Fleet
) -> None:
    asked, published = asyncio.Event(), asyncio.Event()

    async def never_answers(client: Client) -> None:
        await client.version()
        asked.set()
        await client.version()

    async def never_acknowledges(client: Client) -> None:
        await client.version()
        client.connack()
        while True:
            _, topic, _ = await client.publish()
            if not topic.endswith("status"):
                published.set()

    async with scripted.plays(never_answers):
        gateway.settings["destinations"] = [{"name": "deaf", "url": scripted.url}]
        gateway.settings["devices"] = [fleet.device(1)]
        gateway.launch()
        async with asyncio.timeout(20):
            await asked.wait()
        await asyncio.to_thread(gateway.wait_for_log, "status page and metrics on")
        gateway.send(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.ended, timeout_s=5) == 0
    async with scripted.plays(never_acknowledges):
        gateway.settings["destinations"] = [{"name": "deaf", "url": scripted.url}]
        gateway.launch()
        async with asyncio.timeout(20):
            await published.wait()
        gateway.send(signal.SIGTERM)
        await asyncio.to_thread(gateway.wait_for_log, "stopping: no new readings", times=2)
        gateway.send(signal.SIGHUP)
        await asyncio.to_thread(gateway.wait_for_log, "not reloading the config: the gateway is stopping")
        gateway.send(signal.SIGINT)
        assert await asyncio.to_thread(gateway.ended, timeout_s=5) == 0
    assert gateway.log.endswith(f"; deaf lacks {gateway.committed()}\n")
    assert "Traceback" not in gateway.log


@pytest.mark.parametrize("signals", [1, 2])
def test_what_could_not_be_committed_before_the_end_is_counted_and_told_by_the_exit_code(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, signals: int
) -> None:
    if signals == 2:
        mosquitto.start()  # so that there is a drain to skip
    gateway.settings["devices"] = [fleet.device(1)]
    gateway.start()
    until(lambda: gateway.committed() >= 3, "readings are committed")
    committed = gateway.committed()
    with locked(gateway.buffer):
        gateway.wait_for_log("readings are kept in memory")
        held = until(lambda: gateway.metric("buffer_readings") > committed + 2, "readings gather in memory")
        assert held
        for number in range(signals):
            gateway.send(signal.SIGTERM)
            gateway.wait_for_log(("stopping: no new readings", "asked to stop again")[number])
        assert gateway.ended() == 74
    assert len(gateway.lines("dropping readings from the buffer (shutdown): ")) == 1
    assert "Traceback" not in gateway.log
    gateway.start()
    assert gateway.stop() == 0
    assert gateway.committed() >= committed


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can commit to the database."""
    database = sqlite3.connect(path, isolation_level=None, timeout=20)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
    finally:
        database.close()


def _held_back(pid: int, number: signal.Signals) -> bool:
    """Whether the process has this signal wait until it can be handled."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(next(masks), 16) >> (number - 1) & 1)


def test_nothing_that_was_committed_is_lost_by_sigkill_with_the_broker_up_and_down(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path
) -> None:
    gateway.settings["devices"] = [fleet.device(number, period="50ms") for number in (1, 2, 3)]
    mosquitto.remember()
    mosquitto.start()
    with recorder(mosquitto, tmp_path) as recorded:
        committed = 0
        for run in range(5):
            if run % 2:
                mosquitto.stop()
            gateway.launch()
            _until_more(lambda: _committed(gateway), than=committed + 20)
            if not run % 2:
                _until_more(lambda: len(recorded.readings()), than=len(recorded.readings()))
            committed = _committed(gateway)
            gateway.kill()
            assert _committed(gateway) >= committed
            if run % 2:
                mosquitto.start()
        gateway.start()
        until(lambda: gateway.waiting()["broker"] < 10, "the backlog has been delivered")
        assert gateway.stop() == 0
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        promised = set(range(1, gateway.committed() + 1))
        until(lambda: recorded.positions(epoch) >= promised, "every committed reading has arrived")
        readings = recorded.readings()
        statuses = [status["online"] for status in recorded.messages("hub/lgg/sort-01/status")]
    assert len(promised) > 5 * 20
    assert {reading["id"].partition("-")[0] for reading in readings} == {epoch}
    assert recorded.positions(epoch) == promised
    contents: dict[str, str] = {}
    for reading in readings:
        reading.pop("historical")
        assert contents.setdefault(reading["id"], json.dumps(reading)) == json.dumps(reading)
    assert statuses[:2] == [True, False]  # the will
    assert statuses[-1] is False
    assert not gateway.lines("ERROR")


def _until_more(count: Callable[[], int], *, than: int) -> None:
    until(lambda: count() > than, f"there are more than {than} readings")


def _committed(gateway: Gateway) -> int:
    from gateway.buffer import BufferUnavailable

    try:
        return gateway.committed()
    except (BufferUnavailable, KeyError):  # it is being made
        return 0

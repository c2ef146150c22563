"""First light: from a simulated device to an independent subscriber, and everything that can be seen on the way."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway, Recorder, hub, hub_gateway, recorder, until
from tests.plugins.mosquitto import Mosquitto

METRICS = """
build_info device_up readings_total values_total read_errors_total read_duration_seconds_bucket
read_lateness_seconds_bucket reads_missed_total reconnects_total buffer_readings buffer_bytes buffer_oldest_age_seconds
buffer_dropped_readings_total buffer_commit_seconds_bucket buffer_seconds_until_full destination_up
destination_acknowledged_readings_total destination_backlog_readings destination_set_aside_total
destination_publish_seconds_bucket event_loop_lag_seconds process_cpu_seconds_total process_resident_memory_bytes
"""


@dataclass
class FirstLight:
    """A gateway that was started while its broker was down, and what it said before the broker came."""

    gateway: Gateway
    broker: Mosquitto
    recorder: Recorder
    health_before: tuple[int, str]
    readiness_before: tuple[int, str]
    buffer_before: list[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def first_light(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Iterator[FirstLight]:
    folder = tmp_path_factory.mktemp("first-light")
    with hub(folder) as (broker, gateway):
        broker.remember()
        broker.start()
        with recorder(broker, folder) as recorded:
            broker.stop()
            gateway.settings["devices"] = [
                fleet.device(1),
                fleet.device(2, points=("holding:0", "holding:500")),
                fleet.device(3) | {"url": "tcp://no-such-host.invalid:502"},
            ]
            gateway.start()
            gateway.wait_for_log("broker: cannot connect to")
            until(lambda: gateway.committed() >= 10, "ten readings are committed")
            pages = gateway.page("/healthz"), gateway.page("/readyz")
            views = ("status",), ("tail", "-n", "2", "--destination", "broker"), ("export", "--destination", "brocker")
            buffer = [hub_gateway("buffer", *view, "-c", gateway.config) for view in views]
            broker.start()
            yield FirstLight(gateway, broker, recorded, *pages, buffer)


def test_it_is_healthy_at_once_and_ready_when_the_broker_has_been_reached(first_light: FirstLight) -> None:
    assert first_light.health_before == (200, "ok: the buffer accepts writes\n")
    assert first_light.readiness_before[0] == 503
    assert f"broker: cannot connect to {first_light.broker.url}: Connection refused" in first_light.readiness_before[1]
    until(lambda: first_light.gateway.page("/readyz")[0] == 200, "it is ready")


def test_everything_from_the_first_reading_on_arrives_in_the_shape_of_the_contract(first_light: FirstLight) -> None:
    def live() -> int:
        return sum(not each["historical"] for each in first_light.recorder.readings("device-001"))

    until(lambda: live() > 10, "live readings arrive")
    readings = first_light.recorder.readings("device-001")
    in_order = sorted(readings, key=lambda each: int(each["id"].partition("-")[2]))  # live readings overtake history
    first, last = in_order[0], in_order[-1]
    assert list(first) == ["id", "ts_ms", "gateway", "device", "values", "historical"]
    assert re.fullmatch(r"[0-9a-f]{8}-\d+", first["id"])
    assert abs(first["ts_ms"] / 1000 - time.time()) < 60
    assert (first["gateway"], first["historical"]) == ("sort-01", True)
    assert first["values"]["p1"] == (first["values"]["p0"] + 1) % 65536
    assert last["historical"] is False
    epoch = first["id"].partition("-")[0]
    arrived = first_light.recorder.positions(epoch)
    newest = max(arrived)
    until(lambda: first_light.recorder.positions(epoch) >= set(range(1, newest + 1)), "there is no gap")
    for historical in (True, False):
        lane = [int(each["id"].partition("-")[2]) for each in readings if each["historical"] is historical]
        assert lane == sorted(lane)


def test_a_register_that_is_not_there_costs_its_own_point_only(first_light: FirstLight) -> None:
    until(lambda: first_light.recorder.readings("device-002"), "a reading arrives")
    for reading in first_light.recorder.readings("device-002"):
        assert reading["quality"] == {"p1": "bad:illegal-address"}
        assert reading["values"].keys() == {"p0"}
    assert first_light.gateway.metric("device_up", "device-002", "modbus") == 1
    assert len(first_light.gateway.lines("has no address for p1 (holding:500, uint16)")) == 1


def test_a_host_name_that_does_not_resolve_is_said_once_and_marks_the_device(first_light: FirstLight) -> None:
    gateway = first_light.gateway
    assert gateway.metric("device_up", "device-003", "modbus") == 0
    assert gateway.metric("read_errors_total", "device-003", "comm-failure") >= 1
    (told,) = gateway.lines("device-003 is down")
    assert "the host name no-such-host.invalid does not resolve" in told
    assert "check the spelling and the name server" in told
    until(lambda: first_light.recorder.readings("device-003"), "its bad reading arrives")
    (reading,) = first_light.recorder.readings("device-003")
    assert reading["quality"] == {"p0": "bad:comm-failure", "p1": "bad:comm-failure"}
    assert reading["values"] == {}


async def test_the_status_topic_says_online_to_whoever_asks_later(first_light: FirstLight) -> None:
    until(lambda: first_light.gateway.page("/readyz")[0] == 200, "it is ready")
    async with first_light.broker.subscriber("hub/lgg/sort-01/status") as late:
        message = await late.next()
    assert message.retained
    status = json.loads(message.payload)
    assert status["online"] is True
    assert status.keys() == {"online", "version", "epoch", "started_ms", "connected_ms", "history"}


def test_every_metric_of_the_contract_is_there(first_light: FirstLight) -> None:
    until(lambda: first_light.gateway.page("/readyz")[0] == 200, "it is ready")
    metrics = first_light.gateway.metrics()
    assert set(METRICS.split()) - {"buffer_dropped_readings_total"} <= {name for name, _ in metrics}
    assert metrics["device_up", ("device-001", "modbus")] == 1
    assert metrics["destination_up", ("broker",)] == 1
    until(
        lambda: first_light.gateway.metric("destination_acknowledged_readings_total", "broker") > 20, "they are counted"
    )


def test_the_buffer_can_be_looked_into_while_the_daemon_runs(first_light: FirstLight) -> None:
    status, tail, unknown = first_light.buffer_before
    assert (status.returncode, status.stderr) == (0, "")
    assert re.search(r"^epoch      [0-9a-f]{8}$", status.stdout, re.MULTILINE)
    assert re.search(r"^waiting    [1-9]\d* for broker$", status.stdout, re.MULTILINE)
    assert re.search(r"^dropped    0$", status.stdout, re.MULTILINE)
    assert tail.returncode == 0
    newest = [json.loads(line) for line in tail.stdout.splitlines()]
    assert len(newest) == 2
    assert newest[0].keys() == {"id", "ts_ms", "device", "values", "quality"}
    assert unknown.returncode == 78
    assert unknown.stderr.endswith('knows no destination "brocker"; it knows broker\n')


def test_a_second_gateway_on_the_same_buffer_gives_up(first_light: FirstLight) -> None:
    told = hub_gateway("run", "-c", first_light.gateway.config)
    assert told.returncode == 74
    assert told.stderr == (
        f"hub-gateway: another gateway is running with the buffer {first_light.gateway.buffer} "
        f"(pid {first_light.gateway.pid}); stop it, or give this one a buffer.path of its own\n"
    )


def test_buffers_that_cannot_be_opened_are_told_with_what_to_do(tmp_path: Path, fleet: Fleet) -> None:
    """All at once, because a process needs its time to start."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    database = sqlite3.connect(tmp_path / "other")
    database.execute("CREATE TABLE t (x)")
    database.close()
    expected = {
        tmp_path / "file" / "buffer.db": "make the directory",
        tmp_path / "missing" / "buffer.db": "make the directory",
        tmp_path / ("a" * 300) / "buffer.db": "File name too long",
        tmp_path / "folder": "Is a directory",
        tmp_path / "other": "is a database of another program; change buffer.path",
    }
    runs = []
    for number, path in enumerate(expected):
        gateway = Gateway(tmp_path / f"gateway-{number}")
        gateway.settings["buffer"]["path"] = str(path)
        gateway.settings["devices"] = [fleet.device(1)]
        gateway.launch()
        runs.append(gateway)
    codes = [gateway.ended() for gateway in runs]
    assert codes == [74] * len(runs)
    for gateway, (path, hint) in zip(runs, expected.items(), strict=True):
        (line,) = gateway.log.splitlines()
        assert line.startswith("hub-gateway: ")
        assert str(path) in line
        assert hint in line


async def test_a_taken_port_for_the_pages_stops_no_reading(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet
) -> None:
    mosquitto.start()
    gateway.settings["devices"] = [fleet.device(1)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway.settings["http"]["listen"] = listen
        async with mosquitto.subscriber("hub/lgg/sort-01/device-001") as subscriber:
            gateway.launch("--log-format", "json")
            await subscriber.next()
        gateway.wait_for_log("no status page and no metrics")
    gateway.wait_for_log(f"status page and metrics on http://{listen}")
    records = [json.loads(line) for line in gateway.log.splitlines()]
    assert all({"ts", "level", "logger", "message"} <= record.keys() for record in records)
    (told,) = (record for record in records if "no status page" in record["message"])
    assert told["level"] == "error"
    assert f"cannot listen on {listen}: Address already in use" in told["message"]
    assert "choose a free port" in told["message"]
    assert next(record for record in records if record["message"] == "device-001 is up")["device"] == "device-001"
    assert gateway.stop() == 0


def test_a_refused_password_and_a_refused_topic_are_said_and_lose_nothing(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet
) -> None:
    mosquitto.password("sort-01", "right")
    mosquitto.access("user sort-01", "topic write hub/lgg/sort-01/status", "topic write hub/lgg/sort-01/device-001")
    mosquitto.start()
    destination = {"url": mosquitto.url, "username": "sort-01"}
    gateway.settings["destinations"] = [
        {"name": "wrong", "client_id": "wrong", "password": "wr0ng-secret", **destination},
        {"name": "right", "client_id": "right", "password": "right", **destination},
    ]
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    gateway.start()
    until(lambda: gateway.metric("destination_set_aside_total", "right") >= 2, "the refused readings are set aside")
    until(lambda: gateway.metric("destination_acknowledged_readings_total", "right") >= 2, "the others are not")
    gateway.wait_for_log("ERROR   gateway.forward.line: wrong: ")
    assert "wr0ng-secret" not in gateway.log
    (refused,) = gateway.lines("wrong: ")
    assert 'it does not let the user "sort-01" connect; check its access list, username, password' in refused
    (aside,) = gateway.lines("is set aside")
    assert "see hub-gateway buffer set-aside" in aside
    assert (gateway.metric("destination_up", "wrong"), gateway.metric("destination_up", "right")) == (0, 1)
    status, why = gateway.page("/readyz")
    assert (status, "wrong: " in why, "right: " in why) == (503, True, False)
    assert gateway.stop() == 0
    told = hub_gateway("buffer", "set-aside", "-c", gateway.config)
    records = [json.loads(line) for line in told.stdout.splitlines()]
    assert {(record["destination"], record["device"]) for record in records} == {("right", "device-002")}
    assert all("not authorised (0x87)" in record["reason"] for record in records), records[0]
    assert gateway.waiting()["wrong"] == gateway.committed()


def test_under_journald_every_line_has_its_priority(tmp_path: Path, fleet: Fleet) -> None:
    """systemd names the stream that it has connected to the journal; a variable inherited from elsewhere is none."""
    journal = tmp_path / "journal"
    program = (
        "import os, sys; from gateway.logs import start_logging; import logging; "
        "file = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{file.st_dev}:{file.st_ino}' if sys.argv[1] else '8:1'; "
        "start_logging(None, level='info'); log = logging.getLogger('a'); log.warning('one\\ntwo'); log.error('x')"
    )
    with journal.open("wb") as stream:
        subprocess.run([sys.executable, "-c", program, "yes"], stderr=stream, check=True)
    assert journal.read_text() == "<4>a: one\n<4>two\n<3>a: x\n"
    with journal.open("wb") as stream:
        subprocess.run([sys.executable, "-c", program, ""], stderr=stream, check=True)
    assert re.match(r"\d{4}-\d\d-\d\d \S+ WARNING a: one\n", journal.read_text())

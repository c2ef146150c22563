"""Commands end to end: an independent MQTT client, a real broker, the daemon, and a device of libmodbus."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import ROOT, Gateway, hub, until
from tests.plugins.documents import REPOSITORY, Document
from tests.plugins.mosquitto import Mosquitto

TOPIC = "hub/lgg/sort-01/lift/set"
POINTS = [
    {"name": "speed", "address": "holding:0", "type": "uint16", "scale": 0.001, "unit": "m/s", "writable": True}
    | {"min": 0, "max": 2.5},
    {"name": "run", "address": "coil:0", "writable": True},
    {"name": "load", "address": "holding:1", "type": "int16"},
]


class Client:
    """`mosquitto_rr`, `mosquitto_pub` and `mosquitto_sub`, which share no code with the gateway."""

    def __init__(self, broker: Mosquitto) -> None:
        self._to = ("-h", "127.0.0.1", "-p", str(broker.port), "-q", "1")

    def ask(self, point: str, payload: str, *options: str, version: str = "5", device: str = "lift") -> dict[str, Any]:
        """Send a command with a response topic and return the answer."""
        topic = f"hub/lgg/sort-01/{device}/set/{point}"
        asking = [
            "mosquitto_rr",
            *self._to,
            "-V",
            version,
            "-W",
            "15",
            *(options if "-e" in options else ("-e", "answers", *options)),
        ]
        told = subprocess.run(
            [*asking, "-t", topic, "-m", payload], stdout=subprocess.PIPE, text=True, timeout=30, check=True
        )
        answer: dict[str, Any] = json.loads(told.stdout)
        return answer

    def tell(self, point: str, payload: str, *options: str) -> None:
        """Send a command without a response topic."""
        subprocess.run([*self.telling(point, payload), *options], timeout=30, check=True)

    def telling(self, point: str, payload: str) -> list[str]:
        """What sends a command without a response topic."""
        return ["mosquitto_pub", *self._to, "-t", f"{TOPIC}/{point}", "-m", payload]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Modbus server of libmodbus, which serves one client at a time."""
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.fail("libmodbus or gcc is missing: apt-get install gcc libmodbus-dev", pytrace=False)
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    source = ROOT / "tests" / "drivers" / "modbus" / "libmodbus_server.c"
    subprocess.run(["gcc", "-I/usr/include/modbus", str(source), "-o", str(program), "-lmodbus"], check=True)
    return program


@contextmanager
def lift(program: Path) -> Iterator[dict[str, Any]]:
    """The config of a device with 100 of everything, all 0."""
    with subprocess.Popen([str(program), "tcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("size 100\nserve\n")
        process.stdin.flush()
        port = int(process.stdout.readline())
        yield {"name": "lift", "driver": "modbus", "url": f"tcp://127.0.0.1:{port}", "points": POINTS}
        process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[tuple[Gateway, Client]]:
    with lift(program) as device, hub(tmp_path_factory.mktemp("commands")) as (broker, gateway):
        broker.start()
        gateway.settings["commands"] = {"enabled": True}
        gateway.settings["devices"] = [device]
        gateway.start()
        until(lambda: gateway.device("lift")["up"], "the device is up")
        until(lambda: f"{TOPIC.replace('lift', '+')}/+ (QoS 1)" in broker.log, "the gateway has subscribed")
        yield gateway, Client(broker)


def test_a_command_is_written_and_answered_with_what_the_device_holds(running: tuple[Gateway, Client]) -> None:
    gateway, client = running
    assert client.ask("speed", '{"value": 1.234}') == {"ok": True, "value": 1.234}
    until(lambda: _point(gateway, "speed")["value"] == 1.234, "the next reading has it")
    assert client.ask("run", '{"value": true}') == {"ok": True, "value": True}
    assert client.ask("run", '{"value": false}') == {"ok": True, "value": False}


def test_without_a_response_topic_the_answer_is_found_below_the_command(running: tuple[Gateway, Client]) -> None:
    _, client = running
    assert client.ask("speed", '{"value": 1}', "-e", f"{TOPIC}/speed/result", version="311") == {
        "ok": True,
        "value": 1.0,
    }


@pytest.mark.parametrize(
    ("point", "payload", "error"),
    [
        ("load", '{"value": 1}', 'lift: point "load" is not writable; its entry needs `writable: true`'),
        ("weight", '{"value": 1}', 'lift: there is no point "weight"'),
        ("speed", '{"value": 2.501}', "speed takes a number from 0 to 2.5, not 2.501"),
        ("speed", "1", 'the payload must be an object with the one key "value": {"value": …}'),
        ("run", '{"value": 2}', "run"),
        ("run", '{"value": "yes"}', "run"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(
    running: tuple[Gateway, Client], point: str, payload: str, error: str
) -> None:
    gateway, client = running
    refused = gateway.metric("commands_total", "lift", "refused")
    answer = client.ask(point, payload)
    assert not answer["ok"]
    assert error in answer["error"]
    assert gateway.metric("commands_total", "lift", "refused") == refused + 1


def test_a_device_that_does_not_exist_is_named(running: tuple[Gateway, Client]) -> None:
    _, client = running
    answer = client.ask("speed", '{"value": 1}', device="nobody")
    assert answer == {"ok": False, "error": 'there is no device "nobody"'}


def test_a_retained_command_is_refused(running: tuple[Gateway, Client]) -> None:
    gateway, client = running
    client.tell("speed", '{"value": 2}', "-r")
    gateway.wait_for_log("a retained command is not carried out")
    client.tell("speed", "", "-r")
    assert client.ask("run", '{"value": false}')["ok"]
    assert _point(gateway, "speed")["value"] != 2


def test_a_command_that_comes_twice_is_carried_out_once(running: tuple[Gateway, Client]) -> None:
    gateway, client = running
    before = gateway.metrics()
    options = ("-D", "publish", "correlation-data", "order-4711")
    answers = [client.ask("speed", '{"value": 0.5}', *options) for _ in range(2)]
    assert answers == [{"ok": True, "value": 0.5}] * 2
    after = gateway.metrics()
    told = {outcome: after[key] - before[key] for outcome in ("written", "repeated") for key in [_key(outcome)]}
    assert told == {"written": 1, "repeated": 1}


def test_every_command_is_in_the_log(running: tuple[Gateway, Client]) -> None:
    gateway, client = running
    client.ask("speed", '{"value": 0.75}')
    client.ask("speed", '{"value": 99}')
    written, refused = gateway.lines("command written: ")[-1], gateway.lines("command refused: ")[-1]
    assert '{"value": 0.75} of broker on hub/lgg/sort-01/lift/set/speed: lift: now it is 0.75' in written
    assert " INFO " in written
    assert refused.endswith("lift: speed takes a number from 0 to 2.5, not 99")


def test_after_a_reload_commands_find_the_devices_that_there_are(running: tuple[Gateway, Client]) -> None:
    gateway, client = running
    device = gateway.settings["devices"][0]
    gateway.settings["devices"] = [device | {"points": [POINTS[0] | {"max": 1}, POINTS[2] | {"writable": True}]}]
    gateway.write()
    gateway.send(signal.SIGHUP)
    gateway.wait_for_log("config reloaded; links: restarted")
    until(lambda: len(gateway.device("lift")["points"]) == 2, "the new points are read")
    assert client.ask("load", '{"value": -7}') == {"ok": True, "value": -7}
    assert client.ask("speed", '{"value": 1.5}')["error"] == "speed takes a number from 0 to 1, not 1.5"
    assert client.ask("run", '{"value": true}')["error"] == 'lift: there is no point "run"'


def test_commands_are_off_unless_they_are_enabled(tmp_path: Path, program: Path) -> None:
    with lift(program) as device, hub(tmp_path) as (broker, gateway):
        broker.start()
        gateway.settings["devices"] = [device]
        gateway.settings["destinations"].append({"name": "no", "client_id": "no", "url": broker.url, "commands": False})
        gateway.start()
        until(lambda: gateway.metric("destination_acknowledged_readings_total", "broker"), "readings go out")
        assert "SUBSCRIBE" not in broker.log
        gateway.stop()
        gateway.settings["commands"] = {"enabled": True}
        gateway.start()
        until(lambda: "Received SUBSCRIBE from hub-gateway-lgg-sort-01" in broker.log, "it subscribes")
        until(lambda: gateway.metric("destination_up", "no"), "the other one is connected")
        assert "Received SUBSCRIBE from no" not in broker.log


def test_the_access_list_of_the_page_lets_commands_in_and_answers_out(tmp_path: Path, program: Path) -> None:
    (rules,) = Document(REPOSITORY / "docs" / "commands.md").blocks("text")
    with lift(program) as device, hub(tmp_path) as (broker, gateway):
        for user in ("sort-01", "control-room", "guest"):
            broker.password(user, f"of {user}")
        broker.access(*rules.splitlines())
        broker.start()
        gateway.settings["commands"] = {"enabled": True}
        gateway.settings["destinations"][0] |= {"username": "sort-01", "password": "of sort-01"}
        gateway.settings["devices"] = [device]
        gateway.start()
        until(lambda: gateway.device("lift")["up"], "the device is up")
        until(lambda: "Received SUBSCRIBE from hub-gateway" in broker.log, "it subscribes")
        client = Client(broker)
        guest = ("-u", "guest", "-P", "of guest")
        subprocess.run([*client.telling("speed", '{"value": 0.25}'), *guest], timeout=30, check=False)
        sender = ("-u", "control-room", "-P", "of control-room", "-e", "answers/control-room")
        assert client.ask("speed", '{"value": 1.5}', *sender) == {"ok": True, "value": 1.5}
        assert len(gateway.lines("command written")) == 1
        assert gateway.metric("destination_set_aside_total", "broker") == 0


def test_a_device_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    with hub(tmp_path) as (broker, gateway):
        broker.start()
        gateway.settings["commands"] = {"enabled": True}
        gateway.settings["devices"] = [
            {"name": "lift", "driver": "modbus", "url": "tcp://127.0.0.1:9", "points": POINTS}
        ]
        gateway.start()
        gateway.wait_for_log("lift is down")
        until(lambda: "Received SUBSCRIBE" in broker.log, "it subscribes")
        answer = Client(broker).ask("speed", '{"value": 1}')
        assert not answer["ok"]
        assert "tcp://127.0.0.1:9 is down" in answer["error"]
        assert gateway.metric("commands_total", "lift", "failed") == 1
        assert gateway.stop() == 0


def _point(gateway: Gateway, name: str) -> dict[str, Any]:
    points = gateway.device("lift")["points"]
    point: dict[str, Any] = next(each for each in points if each["name"] == name)
    return point


def _key(outcome: str) -> tuple[str, tuple[str, ...]]:
    return "commands_total", ("lift", outcome)

"""Commands to machines of every family that can be written: a conveyor, a scale and a sorter of the simulated hub."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.app.conftest import hub, until
from tests.app.test_hub import simulated_hub
from tests.plugins.mosquitto import Mosquitto


def test_machines_of_every_family_are_written(tmp_path: Path) -> None:
    with simulated_hub(tmp_path) as twin, hub(tmp_path) as (broker, gateway):
        gateway.settings["devices"] = devices(twin.endpoints)
        gateway.settings["defaults"] |= {"report": "on-change", "timeout": "2s"}
        gateway.settings["commands"] = {"enabled": True}
        broker.start()
        gateway.start()
        until(lambda: all(gateway.device(name)["up"] for name in ("infeed", "counter", "sorter")), "all are up")
        until(lambda: "Received SUBSCRIBE from hub-gateway" in broker.log, "it subscribes")

        assert ask(broker, "infeed/set/setpoint", 750) == {"ok": True, "value": 750}
        assert ask(broker, "sorter/set/speed", 1.25) == {"ok": True, "value": 1.25}
        assert ask(broker, "counter/set/tare", 0) == {"ok": True, "value": 0}
        refused = ask(broker, "counter/set/zero", False)
        assert (refused["ok"], "zero takes true" in refused["error"]) == (False, True)
        until(lambda: value(gateway.device("sorter"), "speed") == 1.25, "the server has told it to its subscriber")
        assert gateway.stop() == 0


def devices(endpoints: dict[str, str]) -> list[dict[str, Any]]:
    setpoint = {"name": "setpoint", "address": "holding:1", "type": "uint16", "unit": "mm/s", "writable": True}
    speed = {"name": "speed", "address": "nsu=urn:hub:conveyor;s=Sorter.MachSpeed", "unit": "m/s", "writable": True}
    commands = [{"name": "tare", "writable": True}, {"name": "zero", "writable": True}]
    return [
        {"name": "infeed", "driver": "modbus", "url": endpoints["infeed"], "points": [setpoint | {"max": 2500}]},
        {"name": "counter", "driver": "scale", "url": endpoints["counter"], "protocol": "sma", "points": commands},
        {"name": "sorter", "driver": "opcua", "url": endpoints["sorter"], "points": [speed | {"min": 0, "max": 2}]},
    ]


def ask(broker: Mosquitto, topic: str, value: object) -> dict[str, Any]:
    """The answer to a command, as `mosquitto_rr` gets it."""
    asking = [
        "mosquitto_rr",
        "-h",
        "127.0.0.1",
        "-p",
        str(broker.port),
        "-q",
        "1",
        "-V",
        "5",
        "-W",
        "40",
        "-e",
        "answers",
    ]
    command = ["-t", f"hub/lgg/sort-01/{topic}", "-m", json.dumps({"value": value})]
    told = subprocess.run([*asking, *command], stdout=subprocess.PIPE, timeout=60, check=True)
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def value(device: dict[str, Any], name: str) -> Any:
    return next(point["value"] for point in device["points"] if point["name"] == name)

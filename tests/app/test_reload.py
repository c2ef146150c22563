"""SIGHUP: what changed is restarted, what did not change never notices."""

from __future__ import annotations

import copy
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway, free_port, hub, until

ESTABLISHED = "01"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Iterator[Gateway]:
    with hub(tmp_path_factory.mktemp("reload")) as (broker, gateway):
        broker.start()
        gateway.settings["devices"] = [fleet.device(number) for number in (1, 2, 3)]
        gateway.start()
        until(lambda: _all_up(gateway, 1, 2, 3), "all devices are up")
        yield gateway


@pytest.fixture
def reloaded(running: Gateway, fleet: Fleet) -> Iterator[Gateway]:
    """The running gateway; its three devices are as they were before each test."""
    settings = copy.deepcopy(running.settings)
    yield running
    running.settings = settings
    reload(running)
    until(lambda: _all_up(running, 1, 2, 3), "all devices are up")


def test_only_the_link_whose_settings_changed_is_restarted(reloaded: Gateway, fleet: Fleet) -> None:
    before = {number: connections(fleet.port(number)) for number in (1, 2, 3)}
    assert all(len(found) == 1 for found in before.values())
    reloaded.settings["devices"][1] = fleet.device(2, points=("holding:0", "holding:1", "holding:2"))
    told = reload(reloaded)
    link = f"modbus {fleet.urls['device-002']}"
    assert told.endswith(f"gateway.app: config reloaded; links: restarted {link} (device-002: points); 2 unchanged")
    assert reloaded.log.endswith("config reloaded; destinations: 1 unchanged\n")
    points = until(lambda: reloaded.device("device-002")["points"], "the new plan has been read")
    assert [point["name"] for point in points] == ["p0", "p1", "p2"]
    assert connections(fleet.port(1)) == before[1]
    assert connections(fleet.port(2)) != before[2]
    assert connections(fleet.port(3)) == before[3]
    assert [reloaded.device(f"device-{number:03d}")["reconnects"] for number in (1, 3)] == [0, 0]


def test_a_device_can_come_and_go(reloaded: Gateway, fleet: Fleet) -> None:
    reloaded.settings["devices"] = [fleet.device(number) for number in (4, 1, 2)]
    told = reload(reloaded)
    assert f"started modbus {fleet.urls['device-004']}; stopped modbus {fleet.urls['device-003']}; 2 unchanged" in told
    until(lambda: reloaded.metric("device_up", "device-004", "modbus") == 1, "the new device is up")
    assert {labels[0] for name, labels in reloaded.metrics() if name == "device_up"} == {
        "device-001",
        "device-002",
        "device-004",
    }
    assert connections(fleet.port(3)) == set()


def test_a_bad_file_changes_nothing_and_is_told_why(reloaded: Gateway) -> None:
    good = reloaded.settings["devices"][0]
    reloaded.settings["devices"] = [good | {"unit": 4711}, good]
    readings = reloaded.device("device-003")["readings"]
    told = reload(reloaded, outcome="the config was not reloaded")
    assert "everything runs on as before; mend the file and reload" in told
    problems = [line for line in reloaded.lines(f"{reloaded.config}:") if "ERROR" in line]
    assert any("devices[0].unit: " in line for line in problems)
    assert any('devices[1].name: "device-001" is taken already' in line for line in problems)
    until(lambda: reloaded.device("device-003")["readings"] > readings, "it reads on")


def test_a_secret_whose_file_cannot_be_looked_up_changes_nothing(reloaded: Gateway) -> None:
    reloaded.settings["destinations"][0] |= {"username": "u", "password": f"${{file:{'a' * 300}}}"}
    readings = reloaded.device("device-003")["readings"]
    reload(reloaded, outcome="the config was not reloaded")
    assert reloaded.lines("destinations[0].password")[0].endswith(": cannot be read: File name too long")
    until(lambda: reloaded.device("device-003")["readings"] > readings, "it reads on")


def test_what_needs_a_restart_is_named_and_left_as_it_is(reloaded: Gateway) -> None:
    reloaded.settings["commands"] = {"enabled": True}
    acknowledged = reloaded.metric("destination_acknowledged_readings_total", "broker")
    told = reload(reloaded)
    assert told.endswith("config reloaded; links: 3 unchanged")
    reloaded.wait_for_log("changed as well, but in effect only after a restart: commands")
    until(
        lambda: reloaded.metric("destination_acknowledged_readings_total", "broker") > acknowledged, "readings go out"
    )


def test_the_pages_move_to_another_address(reloaded: Gateway) -> None:
    acknowledged = reloaded.metric("destination_acknowledged_readings_total", "broker")
    old, new = reloaded.settings["http"]["listen"], f"127.0.0.1:{free_port()}"
    reloaded.settings["http"] = {"listen": new}
    reload(reloaded)
    reloaded.wait_for_log(f"status page and metrics on http://{new}")
    assert reloaded.metric("destination_acknowledged_readings_total", "broker") >= acknowledged
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{old}/", timeout=10)
    reloaded.settings["http"] = {"listen": old}
    reload(reloaded)
    reloaded.wait_for_log(f"status page and metrics on http://{old}", times=2)


def reload(gateway: Gateway, *, outcome: str = "config reloaded; links") -> str:
    """Write the settings, send SIGHUP, and return the log line with the outcome."""
    told = len(gateway.lines(outcome))
    gateway.write()
    gateway.send(signal.SIGHUP)
    gateway.wait_for_log(outcome, times=told + 1)
    return gateway.lines(outcome)[-1]


def _all_up(gateway: Gateway, *numbers: int) -> bool:
    return all(gateway.metric("device_up", f"device-{number:03d}", "modbus") == 1 for number in numbers)


def connections(port: int) -> set[str]:
    """The local addresses of all connections to a port of this machine, as the kernel lists them."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {row[1] for row in rows if row[3] == ESTABLISHED and row[2].endswith(f":{port:04X}")}

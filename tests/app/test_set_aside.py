"""`hub-gateway buffer set-aside --retry` as a person types it: beside a running gateway, and before one is started."""

from __future__ import annotations

import json
from pathlib import Path

from tests.app.conftest import Fleet, Gateway, hub_gateway, recorder, until
from tests.plugins.mosquitto import Mosquitto

STATUS, FIRST, SECOND = (f"topic write hub/lgg/sort-01/{name}" for name in ("status", "device-001", "device-002"))
READ = "topic read #"


def test_mended_and_asked_for_all_that_was_refused_arrives(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path
) -> None:
    mosquitto.access(STATUS, FIRST, READ)
    mosquitto.start()
    gateway.settings["destinations"] = [{"name": "broker", "url": mosquitto.url}]
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    with recorder(mosquitto, tmp_path) as record:
        gateway.start()
        until(lambda: gateway.metric("destination_set_aside_total", "broker") >= 3, "readings are set aside")
        mosquitto.access(STATUS, FIRST, SECOND, READ)
        until(lambda: record.readings("device-002"), "the broker takes them now")
        aside = {one["id"] for one in listed(gateway)}
        assert len(aside) >= 3
        assert f"set aside  {len(aside)} for broker (10000 are kept in all)" in told(gateway, "status")
        asked = hub_gateway("buffer", "set-aside", "--retry", "-c", gateway.config)
        assert (asked.returncode, asked.stderr) == (0, "")
        assert asked.stdout == f"broker: {len(aside)} readings will be sent again\n"
        until(lambda: aside <= {one["id"] for one in record.readings("device-002")}, "what was set aside arrives")
        assert all(one["historical"] for one in record.readings("device-002") if one["id"] in aside)
        assert listed(gateway) == []
        assert "set aside  0\n" in told(gateway, "status")
        gateway.wait_for_log(f"broker: {len(aside)} readings that were set aside are sent again")
        assert gateway.stop() == 0
        epoch = next(iter(aside)).partition("-")[0]
        wanted = set(range(1, gateway.committed() + 1))
        until(lambda: record.positions(epoch) == wanted, "every position has arrived")


def test_asked_for_while_none_runs_they_go_out_with_the_next_start(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path
) -> None:
    mosquitto.access(STATUS, FIRST, READ)
    mosquitto.start()
    gateway.settings["destinations"] = [{"name": "broker", "url": mosquitto.url}]
    gateway.settings["devices"] = [fleet.device(2)]
    gateway.start()
    until(lambda: gateway.metric("destination_set_aside_total", "broker") >= 2, "readings are set aside")
    assert gateway.stop() == 0
    aside = {one["id"] for one in listed(gateway)}
    asked = hub_gateway("buffer", "set-aside", "--retry", "--destination", "broker", "-c", gateway.config)
    assert (asked.returncode, asked.stdout) == (0, f"broker: {len(aside)} readings will be sent again\n")
    assert asked.stderr == "hub-gateway: no gateway has taken them yet: they go out when it runs\n"
    mosquitto.access(STATUS, SECOND, READ)
    with recorder(mosquitto, tmp_path) as record:
        gateway.start()
        until(lambda: aside <= {one["id"] for one in record.readings()}, "they arrive")
        assert gateway.stop() == 0
    assert listed(gateway) == []


def test_there_is_nothing_to_send_or_nobody_to_send_it_to(gateway: Gateway) -> None:
    gateway.settings["devices"] = [{"name": "d", "driver": "modbus", "url": "tcp://127.0.0.1:1", "points": [
        {"name": "p", "address": "holding:0", "type": "uint16"}]}]  # fmt: skip
    gateway.start()
    assert gateway.stop() == 0
    asked = hub_gateway("buffer", "set-aside", "--retry", "-c", gateway.config)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "broker: 0 readings will be sent again\n", "")
    asked = hub_gateway("buffer", "set-aside", "--retry", "--destination", "other", "-c", gateway.config)
    assert (asked.returncode, asked.stdout) == (78, "")
    assert asked.stderr == 'hub-gateway: the config knows no destination "other"; it knows broker\n'
    asked = hub_gateway("buffer", "set-aside", "--destination", "other", "-c", gateway.config)
    assert (asked.returncode, asked.stdout) == (78, "")
    assert asked.stderr.endswith('knows no destination "other"; it knows broker\n')


def listed(gateway: Gateway) -> list[dict[str, object]]:
    return [json.loads(line) for line in told(gateway, "set-aside").splitlines()]


def told(gateway: Gateway, what: str) -> str:
    done = hub_gateway("buffer", what, "-c", gateway.config)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout

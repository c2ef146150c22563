"""`hub-gateway check --live`: every device is tried; of those that did not answer it tells what to do."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from tests.app.conftest import Fleet, Gateway, free_port, hub_gateway


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A TCP port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def check(gateway: Gateway) -> tuple[int, str]:
    gateway.write()
    told = hub_gateway("check", "--live", "-c", gateway.config)
    assert "Traceback" not in told.stderr
    return told.returncode, told.stdout


def rows(told: str) -> dict[tuple[str, str], list[str]]:
    """(device, point) → value, quality, took."""
    table = [re.split(r"  +", line) for line in told.splitlines() if re.search(r"  \d+ ms$", line)]
    return {(device, point): rest for device, point, *rest in table}


def test_every_point_of_every_device_is_shown_with_value_quality_and_duration(gateway: Gateway, fleet: Fleet) -> None:
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2, points=["holding:7"], unit=1)]
    code, told = check(gateway)
    assert code == 0
    found = rows(told)
    assert list(found) == [("device-001", "p0"), ("device-001", "p1"), ("device-002", "p0")]
    for value, quality, took in found.values():
        assert value.isdigit()
        assert quality == "good"
        assert took.endswith(" ms")
    assert told.endswith("\n2 of 2 devices answered for every point\n")
    assert not gateway.buffer.exists()


def test_a_device_that_does_not_answer_is_told_with_what_to_do_and_the_others_are_read(
    gateway: Gateway, fleet: Fleet
) -> None:
    gone = fleet.device(2) | {"name": "gone", "url": f"tcp://127.0.0.1:{free_port()}"}
    gateway.settings["devices"] = [gone, fleet.device(1)]
    code, told = check(gateway)
    assert code == 69
    found = rows(told)
    assert found["gone", "p0"][:2] == ["-", "bad:comm-failure"]
    assert found["device-001", "p0"][1] == "good"
    advice = [line for line in told.splitlines() if line.startswith("gone: ")]
    assert len(advice) == 1
    assert "Connection refused; " in advice[0]


def test_one_point_that_is_not_there_is_named(gateway: Gateway, fleet: Fleet) -> None:
    gateway.settings["devices"] = [fleet.device(1, points=["holding:0", "holding:60000"])]
    code, told = check(gateway)
    assert code == 69
    assert rows(told)["device-001", "p0"][1] == "good"
    assert rows(told)["device-001", "p1"][:2] == ["-", "bad:illegal-address"]
    assert "\ndevice-001: cannot be read: p1 (illegal-address); compare address and type with the manual\n" in told


def test_a_dead_unit_on_a_line_does_not_hide_the_unit_behind_it(gateway: Gateway, silent_port: int) -> None:
    points = [{"name": "p", "address": "holding:0", "type": "uint16"}]
    url = f"tcp://127.0.0.1:{silent_port}"
    gateway.settings["devices"] = [
        {"name": f"unit-{unit}", "driver": "modbus", "url": url, "unit": unit, "points": points} for unit in (1, 2)
    ]
    code, told = check(gateway)
    assert code == 69
    assert [rows(told)[f"unit-{unit}", "p"][1] for unit in (1, 2)] == ["bad:timeout", "bad:timeout"]
    assert told.endswith("\n0 of 2 devices answered for every point\n")


def test_a_reader_that_has_seen_no_tag_is_connected(gateway: Gateway, silent_port: int) -> None:
    url = f"tcp://127.0.0.1:{silent_port}"
    gateway.settings["devices"] = [{"name": "portal", "driver": "rfid", "url": url, "protocol": "pattern"}]
    code, told = check(gateway)
    assert code == 0
    assert rows(told)["portal", "-"][1] == "connected"
    assert "portal: connected; it has seen nothing within 5 s" in told


def test_a_wrong_config_is_told_before_anything_is_connected(gateway: Gateway) -> None:
    gateway.settings["devices"] = [{"name": "x", "driver": "modbos", "url": "tcp://127.0.0.1:1"}]
    gateway.write()
    told = hub_gateway("check", "--live", "-c", gateway.config)
    assert (told.returncode, told.stdout) == (78, "")

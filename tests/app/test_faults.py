"""Devices that misbehave while the gateway runs: told, counted, marked bad once, and nobody else's problem.

Every fault is on a device of its own and all come at the same time, so that each test finds its evidence in one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.app.conftest import Fleet, Gateway, Recorder, hub, recorder, until

FAULTS = {
    "garble": "bad-response",
    "half-frame": "bad-response",
    "wrong-unit": "bad-response",
    "wrong-length": "bad-response",
    "exception": "device-error",
    "hang": "timeout",
    "refuse": "comm-failure",
    "reset": "comm-failure",
    "restart": "comm-failure",
}
"""Faults of the simulators, and the reason that the gateway gives."""
OPTIONS: dict[str, dict[str, Any]] = {"exception": {"code": 4}, "restart": {"for_s": 5.0}}
DEVICES = {fault: number for number, fault in enumerate(FAULTS, 1)}
HEALTHY = ("device-010", "device-011")


@dataclass
class Faulty:
    gateway: Gateway
    recorder: Recorder
    before: dict[str, int]
    """Readings of the healthy devices before the first fault."""
    down: dict[str, Any]
    """What the status page said of the faulty devices before they were mended."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faults")
    with hub(folder) as (broker, gateway):
        broker.start()
        gateway.settings["devices"] = [fleet.device(number) for number in range(1, 12)]
        with recorder(broker, folder) as recorded:
            gateway.start()
            until(lambda: all(up(gateway).values()) and len(up(gateway)) == 11, "all devices are up")
            before = {name: gateway.device(name)["readings"] for name in HEALTHY}
            try:
                for fault, number in DEVICES.items():
                    fleet.impose(number, fault, **OPTIONS.get(fault, {}))
                wanted = {f"device-{number:03d}" for number in DEVICES.values()}
                until(lambda: {name for name, good in up(gateway).items() if not good} == wanted, "they are down")
                faulty = Faulty(gateway, recorded, before, {name: gateway.device(name) for name in wanted})
                until(lambda: all(any(qualities(faulty, name)) for name in wanted), "their bad readings arrive")
            finally:
                for fault, number in DEVICES.items():
                    if fault != "restart":  # which is over by itself
                        fleet.impose(number, "none")
            yield faulty


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items())
def test_a_device_that_misbehaves_is_told_counted_and_bad_once_until_it_behaves(
    faulty: Faulty, fleet: Fleet, fault: str, reason: str
) -> None:
    gateway, name = faulty.gateway, f"device-{DEVICES[fault]:03d}"
    down = faulty.down[name]
    assert (down["up"], down["reason"]) == (False, reason)
    assert {point["quality"] for point in down["points"]} == {f"bad:{reason}"}
    assert gateway.metric("read_errors_total", name, reason) >= 1
    (told,) = gateway.lines(f"{name} is down: ")
    assert "WARNING" in told
    assert fleet.urls[name] in told

    gateway.wait_for_log(f"{name} is up again after", timeout_s=40)
    until(lambda: not qualities(faulty, name)[-1], "good readings arrive again")
    assert [each for each in qualities(faulty, name) if each] == [dict.fromkeys(("p0", "p1"), f"bad:{reason}")]
    assert len(gateway.lines(f"{name} is up again")) == 1
    assert gateway.metric("device_up", name, "modbus") == 1


def test_the_other_devices_never_notice(faulty: Faulty) -> None:
    until(
        lambda: all(faulty.gateway.device(name)["readings"] > faulty.before[name] + 10 for name in HEALTHY),
        "they are read on",
    )
    for name in HEALTHY:
        assert faulty.gateway.device(name)["errors"] == {}
        assert faulty.gateway.device(name)["reconnects"] == 0
        assert not any(qualities(faulty, name))
        assert not faulty.gateway.lines(f"{name} is down")
        assert len(faulty.gateway.lines(f"{name} is up")) == 1


def up(gateway: Gateway) -> dict[str, bool]:
    """Which devices are up."""
    return {labels[0]: value == 1 for (name, labels), value in gateway.metrics().items() if name == "device_up"}


def qualities(faulty: Faulty, device: str) -> list[dict[str, str]]:
    """What each reading of a device said of its quality; {} when all was good."""
    return [reading.get("quality", {}) for reading in faulty.recorder.readings(device)]

"""What a device costs that does nothing, and what a driver costs that the config does not name."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.processes import Gateway, fleet, free_port, gateway, modbus_devices, mosquitto
from tests.bench.scenarios import wait_until

ONE_OF_EACH = {
    "modbus": "  - {name: d, driver: modbus, url: 'tcp://127.0.0.1:1', points: [{name: p, address: 'coil:0'}]}\n",
    "scale": "  - {name: d, driver: scale, url: 'tcp://127.0.0.1:1', protocol: mt-sics}\n",
    "rfid": "  - {name: d, driver: rfid, url: 'llrp://127.0.0.1:1'}\n",
    "opcua": "  - {name: d, driver: opcua, url: 'opc.tcp://127.0.0.1:1', points: [{name: p, address: 'ns=2;s=P'}]}\n",
}
"""A device of each family at an address where nobody is: finding that out loads all that the family needs."""


def memory_per_100_devices(folder: Path) -> float:
    """Resident bytes that 100 more connected Modbus devices of 20 points add while nothing is read."""
    found = []
    for devices in (100, 300):
        port = free_port()
        inside = folder / str(devices)
        inside.mkdir()
        with (
            mosquitto(inside, port),
            fleet(devices=devices, points=20) as urls,
            gateway(inside, devices=modbus_devices(inside, urls, points=20), period="1h", broker_port=port) as running,
        ):
            wait_until(lambda: running.metric("device_up") >= devices)  # noqa: B023  called at once
            found.append(_settled(running))
    return (found[1] - found[0]) / 2


def start_up(folder: Path) -> dict[str, dict[str, float]]:
    """For a config with one device of each family alone: seconds until the pages answer, and resident bytes then."""
    found = {}
    for family, device in ONE_OF_EACH.items():
        port = free_port()
        inside = folder / family
        inside.mkdir()
        with mosquitto(inside, port):
            started_s = time.monotonic()
            with gateway(inside, devices=device, period="1s", broker_port=port) as running:
                wait_until(lambda: running.metric("build_info") == 1, pause_s=0.01)
                ready_s = time.monotonic() - started_s
                wait_until(lambda: running.metric("read_errors_total") > 0)
                found[family] = {"ready_s": ready_s, "rss_bytes": float(_settled(running))}
    return found


def _settled(running: Gateway) -> int:
    """Resident bytes once they have stopped growing."""
    before, now = 0, running.rss_bytes
    while now > before * 1.005:
        time.sleep(1.0)
        before, now = now, running.rss_bytes
    return now

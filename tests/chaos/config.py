"""The config file of the run, and what reloads change in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SITE, GATEWAY = "chaos", "g1"
REGISTERS = 20
PERIOD_S = 0.2
REFUSED = "refused"
"""A device whose readings one of the brokers refuses for good."""
GUEST = "guest"
"""A destination that comes and goes."""


@dataclass(slots=True)
class Config:
    """Everything that the gateway is told; `write` makes a file of it."""

    path: Path
    buffer: dict[str, Any]
    brokers: dict[str, int]
    """Ports by the name of the destination."""
    devices: list[dict[str, Any]]
    spare: dict[str, Any]
    """A device that is there or not."""
    http_port: int
    with_spare: bool = False
    with_guest: bool = False
    guest_starts_at: str = "now"
    changed_device: dict[str, Any] = field(default_factory=dict)
    """What the first device has besides."""
    changed_destination: dict[str, Any] = field(default_factory=dict)
    """What the second destination has besides."""

    def write(self) -> None:
        """In one step: a gateway that starts meanwhile reads the one before or this one."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self._whole(), indent=1))  # JSON is YAML
        new.replace(self.path)

    def spoil(self) -> None:
        """A file that is no config. `write` mends it."""
        self.path.write_text(json.dumps(self._whole(), indent=1).replace('"devices"', '"device"'))

    def _whole(self) -> dict[str, Any]:
        first, *others = self.devices
        devices = [first | self.changed_device, *others]
        names = [name for name in self.brokers if name != GUEST or self.with_guest]
        destinations = [
            {"name": name, "url": f"mqtt://127.0.0.1:{self.brokers[name]}", "keepalive": "4s"} for name in names
        ]
        destinations[1] |= self.changed_destination
        if self.with_guest:
            destinations[-1] |= {"start": self.guest_starts_at}
        return {
            "gateway": {"site": SITE, "id": GATEWAY},
            "buffer": self.buffer,
            "destinations": destinations,
            "http": {"listen": f"127.0.0.1:{self.http_port}"},
            "defaults": {"timeout": "500ms", "report": "every-read"},
            "devices": [*devices, *([self.spare] if self.with_spare else [])],
        }


def libmodbus_device(name: str, port: int, **more: Any) -> dict[str, Any]:
    """A device of the fleet; its registers are `r0`, `r1`, …: see libmodbus_fleet.c."""
    points = [{"name": f"r{n}", "address": f"holding:{n}", "type": "uint16"} for n in range(REGISTERS)]
    url = f"tcp://127.0.0.1:{port}"
    return {"name": name, "driver": "modbus", "url": url, "period": f"{PERIOD_S}s", "points": points} | more


def machines(urls: dict[str, str]) -> list[dict[str, Any]]:
    """The simulated machines of layout.yaml, under these URLs."""
    belt = [
        {"name": "speed", "address": "input:0", "type": "uint16", "scale": 0.001, "unit": "m/s"},
        {"name": "current", "address": "input:4", "type": "float32", "order": "CDAB", "unit": "A"},
        {"name": "running", "address": "coil:0"},
    ]
    belts = [
        {"name": name, "driver": "modbus", "url": urls[where], "period": "500ms", "unit": 1, "points": belt}
        for name, where in (("infeed", "infeed"), ("feeder", "serial-1"))
    ]
    return [
        *belts,
        {"name": "weigher", "driver": "scale", "url": urls["weigher"], "protocol": "mt-sics", "priority": "high"},
        {"name": "counter", "driver": "scale", "url": urls["counter"], "protocol": "toledo-continuous"},
        {"name": "portal", "driver": "rfid", "url": urls["portal"], "window": "none", "priority": "high"},
    ]

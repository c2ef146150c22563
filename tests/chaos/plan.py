"""What is done to the gateway and when: drawn from the seed and the length of the run. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

CALM_S = 3.0
"""At the beginning: everything gets to work."""


class Kind(StrEnum):
    """The kinds of faults, as the table of the run names them."""

    GATEWAY_KILLED = "gateway killed"
    GATEWAY_RESTARTED = "gateway stopped and started"
    GATEWAY_FROZEN = "gateway frozen"
    BROKER_KILLED = "broker killed"
    BROKER_AWAY = "broker away"
    BROKER_HANGS = "broker hangs"
    WIRE_CUT = "connection to a broker cut"
    WIRE_SLOW = "connection to a broker slow"
    WIRE_SILENT = "connection to a broker half-open"
    DEVICE_CUT = "connection to a device cut"
    DEVICE_FAULT = "device at fault"
    DISK_FULL = "disk full"
    BUFFER_FULL = "buffer full"
    CLOCK_JUMP = "clock jumped"
    SENT_AGAIN = "set aside, sent again"
    DEVICES_CHANGED = "reload: devices changed"
    DESTINATIONS_CHANGED = "reload: destinations changed"
    BAD_FILE = "reload: bad file"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. `seed` is for what it draws itself, so that no fault changes another."""

    at_s: float
    kind: Kind
    lasts_s: float
    seed: int


EVERY_S = {
    Kind.GATEWAY_KILLED: 25,
    Kind.GATEWAY_RESTARTED: 100,
    Kind.GATEWAY_FROZEN: 100,
    Kind.BROKER_KILLED: 50,
    Kind.BROKER_AWAY: 100,
    Kind.BROKER_HANGS: 150,
    Kind.WIRE_CUT: 10,
    Kind.WIRE_SLOW: 60,
    Kind.WIRE_SILENT: 150,
    Kind.DEVICE_CUT: 15,
    Kind.DEVICE_FAULT: 20,
    Kind.DISK_FULL: 75,
    Kind.BUFFER_FULL: 300,
    Kind.CLOCK_JUMP: 40,
    Kind.SENT_AGAIN: 60,
    Kind.DEVICES_CHANGED: 60,
    Kind.DESTINATIONS_CHANGED: 60,
    Kind.BAD_FILE: 120,
}
"""One fault of the kind in so many seconds, at least one in a run."""

LASTS_S = {
    Kind.GATEWAY_FROZEN: (0.5, 10.0),
    Kind.BROKER_KILLED: (0.0, 3.0),
    Kind.BROKER_AWAY: (4.0, 30.0),
    Kind.BROKER_HANGS: (2.0, 12.0),
    Kind.WIRE_SLOW: (3.0, 15.0),
    Kind.WIRE_SILENT: (5.0, 15.0),
    Kind.DEVICE_FAULT: (1.0, 6.0),
    Kind.DISK_FULL: (2.0, 15.0),
    Kind.SENT_AGAIN: (2.0, 8.0),
}
"""How long a fault lasts; the others are over at once, or end by themselves."""


def plan(seconds: float, *, seed: int) -> list[Fault]:
    """The faults of a run, in order of time. Each kind is spread over the run, with every moment as likely."""
    draw = random.Random(seed)
    faults = []
    for kind in Kind:
        times = max(1, round(seconds / EVERY_S[kind]))
        least_s, most_s = LASTS_S.get(kind, (0.0, 0.0))
        for number in range(times):
            at_s = CALM_S + (seconds - CALM_S) * (number + draw.random()) / times
            lasts_s = draw.uniform(least_s, min(most_s, max(least_s, seconds / 8)))
            faults.append(Fault(at_s, kind, lasts_s, draw.getrandbits(32)))
    return sorted(faults, key=lambda fault: fault.at_s)

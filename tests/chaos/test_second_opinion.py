"""The judge of the chaos run and the audit that ships with the gateway say the same of the same record."""

from __future__ import annotations

import json
from typing import Any

from tests.chaos.judge import arrivals
from tests.chaos.second_opinion import disagreements


def record(*messages: dict[str, Any]) -> list[bytes]:
    """As a subscriber writes it down: a connection, and these."""
    status = b'0.000 hub/s/g/status {"online":true,"epoch":"abc"}\n'
    return [status, *(b"0.000 hub/s/g/d " + json.dumps(one).encode() + b"\n" for one in messages)]


def reading(position: int, *, historical: bool = False, speed: int = 1) -> dict[str, Any]:
    told = {"id": f"abc-{position}", "ts_ms": 1000 + position, "gateway": "g", "device": "d"}
    return told | {"values": {"speed": speed}, "historical": historical}


def test_they_agree_on_a_gap_a_copy_a_contradiction_and_a_reading_out_of_order():
    lines = [
        *record(reading(1), reading(2), reading(5), reading(4)),
        *record(reading(2, historical=True), reading(4, historical=True, speed=7), reading(6)),
    ]
    arrived = arrivals(lines)
    assert (arrived.duplicates, arrived.connections, len(arrived.faults)) == (2, 2, 2)
    assert [*disagreements(lines, arrived, gaps={3})] == []


def test_it_is_said_when_they_do_not_agree():
    lines = record(reading(1), reading(3))
    assert [*disagreements(lines, arrivals(lines), gaps=set())] == [
        "missing: 0 by the judge of this run, 1 by the audit of the gateway"
    ]

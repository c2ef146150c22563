"""The whole hub: every kind of machine, each in its own dialect, and what arrives at the broker beside what is true."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulators.layout import DEFAULT_LAYOUT
from tests.app.conftest import ROOT, environment, hub, recorder, until

LAYOUT = DEFAULT_LAYOUT.with_name("small-hub.yaml")
PARCELS = 3
"""How many must have come all the way to the end of the line."""


class Simulated:
    """The running twin: where its machines answer, and what truly happened there."""

    def __init__(self, endpoints: dict[str, str], ledger: Path) -> None:
        self.endpoints = endpoints
        self._ledger = ledger

    def events(self, kind: str, machine: str | None = None) -> list[dict[str, Any]]:
        lines = self._ledger.read_text().splitlines() if self._ledger.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [each for each in entries if each["event"] == kind and machine in (None, each["machine"])]


@contextmanager
def simulated_hub(folder: Path) -> Iterator[Simulated]:
    ledger = folder / "ledger.jsonl"
    options = ["--seed", "7", "--speed-factor", "2", "--ledger", str(ledger)]
    command = [sys.executable, "-m", "simulators", "run", str(LAYOUT), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment()) as process:
        try:
            assert process.stdout is not None
            yield Simulated(json.loads(process.stdout.readline())["endpoints"], ledger)
        finally:
            process.terminate()


def devices(endpoints: dict[str, str]) -> list[dict[str, Any]]:
    """One device of each family, and one for each way of weighing."""
    state = {"name": "state", "address": "nsu=http://opcfoundation.org/UA/PackML/;s=Status.StateCurrent"}
    sorted_count = {"name": "sorted", "address": "nsu=urn:hub:conveyor;s=Sorter.Sorted"}
    arrivals = {"name": "arrivals", "address": "holding:14", "type": "uint32"}
    return [
        {"name": "infeed", "driver": "modbus", "url": endpoints["infeed"], "points": [arrivals]},
        {
            "name": "weigher",
            "driver": "scale",
            "url": endpoints["weigher"],
            "protocol": "mt-sics",
            "read": "streaming",
        },
        {"name": "counter", "driver": "scale", "url": endpoints["counter"], "protocol": "sma"},
        {
            "name": "pallets",
            "driver": "scale",
            "url": endpoints["pallet-scale"],
            "protocol": "toledo-continuous",
            "read": "streaming",
        },
        {"name": "portal", "driver": "rfid", "url": endpoints["portal"], "timeout": "5s"},
        {"name": "sorter", "driver": "opcua", "url": endpoints["sorter"], "points": [state, sorted_count]},
    ]


def test_what_truly_happened_arrives_at_the_broker(tmp_path: Path) -> None:
    with simulated_hub(tmp_path) as twin, hub(tmp_path) as (broker, gateway):
        gateway.settings["devices"] = devices(twin.endpoints)
        gateway.settings["defaults"] |= {"report": "on-change", "timeout": "2s"}
        broker.start()
        with recorder(broker, tmp_path) as recorded:
            gateway.start()
            entered = len(twin.events("entered")) + 1
            until(lambda: len(twin.events("sorted")) >= entered + PARCELS, "parcels reach their chutes", timeout_s=120)
            done = [entry for entry in twin.events("sorted") if entry["parcel"] > entered]
            until(lambda: _values(recorded, "sorter", "sorted")[-1:] >= [len(twin.events("sorted")) - 1], "they count")

            written = recorded.path.read_text()
            epcs = set(_values(recorded, "portal", "epc"))
            for parcel in done:
                (weighed,) = [each for each in twin.events("weighed") if each["parcel"] == parcel["parcel"]]
                assert f'"weight":{weighed["shown_kg"]}' in written  # with the digits of the display
                (passed,) = [each for each in twin.events("passed") if each["parcel"] == parcel["parcel"]]
                assert not passed["read"] or passed["epc"] in epcs
            assert _values(recorded, "infeed", "arrivals")[-1] >= len(done)
            assert "motion" in _values(recorded, "weigher", "status")
            assert _values(recorded, "counter", "weight")
            assert _values(recorded, "pallets", "weight")
            assert set(_values(recorded, "sorter", "state")) == {6}
        gateway.stop()
    assert "Traceback" not in gateway.log


def _values(recorded: Any, device: str, point: str) -> list[Any]:
    return [each["values"][point] for each in recorded.readings(device) if point in each["values"]]

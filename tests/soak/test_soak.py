"""The promise, for twenty minutes: every committed reading reaches the subscriber, whatever is killed on the way.

Fifty libmodbus devices with twenty registers each are read every second by the real daemon, which gets SIGKILL five
times while mosquitto is stopped and started five times. The judge counts both sides itself: what the buffer has
committed, by looking into the database with sqlite3, and what arrived, by a subscriber with a persistent session.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS = float(os.environ.get("SOAK_SECONDS", "1200"))
DEVICES, REGISTERS = 50, 20
TIMES = 5


@dataclass
class Judge:
    """What arrived: per id the payload without its `historical` flag, and how often."""

    payloads: dict[str, object] = field(default_factory=dict)
    copies: int = 0
    contradictions: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    live_order: dict[str, int] = field(default_factory=dict)
    out_of_order: list[str] = field(default_factory=list)

    def receive(self, message: bytes) -> None:
        body = json.loads(message)
        if "id" not in body:
            return
        historical = body.pop("historical")
        self.copies += 1
        if body["id"] in self.payloads:
            if self.payloads[body["id"]] != body:
                self.contradictions.append(body["id"])
            return
        self.payloads[body["id"]] = body
        values = body["values"]
        if values and any(values[f"r{n}"] != (values["r0"] + n) % 65536 for n in range(REGISTERS)):
            self.torn.append(body["id"])
        position = int(body["id"].partition("-")[2])
        if not historical:
            if position <= self.live_order.get(body["device"], 0):
                self.out_of_order.append(body["id"])
            self.live_order[body["device"]] = position

    def positions(self, epoch: str) -> set[int]:
        return {int(found.partition("-")[2]) for found in self.payloads if found.startswith(f"{epoch}-")}


@contextmanager
def judging(port: int) -> Iterator[Judge]:
    """A subscriber whose session outlives the broker's restarts."""
    judge = Judge()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "judge", protocol=paho.MQTTProtocolVersion.MQTTv5)
    client.on_message = lambda _client, _data, message: judge.receive(message.payload)
    client.on_connect = lambda client, *_: client.subscribe("hub/#", qos=1)
    client.reconnect_delay_set(1, 1)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 0xFFFFFFFF
    client.connect("127.0.0.1", port, clean_start=False, properties=session)
    client.loop_start()
    try:
        yield judge
    finally:
        client.loop_stop()
        client.disconnect()


class Parts:
    """The processes of the run; each can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.http_port = _free_port(), _free_port()
        self.broker: subprocess.Popen[bytes] | None = None
        self.gateway: subprocess.Popen[bytes] | None = None

    def start_broker(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {self.folder}/\nuser root\n"
        )
        self.broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", config], stderr=subprocess.DEVNULL)
        _until(self._broker_listens)

    def stop_broker(self) -> None:
        assert self.broker is not None
        self.broker.terminate()
        self.broker.wait(30)

    def start_gateway(self) -> None:
        command = [sys.executable, "-m", "gateway", "run", "-c", self.folder / "hub.yaml"]
        with (self.folder / "gateway.log").open("ab") as log:
            self.gateway = subprocess.Popen(command, stderr=log)

    def stop_gateway(self, number: signal.Signals) -> int:
        assert self.gateway is not None
        self.gateway.send_signal(number)
        return self.gateway.wait(60)

    def _broker_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def device_ports(tmp_path: Path) -> Iterator[list[int]]:
    binary = tmp_path / "libmodbus_fleet"
    source = Path(__file__).with_name("libmodbus_fleet.c")
    subprocess.run(["gcc", "-O1", "-o", binary, source, "-lmodbus"], check=True)
    with subprocess.Popen([binary, str(DEVICES), str(REGISTERS)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [int(process.stdout.readline()) for _ in range(DEVICES)]
        process.kill()


@pytest.fixture
def parts(tmp_path: Path, device_ports: list[int]) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    columns = ["name,address,type", *(f"r{n},holding:{n},uint16" for n in range(REGISTERS))]
    (tmp_path / "points.csv").write_text("\n".join(columns))
    devices = [
        f"  - {{name: d{n}, driver: modbus, url: 'tcp://127.0.0.1:{port}', points_file: points.csv}}\n"
        for n, port in enumerate(device_ports)
    ]
    (tmp_path / "hub.yaml").write_text(
        f"gateway: {{site: soak, id: g1}}\n"
        f"buffer: {{path: {tmp_path}/buffer.db}}\n"
        f"destinations: [{{name: broker, url: 'mqtt://127.0.0.1:{parts.port}'}}]\n"
        f"http: {{listen: '127.0.0.1:{parts.http_port}'}}\n"
        f"defaults: {{period: 1s, report: every-read}}\n"
        f"devices:\n{''.join(devices)}"
    )
    yield parts
    for process in (parts.gateway, parts.broker):
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.soak
def test_every_committed_reading_arrives_although_gateway_and_broker_are_killed(parts: Parts) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(10**6))))
    print(f"\nsoak: {SECONDS:g} s, seed {seed}")
    draw = random.Random(seed)
    events = sorted(
        (SECONDS * (n + draw.uniform(0.2, 0.8)) / TIMES, what) for what in ("kill", "outage") for n in range(TIMES)
    )
    parts.start_broker()
    seen_committed = 0
    with judging(parts.port) as judge:
        parts.start_gateway()
        started_s = time.monotonic()
        for at_s, what in events:
            time.sleep(max(0.0, started_s + at_s - time.monotonic()))
            seen_committed = max(seen_committed, _committed(parts.folder))
            if what == "kill":
                assert parts.stop_gateway(signal.SIGKILL) == -signal.SIGKILL
                seen_committed = max(seen_committed, _committed(parts.folder))
                parts.start_gateway()
            else:
                parts.stop_broker()
                time.sleep(SECONDS / TIMES * draw.uniform(0.02, 0.15))
                parts.start_broker()
        time.sleep(max(0.0, started_s + SECONDS - time.monotonic()))
        _until(lambda: _waiting(parts.folder) < 2 * DEVICES, timeout_s=300)
        assert parts.stop_gateway(signal.SIGTERM) == 0
        epoch, committed = _epoch(parts.folder), _committed(parts.folder)
        _until(lambda: len(judge.positions(epoch)) >= committed, timeout_s=60, fail=False)

    arrived = judge.positions(epoch)
    missing = set(range(1, committed + 1)) - arrived
    print(
        f"soak: {committed} readings committed, {len(arrived)} arrived, {len(missing)} missing, "
        f"{judge.copies - len(judge.payloads)} duplicates, {len(judge.contradictions)} of them different"
    )
    assert committed >= seen_committed
    assert committed > SECONDS * DEVICES * 0.8
    assert not missing
    assert not arrived - set(range(1, committed + 1))
    assert {found.partition("-")[0] for found in judge.payloads} == {epoch}
    assert not judge.contradictions
    assert not judge.torn
    assert not judge.out_of_order


def _ask(folder: Path, question: str) -> Any:
    """One value from the buffer's database, asked in SQL and not through the gateway's code."""
    with closing(sqlite3.connect(f"file:{folder}/buffer.db?mode=ro", uri=True, timeout=10)) as database:
        (answer,) = database.execute(question).fetchone()
    return answer


def _committed(folder: Path) -> int:
    """The highest position that was ever committed: of a row, or of what is gone because it was acknowledged."""
    highest = "SELECT max((SELECT coalesce(max(id), 0) FROM reading), (SELECT max(through) FROM destination))"
    return int(_ask(folder, highest))


def _waiting(folder: Path) -> int:
    return int(_ask(folder, "SELECT count(*) FROM reading"))


def _epoch(folder: Path) -> str:
    return str(_ask(folder, "SELECT value FROM state WHERE key = 'epoch'"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(condition: object, *, timeout_s: float = 30.0, fail: bool = True) -> None:
    assert callable(condition)
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            assert not fail, "it did not come to pass in time"
            return
        time.sleep(0.1)

"""The daemon as an operator has it: a process with a config file, a log, pages, signals and an exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.plugins.mosquitto import Mosquitto

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""Twice the longest back-off of a destination: a broker that comes back late is found within it."""
_DEVICES = 12
_POINTS = 10
_PYTHON = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S) -> Any:
    """What `condition` returns once that is true; fails with `what` when it never is."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"in {timeout_s:g} s it did not come to pass: {what}"
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**extra: str) -> dict[str, str]:
    """That of a plain shell: what this test run itself needs in Python or systemd variables is left out."""
    mine = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", *_PYTHON}
    return {name: value for name, value in os.environ.items() if name not in mine} | extra


def hub_gateway(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "gateway", *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.run(command, cwd=ROOT, text=True, timeout=60, check=False, **options)


class Gateway:
    """One `hub-gateway run` after the other with one config file. `settings` is what the file says; see `write`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "hub.yaml"
        self.settings: dict[str, Any] = {
            "gateway": {"site": "lgg", "id": "sort-01"},
            "buffer": {"path": str(folder / "buffer.db"), "min_free_disk": 0},
            "destinations": [
                {"name": "broker", "url": f"mqtt://127.0.0.1:{free_port()}", "replay": {"start_within": "0s"}}
            ],
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "defaults": {"period": "200ms", "timeout": "300ms", "report": "every-read"},
            "devices": [],
        }
        self._log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def buffer(self) -> Path:
        return Path(self.settings["buffer"]["path"])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Standard error of all runs so far."""
        return self._log.read_text() if self._log.exists() else ""

    def write(self) -> None:
        """Write the config file anew."""
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def launch(self, *options: str, **variables: str) -> None:
        """Write the config file and start a run."""
        assert self._process is None
        self.write()
        command = [sys.executable, "-m", "gateway", "run", "-c", str(self.config), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stderr=log, env=environment(**variables))

    def start(self, *options: str, **variables: str) -> None:
        """Launch and wait until it reads devices and serves its pages."""
        runs = self.log.count("status page and metrics on")
        self.launch(*options, **variables)
        self.wait_for_log("status page and metrics on", times=runs + 1)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, *, timeout_s: float = 20.0) -> int:
        """The exit code, once there is one."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self.ended()

    def kill(self) -> None:
        """End it without ceremony, if it runs at all."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_for_log(self, text: str, *, times: int = 1, timeout_s: float = PATIENCE_S) -> None:
        def heard() -> bool:
            assert self._process is None or self._process.poll() is None or self.log.count(text) >= times, self.log
            return self.log.count(text) >= times

        until(heard, f"{times} times in the log: {text}\n{self.log}", timeout_s=timeout_s)

    def lines(self, text: str) -> list[str]:
        """The log lines with `text` in them."""
        return [line for line in self.log.splitlines() if text in line]

    def page(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://{self.settings['http']['listen']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def device(self, name: str) -> dict[str, Any]:
        """What the status page says of one device."""
        status = json.loads(self.page("/api/v1/status")[1])
        return next(device for device in status["devices"] if device["name"] == name)

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Every sample by its name, without `hub_gateway_`, and the values of its labels."""
        return {
            (sample.name.removeprefix("hub_gateway_"), tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.page("/metrics")[1])
            for sample in family.samples
        }

    def metric(self, name: str, *labels: str) -> float:
        """One sample; 0 when there is none."""
        return self.metrics().get((name, labels), 0.0)

    def committed(self) -> int:
        """The newest position in the database, as `hub-gateway buffer` sees it."""
        from gateway.buffer import inspect

        return inspect.status(self.buffer).last_position

    def waiting(self) -> dict[str, int]:
        """Readings that wait, by destination, as `hub-gateway buffer` sees them."""
        from gateway.buffer import inspect

        return dict(inspect.status(self.buffer).backlog)


@dataclass
class Fleet:
    """Simulated devices `device-001` and so on: URLs by name, and a hand on their control port."""

    urls: dict[str, str]
    control: str

    def device(self, number: int, *, points: Sequence[str] = ("holding:0", "holding:1"), **more: Any) -> dict[str, Any]:
        """The config of device `number`, with points `p0`, `p1` … at these addresses."""
        name = f"device-{number:03d}"
        table = [{"name": f"p{index}", "address": address, "type": "uint16"} for index, address in enumerate(points)]
        return {"name": name, "driver": "modbus", "url": self.urls[name], "points": table, **more}

    def port(self, number: int) -> int:
        return int(self.urls[f"device-{number:03d}"].rpartition(":")[2])

    def impose(self, number: int, fault: str, **more: Any) -> None:
        """Make a device misbehave; `none` mends it."""
        body = json.dumps({"device": f"device-{number:03d}", "fault": fault, **more}).encode()
        with urllib.request.urlopen(f"{self.control}/faults", data=body, timeout=10) as answer:
            answer.read()


@dataclass
class Recorder:
    """`mosquitto_sub` with a session that outlives the broker, writing down what comes."""

    path: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    def messages(self, topic: str = "hub/") -> list[Any]:
        """The JSON payloads of all messages so far on topics that begin so, in the order of their coming."""
        lines = self.path.read_bytes().split(b"\n")[:-1]
        found = (line.split(b" ", 1) for line in lines)
        return [json.loads(payload) for at, payload in found if at.decode().startswith(topic)]

    def readings(self, device: str | None = None) -> list[Any]:
        """Those that are readings; of one device, when one is named."""
        return [each for each in self.messages() if "id" in each and device in (None, each["device"])]

    def positions(self, epoch: str) -> set[int]:
        """The positions within this epoch that have arrived."""
        ids = (each["id"].rpartition("-") for each in self.readings())
        return {int(position) for found, _, position in ids if found == epoch}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def recorder(broker: Mosquitto, folder: Path) -> Iterator[Recorder]:
    """Record everything under `hub/`. The broker is running, and has granted the subscription when this yields."""
    path = folder / "recorded"
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-c", "-i", "recorder"]
    with path.open("wb") as record:
        process = subprocess.Popen([*command, "-F", "%t %p", "-t", "hub/#"], stdout=record, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "SUBACK to recorder" in broker.log, "the broker grants the recorder its subscription")
        yield Recorder(path, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def hub(folder: Path) -> Iterator[tuple[Mosquitto, Gateway]]:
    """A broker, and a gateway that has it as its destination; neither runs yet, both are ended with the block."""
    (folder / "mosquitto").mkdir(parents=True)
    broker, gateway = Mosquitto(folder / "mosquitto"), Gateway(folder / "gateway")
    gateway.settings["destinations"][0]["url"] = broker.url
    try:
        yield broker, gateway
    finally:
        gateway.kill()
        broker.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    command = [sys.executable, "-m", "simulators", "fleet", "--devices", str(_DEVICES), "--points", str(_POINTS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Fleet(ready["endpoints"], ready["control"])
        process.terminate()


@pytest.fixture
def gateway(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Gateway]:
    """A gateway that is not running yet, whose destination is the test's broker, which is not running either."""
    one = Gateway(tmp_path / "gateway")
    one.settings["destinations"][0]["url"] = mosquitto.url
    yield one
    one.kill()

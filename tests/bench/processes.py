"""The processes of a measurement: simulated fleet, mosquitto, the gateway; pinned to cores, ended with the context."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GATEWAY_CORE = 0
OTHERS_CORE = 1
MAX_BYTES = 8 * 2**30
"""Of the buffer: enough for an hour of heavy load."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MOSQUITTO = "/usr/sbin/mosquitto"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def child(*command: str, core: int, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command pinned to a core; on leaving it gets SIGTERM, and SIGKILL after twenty seconds."""
    pinned = ["taskset", "--cpu-list", str(core % (os.cpu_count() or 1)), *command]
    process: subprocess.Popen[str] = subprocess.Popen(pinned, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def fleet(*, devices: int, points: int) -> Iterator[list[str]]:
    """`devices` simulated Modbus TCP devices in one process; yields their URLs."""
    command = ["-m", "simulators", "fleet", "--devices", str(devices), "--points", str(points)]
    with child(sys.executable, *command, core=OTHERS_CORE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with process.stdout:
            yield list(ready["endpoints"].values())


@contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[None]:
    """A broker on `port` that limits nothing."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
    )
    with child(MOSQUITTO, "-c", str(config), core=OTHERS_CORE, stderr=subprocess.DEVNULL):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                break
        yield


class Gateway:
    """The real daemon, seen from outside: its metrics, its CPU time, its memory."""

    def __init__(self, process: subprocess.Popen[str], *, http_port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{http_port}/metrics"

    def metric(self, name: str) -> float:
        """The sum over all labels of a metric; 0 while the page is not served yet."""
        return self.metrics(name)[name]

    def metrics(self, *names: str) -> dict[str, float]:
        try:
            with urllib.request.urlopen(self._url, timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return dict.fromkeys(names, 0.0)
        sums = dict.fromkeys(names, 0.0)
        for line in text.splitlines():  # a real parser would cost the machine more than the gateway does
            name = line.partition(" ")[0].partition("{")[0].removeprefix("hub_gateway_")
            if name in sums:
                sums[name] += float(line.rpartition(" ")[2])
        return sums

    @property
    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    @property
    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def gateways_core_s() -> float:
    """How long the gateway's core has worked so far, whoever it was for."""
    fields = Path("/proc/stat").read_text().partition(f"cpu{GATEWAY_CORE} ")[2].partition("\n")[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def modbus_devices(folder: Path, urls: list[str], *, points: int) -> str:
    """The `devices:` of a config: one for each URL, with as many registers."""
    columns = ["name,address,type", *(f"p{n},holding:{n},uint16" for n in range(points))]
    (folder / "points.csv").write_text("\n".join(columns))
    return "".join(
        f"  - {{name: d{n}, driver: modbus, url: '{url}', points_file: points.csv}}\n" for n, url in enumerate(urls)
    )


@contextmanager
def gateway(folder: Path, *, devices: str, period: str, broker_port: int, replay: int = 20_000) -> Iterator[Gateway]:
    """The daemon with these `devices:`, reading each `period` and reporting all it reads."""
    http_port = free_port()
    (folder / "hub.yaml").write_text(
        f"""
gateway: {{site: bench, id: g1}}
buffer: {{path: {folder}/buffer.db, max_bytes: {MAX_BYTES}}}
destinations:
  - {{name: broker, url: 'mqtt://127.0.0.1:{broker_port}', replay: {{values_per_second: {replay}, start_within: 0s}}}}
http: {{listen: '127.0.0.1:{http_port}'}}
defaults: {{period: {period}, timeout: 2s, report: every-read}}
devices:
{devices}"""
    )
    command = ["-m", "gateway", "run", "-c", str(folder / "hub.yaml"), "--log-level", "error"]
    with child(sys.executable, *command, core=GATEWAY_CORE) as process:
        yield Gateway(process, http_port=http_port)

"""The gateway under the loads that it is made for, seen from outside: by its metrics, by /proc, by a subscriber."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho

from tests.bench.processes import fleet, free_port, gateway, modbus_devices, mosquitto

_LIVE = b'"historical":false}'
ACKNOWLEDGED = "destination_acknowledged_readings_total"
BACKLOG = "destination_backlog_readings"


class Arrival(NamedTuple):
    """A live reading at the subscriber: when it came, and when it was taken; wall seconds."""

    arrived_s: float
    observed_s: float

    @property
    def late_ms(self) -> float:
        return (self.arrived_s - self.observed_s) * 1e3


def sustained(folder: Path, *, devices: int, points: int, period: str, seconds: float) -> dict[str, float]:
    """Throughput and cost at a fixed load: values read and acknowledged per second, CPU per value, what was missed."""
    port = free_port()
    with (
        mosquitto(folder, port),
        fleet(devices=devices, points=points) as urls,
        gateway(
            folder, devices=modbus_devices(folder, urls, points=points), period=period, broker_port=port
        ) as running,
    ):
        wait_until(lambda: running.metric(ACKNOWLEDGED) >= devices * 3)
        names = ("values_total", ACKNOWLEDGED, "reads_missed_total", "buffer_dropped_readings_total", BACKLOG)
        before, cpu_s, started_s = running.metrics(*names), running.cpu_s, time.monotonic()
        time.sleep(seconds)
        after, used_s, took_s = running.metrics(*names), running.cpu_s - cpu_s, time.monotonic() - started_s
        values = after["values_total"] - before["values_total"]
        return {
            "values_per_s": values / took_s,
            "acknowledged_values_per_s": (after[ACKNOWLEDGED] - before[ACKNOWLEDGED]) * points / took_s,
            "reads_missed": after["reads_missed_total"] - before["reads_missed_total"],
            "dropped": after["buffer_dropped_readings_total"],
            "backlog_readings": after[BACKLOG],
            "core_percent": used_s / took_s * 100,
            "cpu_us_per_value": used_s / values * 1e6,
            "rss_mb": running.rss_bytes / 1e6,
        }


def typical(folder: Path, *, seconds: float) -> dict[str, float]:
    """50 devices x 20 values at 1 s: share of a core, memory, reading-to-subscriber latency, start to first reading."""
    port = free_port()
    with mosquitto(folder, port), fleet(devices=50, points=20) as urls, arrivals(port) as arrived:
        started_s = time.time()
        with gateway(folder, devices=modbus_devices(folder, urls, points=20), period="1s", broker_port=port) as running:
            wait_until(lambda: len(arrived) > 0)
            first_s = arrived[0].arrived_s - started_s
            wait_until(lambda: len(arrived) >= 150)
            seen, cpu_s, measured_s = len(arrived), running.cpu_s, time.monotonic()
            time.sleep(seconds)
            used_s, took_s = running.cpu_s - cpu_s, time.monotonic() - measured_s
            latencies_ms = sorted(one.late_ms for one in arrived[seen:])
            return {
                "core_percent": used_s / took_s * 100,
                "rss_mb": running.rss_bytes / 1e6,
                "latency_p50_ms": statistics.median(latencies_ms),
                "latency_p99_ms": latencies_ms[int(len(latencies_ms) * 0.99)],
                "first_published_s": first_s,
            }


def outage(folder: Path, *, devices: int, points: int, period: str, seconds: float) -> dict[str, float]:
    """An outage at heavy load, then its replay at full speed: bytes per value, drain rate, live latency meanwhile."""
    port = free_port()
    with (
        fleet(devices=devices, points=points) as urls,
        gateway(
            folder,
            devices=modbus_devices(folder, urls, points=points),
            period=period,
            broker_port=port,
            replay=10**9,
        ) as running,
    ):
        wait_until(lambda: running.metric("values_total") > 0)
        time.sleep(seconds)
        recorded = running.metrics(BACKLOG, "buffer_bytes")
        with mosquitto(folder, port), arrivals(port) as arrived:
            # The backlog grows until the gateway connects; from then on history drains beside live data.
            wait_until(lambda: running.metric(ACKNOWLEDGED) > 0)
            before, started_s, cpu_s = running.metric(ACKNOWLEDGED), time.monotonic(), running.cpu_s
            # Each look costs the gateway 60 ms, for it has 200 devices to tell of.
            wait_until(lambda: running.metric(BACKLOG) < devices, timeout_s=600, pause_s=1.0)
            took_s, used_s = time.monotonic() - started_s, running.cpu_s - cpu_s
            acknowledged = running.metric(ACKNOWLEDGED) - before
            live_ms = sorted(one.late_ms for one in arrived)
    recorded_s = recorded[BACKLOG] * points / (devices * points / _seconds(period))
    return {
        "bytes_per_value": recorded["buffer_bytes"] / (recorded[BACKLOG] * points),
        "backlog_values": recorded[BACKLOG] * points,
        "drained_values_per_s": acknowledged * points / took_s,
        "times_faster_than_recorded": recorded_s / took_s,
        "core_percent": used_s / took_s * 100,
        "live_latency_p50_ms": statistics.median(live_ms) if live_ms else float("nan"),
        "live_latency_p99_ms": live_ms[int(len(live_ms) * 0.99)] if live_ms else float("nan"),
    }


@contextmanager
def arrivals(port: int, topics: Sequence[str] = ("hub/#",)) -> Iterator[list[Arrival]]:
    """Subscribes and collects every live reading."""
    found: list[Arrival] = []

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        arrived_s = time.time()
        if message.payload.endswith(_LIVE):
            found.append(Arrival(arrived_s, json.loads(message.payload)["ts_ms"] / 1e3))

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTProtocolVersion.MQTTv5)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.subscribe([(topic, paho.SubscribeOptions(qos=0)) for topic in topics])
    client.loop_start()
    try:
        yield found
    finally:
        client.loop_stop()
        client.disconnect()


def wait_until(condition: object, *, timeout_s: float = 60.0, pause_s: float = 0.2) -> None:
    assert callable(condition)
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the gateway did not get there")
        time.sleep(pause_s)


def _seconds(period: str) -> float:
    return float(period.removesuffix("ms")) / 1e3 if period.endswith("ms") else float(period.removesuffix("s"))

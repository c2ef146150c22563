"""Facts in, Prometheus out: `/metrics` is made from `gateway.health` at the moment of the scrape, and only then.

Names, types and label sets are the public contract of the gateway; they may be added to, never renamed. Labels are
bounded by the configuration (device, driver, destination) and by closed sets of reasons: nothing is labelled by point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from drivers.model import Reason
from gateway.health import BufferHealth, CommandOutcome, DestinationHealth, DeviceHealth, Health, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus, old or new, and every agent that imitates it can read."""


def registry(health: Health, *, now_ns: Callable[[], int] = time.time_ns) -> CollectorRegistry:
    """A registry of its own with the facts of `health`, the process metrics and nothing else.

    `now_ns` is wall-clock time in nanoseconds since 1970-01-01 UTC; the age of the oldest reading is counted from it.
    """
    metrics = CollectorRegistry()
    metrics.register(HealthCollector(health, now_ns=now_ns))
    ProcessCollector(registry=metrics)
    return metrics


def render(metrics: CollectorRegistry) -> bytes:
    """One scrape in the text format of `CONTENT_TYPE`. To be called in the thread that owns the facts."""
    return generate_latest(metrics)


class HealthCollector(Collector):
    """Turns facts into metric families; holds no state of its own."""

    def __init__(self, health: Health, *, now_ns: Callable[[], int]) -> None:
        self._health = health
        self._now_ns = now_ns
        self._version = version("hub-gateway")

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("hub_gateway_build_info", "Always 1; says which version runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield from _devices(tuple(self._health.devices.values()))
        yield from _buffer(self._health.buffer, self._now_ns())
        yield from _destinations(self._health.destinations.values())
        yield GaugeMetricFamily(
            "hub_gateway_event_loop_lag_seconds",
            "How late the event loop last ran a timer.",
            self._health.loop_lag_s,
        )


def _devices(devices: Iterable[DeviceHealth]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "hub_gateway_device_up", "1 while the device answers, 0 while it does not.", labels=["device", "driver"]
    )
    readings = _counter("readings", "Readings that a device answered, before report by exception.", ["device"])
    values = _counter("values", "Good values in the readings taken.", ["device"])
    errors = _counter("read_errors", "Reads that failed, by reason.", ["device", "reason"])
    duration = _histogram("read_duration_seconds", "Time that reading one poll group took.", ["device"])
    lateness = _histogram("read_lateness_seconds", "How long after its due time a read started.", ["device"])
    missed = _counter("reads_missed", "Due reads that were dropped because an earlier one was late.", ["device"])
    reconnects = _counter("reconnects", "Times the link was made again after it was lost.", ["device"])
    commands = _counter("commands", "Commands for a device, by what became of them.", ["device", "outcome"])
    for device in devices:
        label = [device.name]
        up.add_metric([device.name, device.driver], device.up)
        readings.add_metric(label, device.readings)
        values.add_metric(label, device.values)
        for reason, count in _with_zeros(device.errors, Reason).items():
            errors.add_metric([device.name, reason], count)
        _observe(duration, label, device.read_seconds)
        _observe(lateness, label, device.lateness_seconds)
        missed.add_metric(label, device.missed)
        reconnects.add_metric(label, device.reconnects)
        for outcome, count in _with_zeros(device.commands, CommandOutcome).items():
            commands.add_metric([device.name, outcome], count)
    yield from (up, readings, values, errors, duration, lateness, missed, reconnects, commands)


def _buffer(buffer: BufferHealth, now_ns: int) -> Iterator[Metric]:
    oldest_s = 0.0 if buffer.oldest_ns is None else max(0, now_ns - buffer.oldest_ns) / 1e9
    dropped = _counter(
        "buffer_dropped_readings", "Readings dropped before every destination had them, by reason.", ["reason"]
    )
    for reason, count in tuple(buffer.dropped.items()):
        dropped.add_metric([reason], count)
    commits = _histogram("buffer_commit_seconds", "Time that one commit took.", [])
    _observe(commits, [], buffer.commit_seconds)
    yield from (
        _gauge("buffer_readings", "Readings held for at least one destination.", buffer.readings),
        _gauge("buffer_bytes", "Size of the database and its write-ahead log.", buffer.bytes),
        _gauge("buffer_oldest_age_seconds", "Age of the oldest reading held; 0 when empty.", oldest_s),
        dropped,
        commits,
        _gauge(
            "buffer_seconds_until_full",
            "Time until the buffer is full at the present rate; +Inf while it is not filling.",
            buffer.seconds_until_full,
        ),
    )


def _destinations(destinations: Iterable[DestinationHealth]) -> Iterator[Metric]:
    labels = ["destination"]
    up = GaugeMetricFamily("hub_gateway_destination_up", "1 while connected to the destination.", labels=labels)
    acknowledged = _counter("destination_acknowledged_readings", "Readings the destination has acknowledged.", labels)
    backlog = GaugeMetricFamily(
        "hub_gateway_destination_backlog_readings", "Readings the destination has not acknowledged yet.", labels=labels
    )
    set_aside = _counter("destination_set_aside", "Readings the destination refused for good, set aside.", labels)
    publish = _histogram(
        "destination_publish_seconds", "Time from handing a message to the connection to its acknowledgement.", labels
    )
    for destination in destinations:
        label = [destination.name]
        up.add_metric(label, destination.up)
        acknowledged.add_metric(label, destination.acknowledged)
        backlog.add_metric(label, destination.backlog)
        set_aside.add_metric(label, destination.set_aside)
        _observe(publish, label, destination.publish_seconds)
    yield from (up, acknowledged, backlog, set_aside, publish)


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hub_gateway_{name}", help_text, value)


def _counter(name: str, help_text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"hub_gateway_{name}", help_text, labels=labels)


def _histogram(name: str, help_text: str, labels: Sequence[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"hub_gateway_{name}", help_text, labels=labels)


def _with_zeros(counts: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """`counts` with a zero for every known key: a series that appears only with its first error hides that error."""
    return {**dict.fromkeys(map(str, known), 0), **counts}


def _observe(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    """Prometheus buckets are cumulative; the facts are not."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)

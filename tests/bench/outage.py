"""A long outage at heavy load: recorded as fast as the buffer takes it, then drained while live load goes on.

The outage is recorded through the buffer's own interface, into the database that the gateway then finds when it starts.
What drains it is the real process, with simulated devices and a mosquitto.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.buffer import Buffer
from gateway.config import BufferSettings
from gateway.health import BufferHealth
from tests.bench import floors
from tests.bench.processes import (
    MAX_BYTES,
    OTHERS_CORE,
    Gateway,
    fleet,
    free_port,
    gateway,
    gateways_core_s,
    modbus_devices,
    mosquitto,
)
from tests.bench.recording import HEAVY, Recorder
from tests.bench.scenarios import ACKNOWLEDGED, BACKLOG, Arrival, arrivals, wait_until
from tests.bench.table import Row

_MOST_BYTES_PER_VALUE = 12
_SPARE_BYTES = 2 * 2**30
_REPLAY = 10**9
_LISTENED_TO = 10
"""Devices whose live readings are timed: a subscriber to all of them would take the core that the broker needs."""
_COUNTED = (ACKNOWLEDGED, BACKLOG, "reads_missed_total", "buffer_dropped_readings_total")


def outage(folder: Path, *, minutes: float) -> dict[str, float]:
    """Record that long an outage and drain it. Raises `SystemExit` when it has no room."""
    readings = HEAVY.readings(minutes * 60)
    _require_room(folder, readings * HEAVY.points * _MOST_BYTES_PER_VALUE)
    seconds = min(5.0, minutes * 6)
    floors.on_the_gateways_core()
    sqlite_us, sqlite_bytes = floors.bare_sqlite(folder, seconds, rows=2000)
    paho_us = floors.bare_paho(folder, seconds)
    path = folder / "buffer.db"
    recorded = asyncio.run(_record(path, readings, minutes=minutes))
    recorded |= {"bytes": float(path.stat().st_size), "disk_free_bytes": _free_bytes(folder)}
    os.sched_setaffinity(0, {OTHERS_CORE % (os.cpu_count() or 1)})
    drained = _drain(folder, minutes=minutes)
    return {
        "minutes": minutes,
        "values": float(readings * HEAVY.points),
        "sqlite_us_per_value": sqlite_us,
        "sqlite_bytes_per_value": sqlite_bytes,
        "paho_us_per_value": paho_us / floors.POINTS,
        **{f"recorded_{key}": value for key, value in recorded.items()},
        **{f"drained_{key}": value for key, value in drained.items()},
    }


async def _record(path: Path, readings: int, *, minutes: float) -> dict[str, float]:
    values = readings * HEAVY.points
    recorder = Recorder(HEAVY, first_ns=time.time_ns() - round(minutes * 60e9))
    settings = BufferSettings(path=path, max_bytes=MAX_BYTES)
    async with Buffer.open(settings, destinations=("broker",), health=BufferHealth()) as buffer:
        started_s, cpu_s = time.monotonic(), time.process_time()
        await recorder.record(buffer, readings)
        took_s, used_s = time.monotonic() - started_s, time.process_time() - cpu_s
        waiting = buffer.backlog("broker")
    if waiting != readings:
        raise RuntimeError(f"{readings - waiting} of {readings} readings were dropped while they were recorded")
    return {
        "values_per_s": values / took_s,
        "cpu_us_per_value": used_s / values * 1e6,
    }


def _drain(folder: Path, *, minutes: float) -> dict[str, float]:
    """Start the gateway on what was recorded, with live load, until it has caught up; then its live load alone."""
    port = free_port()
    with (
        mosquitto(folder, port),
        fleet(devices=HEAVY.devices, points=HEAVY.points) as urls,
        arrivals(port, [f"hub/bench/g1/d{n}" for n in range(_LISTENED_TO)]) as arrived,
        gateway(
            folder,
            devices=modbus_devices(folder, urls, points=HEAVY.points),
            period=f"{HEAVY.period_s}s",
            broker_port=port,
            replay=_REPLAY,
        ) as running,
    ):
        wait_until(lambda: running.metric(ACKNOWLEDGED) > 0)
        before, since_s, started_s = running.metrics(*_COUNTED), time.time(), time.monotonic()
        cpu_s, core_s = running.cpu_s, gateways_core_s()
        # Each look costs the gateway 60 ms, for it has 200 devices to tell of.
        pause_s = min(2.0, max(0.2, minutes / 5))
        wait_until(lambda: running.metric(BACKLOG) < HEAVY.devices, timeout_s=60 + minutes * 600, pause_s=pause_s)
        took_s, used_s, shared_s = time.monotonic() - started_s, running.cpu_s - cpu_s, gateways_core_s() - core_s
        after, until_s, rss_bytes = running.metrics(*_COUNTED), time.time(), running.rss_bytes
        idle_ms = _idle_ms(running, arrived, seconds=min(30.0, minutes * 60))
        size_bytes = running.metric("buffer_bytes")
    meanwhile_ms = [one.late_ms for one in arrived if since_s < one.arrived_s < until_s]
    values = (after[ACKNOWLEDGED] - before[ACKNOWLEDGED]) * HEAVY.points
    recorded_s = before[BACKLOG] / HEAVY.readings_per_s
    return {
        "seconds": took_s,
        "values_per_s": values / took_s,
        "times_faster_than_recorded": recorded_s / took_s,
        "core_percent": used_s / took_s * 100,
        "others_core_percent": max(0.0, shared_s - used_s) / took_s * 100,
        "cpu_us_per_value": used_s / values * 1e6,
        "rss_mb": rss_bytes / 1e6,
        "reads_missed": after["reads_missed_total"] - before["reads_missed_total"],
        "dropped": after["buffer_dropped_readings_total"],
        **_percentiles("live_latency", meanwhile_ms),
        **_percentiles("idle_latency", idle_ms),
        "bytes": size_bytes,
        "disk_free_bytes": _free_bytes(folder),
    }


def _idle_ms(running: Gateway, arrived: Sequence[Arrival], *, seconds: float) -> list[float]:
    """How late live readings are once nothing else is to be sent."""
    wait_until(lambda: running.metric("buffer_readings") < HEAVY.devices)
    seen = len(arrived)
    time.sleep(seconds)
    return [one.late_ms for one in arrived[seen:]]


def _percentiles(name: str, late_ms: Sequence[float]) -> dict[str, float]:
    """Not a number when nothing came: a drain may take less time than a device takes to be read again."""
    ascending = sorted(late_ms) or [float("nan")]
    return {
        f"{name}_p50_ms": statistics.median(ascending),
        f"{name}_p99_ms": ascending[int(len(ascending) * 0.99)],
    }


def _require_room(folder: Path, size_bytes: int) -> None:
    free_bytes = _free_bytes(folder)
    if size_bytes + _SPARE_BYTES > free_bytes:
        raise SystemExit(
            f"{folder.parent} has {free_bytes / 1e9:.1f} GB free, the outage may take {size_bytes / 1e9:.1f} GB: "
            "make it shorter with --outage-minutes, or name another disk with TMPDIR"
        )
    if size_bytes > MAX_BYTES:
        raise SystemExit(f"the buffer may take {MAX_BYTES / 1e9:.1f} GB, the outage more: make it shorter")


def _free_bytes(folder: Path) -> float:
    return float(shutil.disk_usage(folder).free)


def is_bad(found: dict[str, float]) -> bool:
    """Whether readings were lost."""
    return found["drained_dropped"] > 0


def rows(found: dict[str, float]) -> list[Row]:
    sqlite_us, paho_us = found["sqlite_us_per_value"], found["paho_us_per_value"]
    drained_us = found["drained_cpu_us_per_value"]
    sqlite_bytes, bytes_per_value = found["sqlite_bytes_per_value"], found["recorded_bytes"] / found["values"]
    return [
        ("floor: bare SQLite commit", f"{sqlite_us:.3f} us/value, {sqlite_bytes:.1f} bytes/value", ""),
        ("floor: bare paho QoS 1", f"{paho_us:.2f} us/value, {1e6 / paho_us:,.0f} values/s of a core", ""),
        (
            f"outage of {found['minutes']:g} minutes recorded",
            f"{found['recorded_values_per_s']:,.0f} values/s",
            f"{found['values']:,.0f} values",
        ),
        (
            "  CPU per value",
            f"{found['recorded_cpu_us_per_value']:.3f} us",
            f"{found['recorded_cpu_us_per_value'] / sqlite_us:.2f} x bare SQLite",
        ),
        (
            "  size on disk",
            f"{found['recorded_bytes'] / 1e6:,.0f} MB, {bytes_per_value:.1f} bytes/value",
            f"{bytes_per_value / sqlite_bytes:.2f} x bare SQLite",
        ),
        (
            "drained beside live load",
            f"{found['drained_values_per_s']:,.0f} values/s in {found['drained_seconds']:.0f} s",
            f"{found['drained_times_faster_than_recorded']:.1f} x as recorded",
        ),
        (
            "  CPU per value",
            f"{drained_us:.2f} us, {1e6 / drained_us:,.0f} values/s of a core",
            f"{drained_us / paho_us:.2f} x bare paho",
        ),
        (
            "  had of its core",
            f"{found['drained_core_percent']:.0f} %, other processes {found['drained_others_core_percent']:.0f} %",
            "",
        ),
        (
            "  reads missed",
            f"{found['drained_reads_missed']:.0f}, {found['drained_dropped']:.0f} readings dropped",
            f"{found['drained_rss_mb']:.0f} MB",
        ),
        (
            "  live latency meanwhile",
            f"p50 {found['drained_live_latency_p50_ms']:.1f} ms",
            f"p99 {found['drained_live_latency_p99_ms']:.1f} ms",
        ),
        (
            "  live latency afterwards",
            f"p50 {found['drained_idle_latency_p50_ms']:.1f} ms",
            f"p99 {found['drained_idle_latency_p99_ms']:.1f} ms",
        ),
        (
            "  size on disk afterwards",
            f"{found['drained_bytes'] / 1e6:,.0f} MB",
            f"{found['recorded_disk_free_bytes'] / 1e9:.1f}, then {found['drained_disk_free_bytes'] / 1e9:.1f} GB free",
        ),
    ]

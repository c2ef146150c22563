"""Whether memory grows: what the gateway holds early and late in a long time of typical load."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.processes import fleet, free_port, gateway, modbus_devices, mosquitto
from tests.bench.scenarios import ACKNOWLEDGED, BACKLOG, wait_until
from tests.bench.table import Row

MOST_GROWTH = 1.03
"""Of resident bytes, from a twelfth of the time (minute 5 of an hour, when all caches are warm) to its end. A burst may
leave a per cent; one object of 16 bytes kept for each reading of an hour would be five."""

_SAMPLES = 60
_LIBRARIES = "aiosqlite, h11, orjson, paho.mqtt.client, prometheus_client, pydantic, pymodbus.client, regex, yaml"
_NAMES = ("values_total", ACKNOWLEDGED, BACKLOG, "reads_missed_total", "buffer_dropped_readings_total")


def typical(folder: Path, *, seconds: float) -> dict[str, float]:
    """50 devices x 20 values at 1 s for so long: resident bytes, sixty times, and what became of the readings."""
    port = free_port()
    with (
        mosquitto(folder, port),
        fleet(devices=50, points=20) as urls,
        gateway(folder, devices=modbus_devices(folder, urls, points=20), period="1s", broker_port=port) as running,
    ):
        wait_until(lambda: running.metric("values_total") > 0)
        started_s, cpu_s, resident = time.monotonic(), running.cpu_s, [running.rss_bytes]
        for sample in range(1, _SAMPLES + 1):
            time.sleep(max(0.0, started_s + seconds * sample / _SAMPLES - time.monotonic()))
            resident.append(running.rss_bytes)
        took_s, used_s = time.monotonic() - started_s, running.cpu_s - cpu_s
        counted = running.metrics(*_NAMES)
    return {
        "seconds": took_s,
        "libraries_rss_bytes": float(_rss_of_libraries()),
        **growth(resident),
        "core_percent": used_s / took_s * 100,
        "values": counted["values_total"],
        "acknowledged_readings": counted[ACKNOWLEDGED],
        "backlog_readings": counted[BACKLOG],
        "reads_missed": counted["reads_missed_total"],
        "dropped": counted["buffer_dropped_readings_total"],
    }


def growth(resident: Sequence[int]) -> dict[str, float]:
    """From samples at equal distances: at a twelfth of the time, at the end, the most, and the end by the twelfth.

    Each of the two is the median of three neighbours, so that the moment of one sample does not decide.
    """
    early, late = statistics.median(_around(resident, len(resident) // 12)), statistics.median(resident[-3:])
    return {
        "early_rss_bytes": early,
        "late_rss_bytes": late,
        "most_rss_bytes": max(resident),
        "growth": late / early,
    }


def is_bad(found: dict[str, float]) -> bool:
    """Whether memory has grown beyond what is allowed, or readings were lost."""
    return found["growth"] > MOST_GROWTH or found["dropped"] > 0


def rows(found: dict[str, float]) -> list[Row]:
    minutes, libraries = found["seconds"] / 60, found["libraries_rss_bytes"]
    return [
        ("floor: its libraries, loaded", f"{libraries / 1e6:.1f} MB", ""),
        (
            "typical: 50 x 20 at 1 s",
            f"{found['values']:,.0f} values in {minutes:.1f} minutes",
            f"{found['core_percent']:.2f} % of a core",
        ),
        (
            "  acknowledged",
            f"{found['acknowledged_readings']:,.0f} readings, {found['backlog_readings']:.0f} waiting",
            f"{found['reads_missed']:.0f} missed, {found['dropped']:.0f} dropped",
        ),
        (
            f"  memory at minute {minutes / 12:.1f}",
            f"{found['early_rss_bytes'] / 1e6:.1f} MB",
            f"{found['early_rss_bytes'] / libraries:.2f} x its libraries",
        ),
        (
            f"  memory at minute {minutes:.1f}",
            f"{found['late_rss_bytes'] / 1e6:.1f} MB, at most {found['most_rss_bytes'] / 1e6:.1f} MB",
            f"{found['growth']:.3f} x that, good up to {MOST_GROWTH}",
        ),
    ]


def _around(resident: Sequence[int], index: int) -> Sequence[int]:
    return resident[max(0, index - 1) : index + 2]


def _rss_of_libraries() -> int:
    """Resident bytes of an interpreter that has loaded what the gateway needs of others, and does nothing."""
    told = f"import {_LIBRARIES}\nprint(open('/proc/self/statm').read().split()[1])"
    pages = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True).stdout
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

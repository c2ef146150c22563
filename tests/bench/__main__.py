"""Runs every measurement, prints the table, writes `bench-results/bench.json`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.bench import floors, idle, opcua, rfid, scenarios
from tests.bench.processes import OTHERS_CORE

T = TypeVar("T")
Row = tuple[str, str, str]
Results = dict[str, dict[str, float]]

HEAVY = {"devices": 200, "points": 100, "period": "200ms"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="a few seconds each, to see that it runs")
    parser.add_argument("--output", type=Path, default=Path("bench-results/bench.json"))
    parsed = parser.parse_args()
    scale = 0.1 if parsed.quick else 1.0

    floors.on_the_gateways_core()
    pymodbus_us = floors.bare_pymodbus(10 * scale)
    (sqlite_us, sqlite_bytes), paho_us = (
        _in_folder(lambda folder: floors.bare_sqlite(folder, 5 * scale)),
        _in_folder(lambda folder: floors.bare_paho(folder, 5 * scale)),
    )
    os.sched_setaffinity(0, {OTHERS_CORE % (os.cpu_count() or 1)})
    heavy = _in_folder(lambda folder: scenarios.sustained(folder, **HEAVY, seconds=30 * scale))
    most = _in_folder(
        lambda folder: scenarios.sustained(folder, devices=200, points=100, period="20ms", seconds=20 * scale)
    )
    typical = _in_folder(lambda folder: scenarios.typical(folder, seconds=60 * scale))
    outage = _in_folder(lambda folder: scenarios.outage(folder, **HEAVY, seconds=60 * scale))

    floors_found = {
        "pymodbus_us_per_value": pymodbus_us,
        "sqlite_us_per_value": sqlite_us,
        "sqlite_bytes_per_value": sqlite_bytes,
        "paho_us_per_message": paho_us,
    }
    results = {
        "floors": floors_found,
        "heavy": heavy,
        "as_fast_as_it_goes": most,
        "typical": typical,
        "outage": outage,
        **_families(scale),
    }
    for what, figure, beside in [*_floor_rows(results), *_load_rows(results), *_family_rows(results)]:
        print(f"{what:<30} {figure:<44} {beside}".rstrip())
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    parsed.output.write_text(json.dumps(results, indent=2))
    print(f"written to {parsed.output}")


def _families(scale: float) -> Results:
    """What is measured of single families of devices."""
    os.sched_setaffinity(0, {OTHERS_CORE % (os.cpu_count() or 1)})
    idle_bytes = _in_folder(idle.memory_per_100_devices)
    started = _in_folder(idle.start_up)
    with opcua.busy_server() as url:
        floors.on_the_gateways_core()
        bare = opcua.by_bare_asyncua(url, run_s=10 * scale)
        ours = opcua.by_our_driver(url, run_s=10 * scale)
    return {
        "opcua": {
            "values_per_s": ours.values_per_second,
            "cpu_us_per_value": ours.cpu_us_per_value,
            "bare_values_per_s": bare.values_per_second,
            "bare_cpu_us_per_value": bare.cpu_us_per_value,
        },
        "idle": {"bytes_per_100_devices": idle_bytes},
        "start": {f"{family}_{key}": value for family, found in started.items() for key, value in found.items()},
        "tags": rfid.steady(seconds=10 * scale),
        "tags_most": rfid.most(count=round(100_000 * scale), window="none"),
    }


def _floor_rows(found: Results) -> list[Row]:
    floor = found["floors"]
    paho_value_us, paho_per_s = floor["paho_us_per_message"] / floors.POINTS, 1e6 / floor["paho_us_per_message"]
    return [
        ("floor: bare pymodbus read", f"{floor['pymodbus_us_per_value']:.2f} us/value", ""),
        (
            "floor: bare SQLite commit",
            f"{floor['sqlite_us_per_value']:.3f} us/value, {floor['sqlite_bytes_per_value']:.1f} bytes/value",
            "",
        ),
        (
            "floor: bare paho QoS 1",
            f"{paho_value_us:.2f} us/value, {paho_per_s:,.0f} messages/s of a core",
            "",
        ),
    ]


def _load_rows(found: Results) -> list[Row]:
    heavy, most, typical, outage = (found[key] for key in ("heavy", "as_fast_as_it_goes", "typical", "outage"))
    pymodbus_us = found["floors"]["pymodbus_us_per_value"]
    rest_us = heavy["cpu_us_per_value"] - pymodbus_us
    return [
        (
            "heavy: 200 x 100 at 200 ms",
            f"{heavy['values_per_s']:,.0f} values/s read",
            f"{heavy['reads_missed']:.0f} missed",
        ),
        (
            "  acknowledged",
            f"{heavy['acknowledged_values_per_s']:,.0f} values/s",
            f"{heavy['backlog_readings']:.0f} waiting",
        ),
        ("  CPU", f"{heavy['core_percent']:.0f} % of a core", f"{heavy['rss_mb']:.0f} MB"),
        (
            "  CPU per value",
            f"{heavy['cpu_us_per_value']:.2f} us",
            f"{heavy['cpu_us_per_value'] / pymodbus_us:.2f} x bare pymodbus",
        ),
        ("  of that, not pymodbus", f"{rest_us:.2f} us", f"{rest_us / pymodbus_us:.2f} x bare pymodbus"),
        (
            "as fast as it goes",
            f"{most['acknowledged_values_per_s']:,.0f} values/s acknowledged",
            f"{most['core_percent']:.0f} % of a core",
        ),
        ("typical: 50 x 20 at 1 s", f"{typical['core_percent']:.2f} % of a core", f"{typical['rss_mb']:.1f} MB"),
        (
            "  reading to subscriber",
            f"p50 {typical['latency_p50_ms']:.1f} ms",
            f"p99 {typical['latency_p99_ms']:.1f} ms",
        ),
        ("  start to first reading", f"{typical['first_published_s']:.2f} s", ""),
        (
            "outage at heavy load",
            f"{outage['backlog_values']:,.0f} values waiting",
            f"{outage['bytes_per_value']:.1f} bytes/value",
        ),
        (
            "  drained beside live data",
            f"{outage['drained_values_per_s']:,.0f} values/s",
            f"{outage['times_faster_than_recorded']:.1f} x as recorded",
        ),
        (
            "  live latency meanwhile",
            f"p50 {outage['live_latency_p50_ms']:.1f} ms",
            f"p99 {outage['live_latency_p99_ms']:.1f} ms",
        ),
    ]


def _family_rows(found: Results) -> list[Row]:
    nodes, start, tags, most = (found[key] for key in ("opcua", "start", "tags", "tags_most"))
    return [
        (
            "floor: bare asyncua",
            f"{nodes['bare_cpu_us_per_value']:.1f} us/value, {nodes['bare_values_per_s']:,.0f} values/s",
            "",
        ),
        (
            "OPC UA by subscription",
            f"{nodes['cpu_us_per_value']:.1f} us/value, {nodes['values_per_s']:,.0f} values/s",
            f"{nodes['cpu_us_per_value'] / nodes['bare_cpu_us_per_value']:.2f} x bare asyncua",
        ),
        (
            "tags: 1,000 reports/s",
            f"{tags['core_percent']:.1f} % of a core, {tags['cpu_us_per_report']:.0f} us/report",
            f"timers late p99 {tags['late_p99_ms']:.1f} ms",
        ),
        ("  as fast as it goes", f"{most['reports_per_s']:,.0f} reports/s, each a reading", ""),
        ("100 idle devices", f"{found['idle']['bytes_per_100_devices'] / 1e6:.1f} MB", ""),
        *(
            (
                f"start with one {family} device",
                f"{start[f'{family}_ready_s']:.2f} s",
                f"{start[f'{family}_rss_bytes'] / 1e6:.1f} MB",
            )
            for family in idle.ONE_OF_EACH
        ),
    ]


def _in_folder(measure: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory(prefix="hub-gateway-bench-") as folder:
        return measure(Path(folder))


if __name__ == "__main__":
    main()

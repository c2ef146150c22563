"""Runs the measurements that are asked for, prints their table, writes it as JSON into `bench-results`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from drivers.settings import duration_s
from tests.bench import depth, floors, idle, memory, opcua, outage, rfid, scenarios
from tests.bench.processes import OTHERS_CORE
from tests.bench.table import Row, show

T = TypeVar("T")
Results = dict[str, dict[str, float]]

HEAVY = {"devices": 200, "points": 100, "period": "200ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found, for the file `bench-results/<name>.json` and for people. `bad`: it must not be so."""

    name: str
    found: object
    rows: list[Row]
    bad: bool = False


def main() -> int:
    """Returns 1 when something was measured that must not be so."""
    options = _options().parse_args()
    measured = _measure(options)
    show(measured.rows)
    path: Path = options.output or Path(f"bench-results/{measured.name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured.found, indent=2))
    print(f"written to {path}")
    return int(measured.bad)


def _measure(options: argparse.Namespace) -> Measured:
    if options.outage_minutes is not None:
        drained = _in_folder(lambda folder: outage.outage(folder, minutes=options.outage_minutes))
        return Measured(name="outage", found=drained, rows=outage.rows(drained), bad=outage.is_bad(drained))
    if options.depth is not None:
        deep = _in_folder(lambda folder: depth.depth(folder, deepest=options.depth))
        return Measured(name="depth", found=deep, rows=depth.rows(deep))
    if options.memory is not None:
        resident = _in_folder(lambda folder: memory.typical(folder, seconds=options.memory))
        return Measured(name="memory", found=resident, rows=memory.rows(resident), bad=memory.is_bad(resident))
    everything = _everything(0.1 if options.quick else 1.0)
    rows = [*_floor_rows(everything), *_load_rows(everything), *_family_rows(everything)]
    return Measured(name="bench", found=everything, rows=rows)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="a few seconds each, to see that it runs")
    what.add_argument(
        "--outage-hour",
        dest="outage_minutes",
        action="store_const",
        const=60.0,
        help="an hour's outage at heavy load, recorded and drained; takes ten minutes and 7 GB of disk",
    )
    what.add_argument("--outage-minutes", type=float, metavar="MINUTES", help="a shorter one")
    what.add_argument(
        "--depth",
        nargs="?",
        type=lambda text: round(float(text)),
        const=10**8,
        metavar="VALUES",
        help="what the buffer costs from 1e4 values in it up to so many (1e8)",
    )
    what.add_argument(
        "--memory",
        nargs="?",
        type=duration_s,
        const=3600.0,
        metavar="DURATION",
        help="whether memory grows in that time (60m) of typical load",
    )
    parser.add_argument("--output", type=Path, help="where the JSON goes, instead of bench-results")
    return parser


def _everything(scale: float) -> Results:
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
    outage_found = _in_folder(lambda folder: scenarios.outage(folder, **HEAVY, seconds=60 * scale))

    floors_found = {
        "pymodbus_us_per_value": pymodbus_us,
        "sqlite_us_per_value": sqlite_us,
        "sqlite_bytes_per_value": sqlite_bytes,
        "paho_us_per_message": paho_us,
    }
    return {
        "floors": floors_found,
        "heavy": heavy,
        "as_fast_as_it_goes": most,
        "typical": typical,
        "outage": outage_found,
        **_families(scale),
    }


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
    heavy, most, typical, missed = (found[key] for key in ("heavy", "as_fast_as_it_goes", "typical", "outage"))
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
            f"{most['values_per_s']:,.0f} values/s read",
            f"{most['core_percent']:.0f} % of a core",
        ),
        (
            "  acknowledged",
            f"{most['acknowledged_values_per_s']:,.0f} values/s",
            f"{most['backlog_readings']:.0f} waiting",
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
            f"{missed['backlog_values']:,.0f} values waiting",
            f"{missed['bytes_per_value']:.1f} bytes/value",
        ),
        (
            "  drained beside live data",
            f"{missed['drained_values_per_s']:,.0f} values/s",
            f"{missed['times_faster_than_recorded']:.1f} x as recorded",
        ),
        (
            "  live latency meanwhile",
            f"p50 {missed['live_latency_p50_ms']:.1f} ms",
            f"p99 {missed['live_latency_p99_ms']:.1f} ms",
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
    sys.exit(main())

"""Tag reports through a session of the RFID driver: how many, at what cost, and what everybody else waits meanwhile.

python -m tests.bench.rfid
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import StreamSession
from tests.bench import floors
from tests.bench.processes import OTHERS_CORE, child

_LAST = "0" * 24
_NAP_S = 0.005


def steady(*, rate: int = 1000, seconds: float = 4.0) -> dict[str, float]:
    """One reader at `rate` reports a second, every one a reading: what it costs, and how late timers are meanwhile."""
    return asyncio.run(_measured(count=round(rate * seconds), rate=rate, tags=200, window="none"))


def most(*, count: int = 100_000, window: str, reports: int = 1) -> dict[str, float]:
    """`count` reports of 200 tags as fast as they are taken, `reports` of them in a message."""
    return asyncio.run(_measured(count=count, rate=0, tags=200, window=window, reports=reports))


async def _measured(*, count: int, rate: float, tags: int, window: str, reports: int = 1) -> dict[str, float]:
    command = ["-m", "tests.bench.rfid_reader", *map(str, (count, rate, tags, reports))]
    with child(sys.executable, *command, core=OTHERS_CORE, stdout=-1) as reader:
        assert reader.stdout is not None
        with reader.stdout:
            port = int(reader.stdout.readline())
        family = registry.family("rfid")
        url = f"llrp://127.0.0.1:{port}"
        keys = {"name": "portal", "driver": "rfid", "url": url, "window": window, "keepalive": "1h", "timeout": "500ms"}
        driver = family.driver([family.settings.model_validate(keys)], state_folder=Path())
        async with driver.connect() as session:
            assert isinstance(session, StreamSession)
            return await _listened(session, count)


async def _listened(session: StreamSession, count: int) -> dict[str, float]:
    late_s: list[float] = []
    measuring = asyncio.create_task(_measure_lateness(late_s), name="lateness")
    readings: Any = session.readings()
    assert isinstance(readings, AsyncGenerator)
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    told = 0
    async for reading in readings:
        if reading.values[0] == _LAST:
            break
        told += 1
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    await readings.aclose()
    measuring.cancel()
    await asyncio.wait([measuring])
    late_s.sort()
    return {
        "reports_per_s": count / took_s,
        "readings": float(told),
        "cpu_us_per_report": cpu_s / count * 1e6,
        "core_percent": 100 * cpu_s / took_s,
        "late_p99_ms": 1000 * late_s[int(len(late_s) * 0.99)],
        "late_most_ms": 1000 * late_s[-1],
    }


async def _measure_lateness(late_s: list[float]) -> None:
    """What a device with a period of 5 ms would see of the reader."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _NAP_S
        await asyncio.sleep(_NAP_S)
        late_s.append(loop.time() - due_s)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rfid")
    parser.add_argument("--quick", action="store_true", help="a second each, to see that it runs")
    scale = 0.25 if parser.parse_args().quick else 1.0
    count = round(100_000 * scale)
    floors.on_the_gateways_core()
    rows = [
        ("1,000 reports/s, each a reading", steady(seconds=4.0 * scale)),
        ("as fast as it goes, each a reading", most(count=count, window="none")),
        ("  ten reports in a message", most(count=count, window="none", reports=10)),
        ("as fast as it goes, tags that stay", most(count=count, window="5s")),
    ]
    for what, found in rows:
        print(
            f"{what:<36}{found['reports_per_s']:>9,.0f} reports/s {found['cpu_us_per_report']:>6.1f} us CPU each "
            f"{found['core_percent']:>5.1f} % of a core   timers late: p99 {found['late_p99_ms']:.1f} ms, "
            f"most {found['late_most_ms']:.1f} ms"
        )


if __name__ == "__main__":
    main()

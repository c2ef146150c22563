"""Every long measurement runs from end to end, made short; and what its exit code says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import depth, memory, outage


def measured(folder: Path, *options: str) -> tuple[Any, str, int]:
    """What `make bench` writes and prints with these options, and its exit code."""
    path = folder / "found.json"
    command = [sys.executable, "-m", "tests.bench", *options, "--output", str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    return json.loads(path.read_text()), done.stdout, done.returncode


def test_an_outage_is_recorded_and_drained_beside_live_load(tmp_path: Path) -> None:
    found, printed, code = measured(tmp_path, "--outage-minutes", "0.02")
    assert (found["values"], found["drained_dropped"], code) == (120_000, 0, 0)
    assert found["recorded_values_per_s"] > 0
    assert found["drained_idle_latency_p50_ms"] > 0
    assert "drained beside live load" in printed


def test_an_outage_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="GB free"):
        outage.outage(tmp_path, minutes=10**9)
    assert not list(tmp_path.iterdir())


def test_the_buffer_is_measured_at_every_depth(tmp_path: Path) -> None:
    found, printed, code = measured(tmp_path, "--depth", "1e5")
    assert (list(found), code) == (["10000", "100000"], 0)
    for times in found.values():
        assert times.keys() == {*depth.SHOWN, "bare_append_us", "bare_peek_us", "bare_acknowledge_us"}
        assert min(times.values()) > 0
    assert "buffer status" in printed


def test_memory_is_measured_while_readings_flow(tmp_path: Path) -> None:
    found, printed, code = measured(tmp_path, "--memory", "2s")
    assert found["acknowledged_readings"] > 0
    assert found["late_rss_bytes"] > found["libraries_rss_bytes"]
    assert "typical: 50 x 20 at 1 s" in printed
    assert code == int(memory.is_bad(found))  # so short, it may well grow


@pytest.mark.parametrize(("late", "bad"), [(102, False), (104, True)])
def test_memory_that_grows_by_more_than_three_per_cent_is_bad(late: int, *, bad: bool) -> None:
    resident = [50] * 4 + [100] * 54 + [late] * 3
    assert memory.is_bad({**memory.growth(resident), "dropped": 0}) is bad

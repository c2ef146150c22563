"""The ledger: its lines, on the command line without sockets, and beside a hub that runs."""

from __future__ import annotations

import json
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulators.cli import main
from simulators.ledger import Entry, Event, Ledger
from simulators.machine import Parcel

from .test_cli import ready_line, simulators

EPC = bytes.fromhex("3114257BF4499602D2000000")


def test_a_line_about_a_parcel_says_when_what_which_and_where() -> None:
    entry = Entry(12.35, Event.WEIGHED, "weigher", 17, EPC, {"weight_kg": "12.340", "shown_kg": None})
    assert json.loads(entry.line(ts_ms=1700000000123)) == {
        "t_s": 12.35,
        "ts_ms": 1700000000123,
        "event": "weighed",
        "parcel": 17,
        "epc": "3114257BF4499602D2000000",
        "machine": "weigher",
        "weight_kg": "12.340",
        "shown_kg": None,
    }


def test_a_line_about_a_machine_has_no_parcel_and_without_a_clock_no_wall_time() -> None:
    line = json.loads(Entry(1.0, Event.STATE, "sorter", details={"state": "HELD"}).line())
    assert line == {"t_s": 1.0, "event": "state", "machine": "sorter", "state": "HELD"}


def test_every_reader_is_told_at_once() -> None:
    ledger = Ledger()
    first: list[Entry] = []
    second: list[Entry] = []
    ledger.tell(first.append)
    ledger.tell(second.append)
    ledger.time_s = 2.5
    ledger.record(Event.STUCK, "belt", Parcel(id=3, length_m=0.4, weight_kg=1.0, epc=EPC))
    assert first == second == [Entry(2.5, Event.STUCK, "belt", 3, EPC, {})]


def ledger_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["ledger", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_hour_of_a_small_hub_is_calculated_without_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ledger_of(capsys, "small-hub", "--for", "1h", "--seed", "7")
    assert 3500 < lines[-1]["t_s"] <= 3600
    events = Counter(line["event"] for line in lines)
    assert set(events) == {event.value for event in Event} - {"discharged", "state"}
    assert events["entered"] - events["sorted"] - events["missorted"] < 20
    shown = [(line["weight_kg"], line["shown_kg"]) for line in lines if line["event"] == "weighed" and line["shown_kg"]]
    assert all(abs(Decimal(true) - Decimal(seen)) <= Decimal("0.010") for true, seen in shown)


def test_the_same_seed_prints_the_same_ledger_and_another_seed_another(capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (ledger_of(capsys, "small-hub", "--for", "2m", "--seed", seed) for seed in ("7", "7", "8"))
    assert first == again
    assert first != other


def test_a_fraction_of_a_large_hub_is_a_small_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ledger_of(capsys, "airport-hub", "--fraction", "0.1", "--for", "1m")
    assert {line["machine"] for line in lines if line["event"] == "entered"} == {"belt-01-1", "belt-02-1"}


def test_a_fraction_of_a_layout_that_repeats_nothing_ends_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "small-line", "--fraction", "0.5"]) == 78
    assert "small-line.yaml: there is nothing to take a fraction of" in capsys.readouterr().err


def test_a_ledger_that_cannot_be_written_ends_with_73(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nowhere" / "ledger.jsonl"
    assert main(["run", "small-line", "--ledger", str(file)]) == 73
    assert capsys.readouterr().err == f"the ledger {file} cannot be written: No such file or directory\n"


async def test_a_hub_that_runs_writes_its_ledger_line_by_line_with_wall_time(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    before_ms = time.time_ns() // 1_000_000
    async with simulators("run", "--ledger", str(file), "--speed-factor", "100", "--for", "1s") as process:
        await ready_line(process)
        await process.wait()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) > 10
    assert {"entered", "discharged"} <= {line["event"] for line in lines}
    times_ms = [line["ts_ms"] for line in lines]
    assert times_ms == sorted(times_ms)
    assert before_ms <= times_ms[0]
    assert times_ms[-1] <= time.time_ns() // 1_000_000


async def test_a_reader_of_the_printed_ledger_may_leave_early() -> None:
    async with simulators("ledger", "--for", "2h") as process:
        first = await ready_line(process)
        assert first["event"] == "entered"
        assert process.stdout is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]
        await process.wait()
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert process.returncode == 0

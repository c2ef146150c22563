"""A database that somebody holds locked, and one that is damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from tests.app.conftest import Fleet, Gateway, recorder, until
from tests.plugins.mosquitto import Mosquitto


def test_a_locked_database_is_told_outlasted_and_costs_no_reading(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path
) -> None:
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    mosquitto.start()
    with recorder(mosquitto, tmp_path) as recorded:
        gateway.start()
        until(lambda: len(recorded.readings()) > 3, "readings arrive")
        with closing(sqlite3.connect(gateway.buffer, isolation_level=None)) as somebody:
            somebody.execute("BEGIN EXCLUSIVE")
            status, why = until(lambda: _unless_healthy(gateway), "the buffer does not accept writes")
            taken = gateway.device("device-001")["readings"]
            until(lambda: gateway.device("device-001")["readings"] > taken + 3, "the devices are read on")
            somebody.execute("ROLLBACK")
        until(lambda: gateway.page("/healthz")[0] == 200, "it is healthy again")
        assert gateway.stop() == 0
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        until(lambda: recorded.positions(epoch) == set(range(1, gateway.committed() + 1)), "all have arrived")
        taken_at = sorted(reading["ts_ms"] for reading in recorded.readings("device-001"))
    assert status == 503
    assert "the buffer cannot commit readings: " in why
    assert "locked" in why
    (told,) = gateway.lines("ERROR")
    assert "readings are kept in memory and the commit is tried again" in told
    assert len(gateway.lines("accepts commits again, after ")) == 1
    assert max(later - earlier for earlier, later in pairwise(taken_at)) < 1000


def test_a_damaged_database_is_moved_aside_and_the_gateway_runs_on(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet, tmp_path: Path
) -> None:
    gateway.settings["devices"] = [fleet.device(1)]
    mosquitto.start()
    gateway.folder.mkdir(exist_ok=True)
    rubbish = b"this was a database once" * 1000
    gateway.buffer.write_bytes(rubbish)
    with recorder(mosquitto, tmp_path) as recorded:
        gateway.start()
        until(lambda: len(recorded.readings()) > 3, "readings arrive")
        assert gateway.page("/healthz")[0] == 200
        assert gateway.stop() == 0
        assert recorded.readings()[0]["id"].endswith("-1")
    (told,) = gateway.lines("ERROR")
    assert f"the buffer {gateway.buffer} was damaged (it does not begin like a SQLite database): moved to " in told
    (aside,) = gateway.folder.glob("buffer.db.damaged-*")
    assert aside.name in told
    assert aside.read_bytes() == rubbish


def _unless_healthy(gateway: Gateway) -> tuple[int, str] | None:
    answer = gateway.page("/healthz")
    return None if answer[0] == 200 else answer

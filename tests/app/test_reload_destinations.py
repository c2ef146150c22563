"""SIGHUP and destinations: those that changed are restarted, one joins, one leaves, the others never notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.conftest import Fleet, Gateway, hub, recorder, until
from tests.app.test_reload import connections, reload
from tests.plugins.mosquitto import Mosquitto

DESTINATIONS = "config reloaded; destinations"


@pytest.fixture
def brokers(tmp_path: Path, fleet: Fleet) -> Iterator[tuple[Mosquitto, Mosquitto, Gateway]]:
    """Two brokers that run, and a gateway that does not yet; the first broker is its only destination."""
    (tmp_path / "second").mkdir()
    second = Mosquitto(tmp_path / "second")
    with hub(tmp_path) as (first, gateway):
        gateway.settings["devices"] = [fleet.device(1)]
        first.start()
        second.start()
        try:
            yield first, second, gateway
        finally:
            second.stop()


def test_only_the_destination_whose_settings_changed_is_restarted_and_keeps_its_place(
    brokers: tuple[Mosquitto, Mosquitto, Gateway], tmp_path: Path
) -> None:
    first, second, gateway = brokers
    secret = gateway.folder / "secret"
    secret.write_text("of the old days")
    gateway.settings["destinations"].append(
        {"name": "second", "url": second.url, "username": "sort-01", "password": "${file:secret}"}
    )
    with recorder(second, tmp_path) as recorded:
        gateway.start()
        until(lambda: len(recorded.readings()) > 3, "readings arrive at the second")
        (before,) = connections(first.port)
        acknowledged = gateway.metric("destination_acknowledged_readings_total", "second")
        gateway.settings["destinations"][1] |= {"keepalive": "17s", "replay": {"values_per_second": 500}}
        secret.write_text("of the new days")
        told = reload(gateway, outcome=DESTINATIONS)
        assert told.endswith("restarted second (password, replay.values_per_second, keepalive); 1 unchanged")
        arrived = len(recorded.readings())
        until(lambda: len(recorded.readings()) > arrived + 3, "readings arrive at the second again")
        assert connections(first.port) == {before}
        assert "of the" not in gateway.log
        assert gateway.metric("destination_acknowledged_readings_total", "second") >= acknowledged
        told = reload(gateway, outcome=DESTINATIONS)
        assert told.endswith("destinations: 2 unchanged")
        assert gateway.stop() == 0
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        promised = set(range(1, gateway.committed() + 1))
        until(lambda: recorded.positions(epoch) == promised, "everything has arrived at the second")
    assert gateway.waiting() == {"broker": 0, "second": 0}
    assert not gateway.lines("ERROR")


@pytest.mark.parametrize("start", ["now", "oldest"])
def test_a_destination_that_is_added_starts_now_or_at_the_oldest(
    brokers: tuple[Mosquitto, Mosquitto, Gateway], tmp_path: Path, start: str
) -> None:
    first, second, gateway = brokers
    first.stop()
    with recorder(second, tmp_path) as recorded:
        gateway.start()
        until(lambda: gateway.committed() >= 5, "readings wait for the first")
        assert gateway.page("/readyz")[0] == 503
        committed = gateway.committed()
        gateway.settings["destinations"].append({"name": "second", "url": second.url, "start": start})
        assert reload(gateway, outcome=DESTINATIONS).endswith("started second; 1 unchanged")
        until(lambda: gateway.metric("destination_up", "second"), "the second is connected")
        until(lambda: len(recorded.readings()) > 3, "readings arrive at the second")
        assert gateway.page("/readyz")[0] == 503  # the first has never been connected
        assert gateway.stop() == 0
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        positions = recorded.positions(epoch)
    assert max(positions) == gateway.committed()
    assert sorted(positions) == list(range(min(positions), max(positions) + 1))
    assert min(positions) == 1 if start == "oldest" else min(positions) > committed
    assert gateway.waiting() == {"broker": gateway.committed(), "second": 0}
    assert f"; broker lacks {gateway.committed()}\n" in gateway.log


def test_a_destination_that_is_removed_frees_what_only_it_lacked_and_says_so(
    brokers: tuple[Mosquitto, Mosquitto, Gateway], tmp_path: Path
) -> None:
    _, second, gateway = brokers
    second.stop()
    gateway.settings["destinations"].append({"name": "second", "url": second.url})
    gateway.start()
    until(lambda: gateway.metric("destination_backlog_readings", "second") > 5, "readings wait for the second")
    assert gateway.page("/readyz")[0] == 503
    del gateway.settings["destinations"][1]
    assert reload(gateway, outcome=DESTINATIONS).endswith("stopped second; 1 unchanged")
    until(lambda: gateway.waiting().keys() == {"broker"}, "the database has forgotten the second")
    gateway.wait_for_log("no longer dropping readings (destination-removed): ")
    assert gateway.metric("buffer_dropped_readings_total", "destination-removed") > 5
    assert gateway.page("/readyz")[0] == 200
    assert {labels for name, labels in gateway.metrics() if name == "destination_up"} == {("broker",)}
    assert len(gateway.lines("the destination second is no longer configured: its backlog of ")) == 1
    assert gateway.stop() == 0
    assert gateway.waiting() == {"broker": 0}


def test_the_status_stays_online_when_one_of_two_destinations_on_a_broker_goes(
    brokers: tuple[Mosquitto, Mosquitto, Gateway], tmp_path: Path
) -> None:
    first, _, gateway = brokers
    gateway.settings["destinations"].append({"name": "second", "url": first.url, "client_id": "second"})
    with recorder(first, tmp_path) as recorded:
        gateway.start()
        until(lambda: "as second (p5" in first.log, "the second is connected")
        until(recorded.readings, "readings arrive")
        del gateway.settings["destinations"][1]
        assert reload(gateway, outcome=DESTINATIONS).endswith("stopped second; 1 unchanged")

        def said() -> list[bool]:
            return [each["online"] for each in recorded.messages("hub/lgg/sort-01/status")]

        until(lambda: False in said(), "the will of the second comes")
        until(lambda: said()[-1], "the gateway says that it is online all the same")
        assert gateway.stop() == 0
        until(lambda: not said()[-1], "it says that it is offline now")


def test_a_broker_that_moved_is_followed_with_all_that_waited(
    brokers: tuple[Mosquitto, Mosquitto, Gateway], tmp_path: Path
) -> None:
    first, second, gateway = brokers
    first.stop()
    gateway.settings["commands"] = {"enabled": True}
    with recorder(second, tmp_path) as recorded:
        gateway.start()
        until(lambda: gateway.committed() >= 5, "readings wait")
        gateway.settings["destinations"][0]["url"] = second.url
        assert reload(gateway, outcome=DESTINATIONS).endswith("restarted broker (url); 0 unchanged")
        until(recorded.readings, "readings arrive at the new place")
        until(lambda: "Received SUBSCRIBE from hub-gateway-lgg-sort-01" in second.log, "it takes commands there")
        assert gateway.page("/readyz")[0] == 200
        assert gateway.stop() == 0
        epoch = recorded.readings()[0]["id"].partition("-")[0]
        assert recorded.positions(epoch) == set(range(1, gateway.committed() + 1))

"""What a scrape tells, read back with the parser of prometheus-client."""

from __future__ import annotations

import math
from importlib.metadata import version

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from drivers.model import Point, PointGroup, Reading, Reason
from gateway import metrics
from gateway.health import DestinationHealth, DeviceHealth, Health

CONTRACT: dict[str, tuple[str, set[str]]] = {
    "build_info": ("gauge", {"version"}),
    "device_up": ("gauge", {"device", "driver"}),
    "readings_total": ("counter", {"device"}),
    "values_total": ("counter", {"device"}),
    "read_errors_total": ("counter", {"device", "reason"}),
    "read_duration_seconds": ("histogram", {"device"}),
    "read_lateness_seconds": ("histogram", {"device"}),
    "reads_missed_total": ("counter", {"device"}),
    "reconnects_total": ("counter", {"device"}),
    "commands_total": ("counter", {"device", "outcome"}),
    "buffer_readings": ("gauge", set()),
    "buffer_bytes": ("gauge", set()),
    "buffer_oldest_age_seconds": ("gauge", set()),
    "buffer_dropped_readings_total": ("counter", {"reason"}),
    "buffer_commit_seconds": ("histogram", set()),
    "buffer_seconds_until_full": ("gauge", set()),
    "destination_up": ("gauge", {"destination"}),
    "destination_acknowledged_readings_total": ("counter", {"destination"}),
    "destination_backlog_readings": ("gauge", {"destination"}),
    "destination_set_aside_total": ("counter", {"destination"}),
    "destination_publish_seconds": ("histogram", {"destination"}),
    "event_loop_lag_seconds": ("gauge", set()),
}
NOW_NS = 1_700_000_000_000_000_000
GROUP = PointGroup("infeed", 1.0, (Point("speed", "m/s"), Point("a-very-private-point")))


@pytest.fixture
def health() -> Health:
    health = Health(
        devices={
            "infeed": DeviceHealth("infeed", "modbus", up=True, readings=7, values=14, missed=2, reconnects=1),
            "sorter": DeviceHealth("sorter", "modbus", reason="timeout"),
        },
        destinations={"hub-broker": DestinationHealth("hub-broker", up=True, acknowledged=5, backlog=2, set_aside=1)},
        loop_lag_s=0.004,
    )
    health.devices["infeed"].errors["timeout"] = 3
    health.devices["infeed"].last[GROUP] = Reading(GROUP, NOW_NS, (1.5, 2))
    health.buffer.dropped["max-bytes"] = 11
    return health


def scrape(health: Health) -> dict[str, Metric]:
    """Families by the name in the contract, so counters keep their `_total`."""
    text = metrics.render(metrics.registry(health, now_ns=lambda: NOW_NS)).decode()
    families = text_string_to_metric_families(text)
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def value(health: Health, name: str, /, **labels: str) -> float:
    samples = [sample for family in scrape(health).values() for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == f"hub_gateway_{name}" and sample.labels == labels]
    assert len(found) == 1, f"{len(found)} samples of {name} with {labels}"
    return found[0]


def test_the_metrics_are_exactly_those_of_the_contract_and_those_of_the_process(health: Health) -> None:
    assert {name for name in scrape(health) if not name.startswith("process_")} == {
        f"hub_gateway_{name}" for name in CONTRACT
    }


def test_the_process_metrics_are_there(health: Health) -> None:
    expected = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}
    assert expected <= scrape(health).keys()


@pytest.mark.parametrize("name", CONTRACT)
def test_type_and_labels_are_those_of_the_contract(name: str, health: Health) -> None:
    kind, labels = CONTRACT[name]
    family = scrape(health)[f"hub_gateway_{name}"]
    assert family.type == kind
    assert family.samples
    assert {frozenset(sample.labels.keys() - {"le"}) for sample in family.samples} == {frozenset(labels)}


@pytest.mark.parametrize("name", CONTRACT)
def test_every_metric_explains_itself(name: str, health: Health) -> None:
    assert scrape(health)[f"hub_gateway_{name}"].documentation.endswith(".")


def test_no_point_becomes_a_label(health: Health) -> None:
    assert b"a-very-private-point" not in metrics.render(metrics.registry(health))


def test_counters_and_gauges_carry_the_facts(health: Health) -> None:
    assert value(health, "device_up", device="infeed", driver="modbus") == 1
    assert value(health, "device_up", device="sorter", driver="modbus") == 0
    assert value(health, "readings_total", device="infeed") == 7
    assert value(health, "read_errors_total", device="infeed", reason="timeout") == 3
    assert value(health, "buffer_dropped_readings_total", reason="max-bytes") == 11
    assert value(health, "destination_backlog_readings", destination="hub-broker") == 2
    assert value(health, "build_info", version=version("hub-gateway")) == 1


def test_every_known_reason_starts_at_zero(health: Health) -> None:
    for reason in Reason:
        assert value(health, "read_errors_total", device="sorter", reason=str(reason)) == 0


def test_a_reason_that_is_not_in_the_closed_set_is_still_counted(health: Health) -> None:
    health.devices["sorter"].errors["melted"] = 2
    assert value(health, "read_errors_total", device="sorter", reason="melted") == 2


def test_histogram_buckets_are_cumulative_and_end_with_the_count(health: Health) -> None:
    for seconds in (0.001, 0.003, 0.003, 99.0):
        health.buffer.commit_seconds.observe(seconds)
    family = scrape(health)["hub_gateway_buffer_commit_seconds"]
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}
    assert (buckets["0.001"], buckets["0.0025"], buckets["0.005"], buckets["10.0"]) == (1, 1, 3, 3)
    assert buckets["+Inf"] == value(health, "buffer_commit_seconds_count") == 4
    assert value(health, "buffer_commit_seconds_sum") == pytest.approx(99.007)


def test_a_buffer_that_does_not_fill_is_full_in_infinite_time(health: Health) -> None:
    assert value(health, "buffer_seconds_until_full") == math.inf
    assert b"hub_gateway_buffer_seconds_until_full +Inf\n" in metrics.render(metrics.registry(health))


def test_the_oldest_age_counts_from_the_oldest_reading(health: Health) -> None:
    assert value(health, "buffer_oldest_age_seconds") == 0
    health.buffer.oldest_ns = NOW_NS - 90_000_000_000
    assert value(health, "buffer_oldest_age_seconds") == 90


def test_a_reading_from_the_future_has_no_negative_age(health: Health) -> None:
    health.buffer.oldest_ns = NOW_NS + 1
    assert value(health, "buffer_oldest_age_seconds") == 0


def test_each_scrape_tells_the_facts_of_that_moment(health: Health) -> None:
    registry = metrics.registry(health)
    first = metrics.render(registry)
    health.devices["infeed"].readings += 1
    assert b'hub_gateway_readings_total{device="infeed"} 8.0' not in first
    assert b'hub_gateway_readings_total{device="infeed"} 8.0' in metrics.render(registry)


def test_a_gateway_without_devices_yet_still_names_every_metric() -> None:
    assert {f"hub_gateway_{name}" for name in CONTRACT} <= scrape(Health()).keys()

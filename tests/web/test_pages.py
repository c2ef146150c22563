"""The pages as functions of the facts."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Level, Point, PointGroup, Quality, Reading
from gateway.health import DestinationHealth, DeviceHealth, Health
from gateway.web import Identity, pages
from gateway.web.pages import Now

WALL_NS = 1_700_000_002_123_000_000
NOW = Now(WALL_NS, monotonic_ns=90_000_000_000)
IDENTITY = Identity("lgg", "sort-01", "0.1.0", started_monotonic_ns=30_000_000_000)


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def status(health: Health) -> Any:
    page = pages.status(health, NOW, IDENTITY)
    assert (page.status, page.content_type) == (HTTPStatus.OK, "application/json")
    return json.loads(page.body, parse_constant=refuse)


def with_value(value: Any) -> Health:
    group = PointGroup("weigh-1", 1.0, (Point("gross", "kg"),))
    device = DeviceHealth("weigh-1", "scale", up=True)
    device.last[group] = Reading(group, WALL_NS, (value,))
    return Health(devices={"weigh-1": device})


def test_healthz_is_ok_while_the_buffer_accepts_writes(health: Health) -> None:
    assert pages.healthz(health).status == HTTPStatus.OK


def test_healthz_says_what_failed_and_what_to_do(health: Health) -> None:
    health.buffer.writable = False
    health.buffer.detail = "database or disk is full"
    page = pages.healthz(health)
    assert page.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"database or disk is full" in page.body
    assert b"free disk space" in page.body


def test_healthz_says_that_a_full_buffer_refuses_readings(health: Health) -> None:
    health.buffer.refusing = "max-bytes"
    page = pages.healthz(health)
    assert page.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert page.body.startswith(b"the buffer is full (max-bytes) and refuses new readings\n")


def test_healthz_does_not_care_whether_devices_or_destinations_are_down(health: Health) -> None:
    health.destinations["hub-broker"].up = False
    health.devices["infeed-conveyor"].up = False
    assert pages.healthz(health).status == HTTPStatus.OK


def test_readyz_is_ok_once_every_destination_has_connected_even_if_it_is_away_now(health: Health) -> None:
    health.destinations["hub-broker"].up = False
    assert pages.readyz(health).status == HTTPStatus.OK


def test_readyz_names_only_the_destinations_that_never_connected_and_why(health: Health) -> None:
    health.destinations["cloud"] = DestinationHealth("cloud", detail="connection refused")
    page = pages.readyz(health)
    assert page.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"cloud: connection refused" in page.body
    assert b"hub-broker" not in page.body


def test_status_says_who_answers_and_since_when(health: Health) -> None:
    gateway = status(health)["gateway"]
    assert (gateway["site"], gateway["id"], gateway["version"]) == ("lgg", "sort-01", "0.1.0")
    assert (gateway["uptime_s"], gateway["started_at"]) == (60.0, "2023-11-14T22:12:22.123Z")


def test_status_shows_each_point_with_value_quality_unit_and_age(health: Health) -> None:
    infeed, sorter = status(health)["devices"]
    observed = {"observed_at": "2023-11-14T22:13:20.123Z", "age_s": 2.0}
    assert infeed["points"] == [
        {"name": "speed", "value": 1.4213, "quality": "good", "unit": "m/s", **observed},
        {"name": "current", "value": None, "quality": "bad:not-a-number", "unit": "A", **observed},
        {"name": "running", "value": True, "quality": "good", "unit": "", **observed},
    ]
    assert (sorter["up"], sorter["reason"], sorter["detail"]) == (False, "timeout", "no answer from unit 3")
    assert (sorter["driver"], sorter["readings"], sorter["errors"]) == ("modbus", 0, {"timeout": 9})


def test_a_point_that_its_reading_left_out_has_no_quality() -> None:
    [device] = status(with_value(None))["devices"]
    assert device["points"][0]["quality"] is None


def test_status_shows_the_buffer_and_the_destinations(health: Health) -> None:
    document = status(health)
    assert document["buffer"] == {
        "readings": 2,
        "bytes": 4096,
        "max_bytes": 2**31,
        "oldest_age_s": None,
        "dropped": {},
        "seconds_until_full": None,
        "writable": True,
        "detail": "",
        "refusing": "",
    }
    assert document["destinations"] == [
        {
            "name": "hub-broker",
            "up": True,
            "ever_up": True,
            "detail": "",
            "acknowledged": 0,
            "backlog": 2,
            "set_aside": 0,
        }
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_null(value: float) -> None:
    [device] = status(with_value(value))["devices"]
    assert device["points"][0]["value"] is None


@pytest.mark.parametrize(
    ("value", "shown"), [(2**64 - 1, 2**64 - 1), (2**64, str(2**64)), ("\ud800", "?"), (b"\xff", "b'\\xff'")]
)
def test_a_value_that_json_has_no_form_for_is_shown_as_text(value: Any, shown: Any) -> None:
    [device] = status(with_value(value))["devices"]
    assert device["points"][0]["value"] == shown


def test_a_weight_keeps_the_digits_of_its_display() -> None:
    page = pages.status(with_value(Decimal("12.340")), NOW, IDENTITY)
    assert b'"value":12.340,"text":"12.340","quality":"good","unit":"kg"' in page.body


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("-Infinity")])
def test_a_decimal_that_is_no_number_is_null(value: Decimal) -> None:
    [device] = status(with_value(value))["devices"]
    assert device["points"][0]["value"] is None


def test_the_last_event_is_shown_with_what_it_carries() -> None:
    group = PointGroup("portal-1", 0.0, (Point("epc"), Point("antenna"), Point("rssi", "dBm")), events=True)
    device = DeviceHealth("portal-1", "rfid", up=True, readings=3, values=6)
    device.last[group] = Reading(group, WALL_NS - 10**9, ("3034257bf400b7800004cb2f", 2, None))
    [shown] = status(Health(devices={"portal-1": device}))["devices"]
    assert [(point["value"], point["quality"], point["age_s"]) for point in shown["points"]] == [
        ("3034257bf400b7800004cb2f", "good", 1.0),
        (2, "good", 1.0),
        (None, None, 1.0),
    ]


text = st.text(alphabet=st.characters(exclude_categories=[]))
qualities = st.builds(Quality, st.sampled_from(Level), st.sampled_from(["", "timeout", "melted"]))
values = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | text
whole = st.integers(-(2**62), 2**62)


@given(
    observed_at_ns=whole,
    wall_ns=whole,
    row=st.lists(values, min_size=2, max_size=2),
    quality=st.dictionaries(st.integers(0, 2), qualities),
    detail=text,
    seconds=st.floats(),
)
def test_no_facts_make_a_page_fail(
    *, observed_at_ns: int, wall_ns: int, row: list[Any], quality: dict[int, Quality], detail: str, seconds: float
) -> None:
    group = PointGroup("d", 1.0, (Point("a"), Point("b")))
    device = DeviceHealth("d", "modbus", detail=detail)
    device.last[group] = Reading(group, observed_at_ns, tuple(row), quality)
    health = Health(
        devices={"d": device}, destinations={"x": DestinationHealth("x", detail=detail)}, loop_lag_s=seconds
    )
    health.buffer.writable, health.buffer.detail, health.buffer.oldest_ns = False, detail, observed_at_ns
    health.buffer.seconds_until_full = seconds
    page = pages.status(health, Now(wall_ns, 0), IDENTITY)
    json.loads(page.body, parse_constant=refuse)
    assert pages.healthz(health).body
    assert pages.readyz(health).body


def test_the_status_page_needs_nothing_from_elsewhere() -> None:
    page = pages.index()
    html = page.body.decode()
    assert "http://" not in html
    assert "https://" not in html
    assert "innerHTML" not in html
    assert "'unsafe-inline'" not in page.policy
    assert page.policy.count("'sha256-") == 2

"""The format `json` against golden files: what consumers parse. Change one only with the contract."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Point, PointGroup, Reading, all_bad, bad, uncertain
from gateway.buffer import StoredReading
from gateway.payloads.json import JsonPayload

GOLDEN = Path(__file__).parent / "golden"
GROUP = PointGroup(
    "infeed-conveyor", 1.0, tuple(Point(name) for name in ("speed", "running", "current", "parcels", "label"))
)
NOW_NS = 1_700_000_000_123_456_789


def payload(*, batch=1, topic="hub/{site}/{gateway}/{device}"):
    return JsonPayload(
        site="lgg",
        gateway="sort-01",
        epoch="9f3c1e00",
        topic=topic,
        version="0.1.0",
        started_ms=1_700_000_000_000,
        batch=batch,
    )


READINGS = {
    "good": Reading(GROUP, NOW_NS, (1.42, True, 0.5, 184213, 'Zoë "1"')),
    "changed-only": Reading(GROUP, NOW_NS, (1.42, None, None, None, None)),
    "one-bad": Reading(GROUP, NOW_NS, (1.42, True, None, None, None), {2: bad("timeout")}),
    "uncertain": Reading(GROUP, NOW_NS, (1.42, None, None, None, None), {0: uncertain("out-of-range")}),
    "all-bad": all_bad(GROUP, NOW_NS, "comm-failure"),
    "largest-numbers": Reading(GROUP, NOW_NS, (1e308, False, -0.0, 2**64 - 1, "")),
}


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_is_written_as_in_the_golden_file(name):
    topic, body = payload().encode([StoredReading(184213, READINGS[name])], historical=name == "changed-only")
    assert topic == "hub/lgg/sort-01/infeed-conveyor"
    assert body == (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")


def test_a_batch_is_an_array_of_the_same_objects():
    stored = [StoredReading(7, READINGS["good"]), StoredReading(9, READINGS["one-bad"])]
    _, body = payload(batch=10).encode(stored, historical=True)
    assert body == (GOLDEN / "batch.json").read_bytes().rstrip(b"\n")


def test_with_a_batch_a_single_reading_is_an_array_too():
    _, body = payload(batch=10).encode([StoredReading(7, READINGS["good"])], historical=True)
    assert isinstance(orjson.loads(body), list)


def test_the_topic_template_is_filled_in():
    stored = [StoredReading(7, READINGS["good"])]
    topic, _ = payload(topic="plant/{device}/{gateway}").encode(stored, historical=False)
    assert topic == "plant/infeed-conveyor/sort-01"


def test_the_status_is_written_as_in_the_golden_files():
    statuses = {
        "status-online": payload().online(connected_ms=1_700_000_000_456, history=17),
        "status-offline": payload().offline(),
    }
    for name, (topic, body) in statuses.items():
        assert topic == "hub/lgg/sort-01/status"
        assert body == (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(st.none() | st.booleans() | NUMBERS | st.text(), min_size=5, max_size=5))
def test_every_value_comes_back_from_the_message_and_absent_ones_are_absent(values):
    _, body = payload().encode([StoredReading(1, Reading(GROUP, NOW_NS, tuple(values)))], historical=False)
    assert orjson.loads(body)["values"] == {
        name: value for name, value in zip(GROUP.names, values, strict=True) if value is not None
    }

"""The judge is judged: what the ledger says of messages that arrive, are lost, come twice or contradict themselves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit import EpochVerdict, Ledger

STATUS = "hub/lgg/sort-01/status"


@dataclass
class Desk:
    """A ledger with a clock that is moved by hand."""

    now_s: float = 1000.0
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(grace_s=10.0, remembered=1000, clock_s=lambda: self.now_s)

    def reading(self, position: int, *, topic: str = "hub/lgg/sort-01/infeed", **changed: Any) -> None:
        self.ledger.note(topic, orjson.dumps(message(position, **changed)))

    def readings(self, *positions: int, **changed: Any) -> None:
        for position in positions:
            self.reading(position, **changed)

    def status(self, *, online: bool, topic: str = STATUS, epoch: str = "0a1b2c3d", **more: int) -> None:
        self.ledger.note(topic, orjson.dumps({"online": True, "epoch": epoch} | more if online else {"online": False}))

    def epoch(self, *, now_s: float | None = None) -> EpochVerdict:
        (one,) = self.ledger.verdict(now_s=now_s).epochs
        return one


@pytest.fixture
def desk() -> Desk:
    return Desk()


def message(position: int, *, epoch: str = "0a1b2c3d", device: str = "infeed", **changed: Any) -> dict[str, Any]:
    """As the format `json` has it."""
    about = {"id": f"{epoch}-{position}", "ts_ms": 1_700_000_000_000 + position, "gateway": "sort-01"}
    return {**about, "device": device, "values": {"n": position}, "historical": False, **changed}


def test_a_gap_is_open_at_first_and_missing_when_its_grace_has_passed(desk: Desk) -> None:
    desk.readings(5, 6, 9)
    assert (desk.epoch().missing, desk.epoch().open) == ((), ((7, 8),))
    desk.now_s += 9
    desk.readings(10, 12)
    assert (desk.epoch().missing, desk.epoch().open) == ((), ((7, 8), (11, 11)))
    desk.now_s += 2
    desk.reading(13)
    verdict = desk.ledger.verdict()
    assert (verdict.epochs[0].missing, verdict.epochs[0].open, verdict.is_complete) == (((7, 8),), ((11, 11),), False)
    desk.now_s += 20
    assert (desk.epoch().missing, desk.epoch().open) == (((7, 8), (11, 11)), ())


def test_history_that_comes_later_closes_a_gap(desk: Desk) -> None:
    desk.readings(5, 9)
    desk.now_s += 30
    assert desk.epoch().missing_count == 3
    desk.readings(6, 7, 8, historical=True)
    assert desk.ledger.verdict().is_complete


def test_while_history_comes_only_what_it_has_passed_is_missing(desk: Desk) -> None:
    desk.status(online=True)
    desk.readings(1, 100)
    for position in range(2, 60):
        desk.now_s += 1
        if position not in {10, 11}:
            desk.reading(position, historical=True)
    assert (desk.epoch().missing, desk.epoch().open) == (((10, 11),), ((60, 99),))


def test_a_new_connection_begins_history_anew_so_nothing_is_missing_yet(desk: Desk) -> None:
    desk.status(online=True)
    desk.readings(1, 5)
    desk.now_s += 30
    assert desk.epoch().missing == ((2, 4),)
    desk.status(online=False)
    assert desk.epoch().open == ((2, 4),)
    desk.now_s += 100
    assert desk.epoch().open == ((2, 4),)
    desk.status(online=True)
    desk.now_s += 5
    desk.reading(6)
    assert desk.epoch().open == ((2, 4),)
    desk.now_s += 20
    assert (desk.epoch().missing, desk.epoch().connections) == (((2, 4),), 2)


def test_history_that_is_to_come_is_waited_for_however_long_it_is_silent(desk: Desk) -> None:
    desk.status(online=True, connected_ms=1, history=0)
    desk.reading(1)
    desk.status(online=False)
    desk.now_s += 60
    desk.status(online=True, connected_ms=2, history=3)
    for position in range(5, 50):
        desk.now_s += 1
        desk.reading(position)
    assert (desk.epoch().missing, desk.epoch().open) == ((), ((2, 4),))
    desk.reading(3, historical=True)
    desk.now_s += 60
    assert (desk.epoch().missing, desk.epoch().open) == (((2, 2),), ((4, 4),))
    desk.status(online=True, connected_ms=2, history=0)
    assert (desk.epoch().missing, desk.epoch().open) == (((2, 2),), ((4, 4),))
    desk.now_s += 11
    assert (desk.epoch().missing, desk.epoch().open, desk.epoch().connections) == (((2, 2), (4, 4)), (), 2)


def test_a_status_that_is_said_again_begins_no_connection_and_ends_an_absence(desk: Desk) -> None:
    """Two destinations on one broker: one leaves, and the other says that the gateway is online all the same."""
    desk.status(online=True, connected_ms=1, history=0)
    desk.status(online=True, connected_ms=2, history=7)
    desk.readings(1, 3)
    desk.now_s += 30
    assert desk.epoch().open == ((2, 2),)
    desk.status(online=False)
    desk.status(online=True, connected_ms=1, history=0)
    assert (desk.epoch().missing, desk.epoch().connections) == (((2, 2),), 2)


def test_with_infinite_patience_every_gap_is_missing(desk: Desk) -> None:
    desk.status(online=True)
    desk.readings(1, 3)
    desk.status(online=False)
    assert desk.epoch(now_s=math.inf).missing == ((2, 2),)


def test_history_from_before_the_audit_is_counted_and_not_judged(desk: Desk) -> None:
    desk.readings(3, 7, historical=True)
    assert (desk.epoch().earlier, desk.epoch().missing, desk.epoch().readings) == (2, (), 2)
    desk.readings(20, 21)
    desk.now_s += 60
    assert (desk.epoch().first, desk.epoch().earlier, desk.epoch().missing) == (20, 2, ())


def test_what_is_expected_must_arrive_whatever_is_heard_first(desk: Desk) -> None:
    desk.ledger.expect("0a1b2c3d", [(2, 3), (8, 8)], after=10)
    desk.readings(12, 3)
    assert desk.epoch(now_s=math.inf).missing == ((2, 2), (8, 8), (11, 11))
    assert desk.ledger.missing("0a1b2c3d", 1, 12) == 10


def test_in_arrays_the_audit_begins_beyond_what_other_devices_had_sent_already(desk: Desk) -> None:
    for positions in ((3, 5), (4, 8), (6, 9, 10)):
        desk.ledger.note("hub/lgg/sort-01/x", orjson.dumps([message(one) for one in positions]))
    assert (desk.epoch().first, desk.epoch(now_s=math.inf).missing) == (10, ())


def test_a_copy_is_counted_and_compared(desk: Desk) -> None:
    desk.readings(1, 2, 3)
    desk.reading(2, historical=True)
    desk.reading(3, values={"n": 4})
    desk.reading(1, ts_ms=1)
    one, (device,) = desk.epoch(), desk.ledger.verdict().devices
    assert (one.duplicates, one.contradicting, one.contradictions) == (3, 2, ("0a1b2c3d-3", "0a1b2c3d-1"))
    assert (device.duplicates, device.contradictions, device.readings) == (3, 2, 3)
    assert not desk.ledger.verdict().is_complete


def test_a_time_that_is_corrected_once_the_clock_is_set_is_no_contradiction(desk: Desk) -> None:
    desk.reading(1, ts_ms=17, quality={"n": "uncertain:clock-unset"})
    desk.reading(1, historical=True)
    desk.reading(1, historical=True)
    assert (desk.epoch().duplicates, desk.epoch().corrected, desk.epoch().contradicting) == (2, 1, 0)
    desk.reading(1, ts_ms=18)
    assert desk.epoch().contradicting == 1
    desk.reading(2, values={}, quality={"n": "bad:timeout"})
    desk.reading(2, values={}, quality={"n": "bad:timeout"}, ts_ms=18)
    assert desk.epoch().contradicting == 1


def test_what_came_long_ago_is_no_longer_compared_but_still_a_copy(desk: Desk) -> None:
    desk.readings(*range(1, 2500))
    desk.reading(1, values={"n": 99})
    desk.reading(2400, values={"n": 99})
    assert (desk.epoch().duplicates, desk.epoch().unchecked, desk.epoch().contradicting) == (2, 1, 1)


def test_order_is_that_of_a_device_in_a_lane_of_one_connection(desk: Desk) -> None:
    desk.status(online=True)
    desk.readings(10, 12)
    desk.reading(11, device="other")
    desk.readings(1, 3, historical=True)
    assert desk.epoch().out_of_order == 0
    desk.reading(2, historical=True)
    assert desk.epoch().out_of_order == 1
    desk.status(online=True)
    desk.readings(4, 5, historical=True)
    desk.reading(13)
    assert desk.epoch().out_of_order == 1
    infeed, other = desk.ledger.verdict().devices
    assert (infeed.out_of_order, other.out_of_order) == (1, 0)
    assert (infeed.live, infeed.historical, infeed.first_id, infeed.last_id) == (3, 5, "0a1b2c3d-1", "0a1b2c3d-13")


def test_epochs_and_gateways_are_judged_each_by_itself(desk: Desk) -> None:
    desk.readings(7, 8)
    desk.readings(1, 3, epoch="ffffffff")
    desk.reading(1, gateway="sort-02")
    found = {(one.gateway, one.epoch): one.missing for one in desk.ledger.verdict(now_s=math.inf).epochs}
    assert found == {
        ("sort-01", "0a1b2c3d"): (),
        ("sort-01", "ffffffff"): ((2, 2),),
        ("sort-02", "0a1b2c3d"): (),
    }
    assert next(iter(desk.ledger.verdict().devices)).last_id == "ffffffff-3"


def test_gateways_of_one_id_on_two_sites_are_told_apart(desk: Desk) -> None:
    """An id is unique in its site. While one is away, what the other has lost is missing all the same."""
    desk.status(online=True)
    desk.status(online=True, topic="hub/cdg/sort-01/status", epoch="ffffffff")
    desk.readings(1, 2, 4)
    desk.readings(1, 2, 4, topic="hub/cdg/sort-01/infeed", epoch="ffffffff")
    desk.status(online=False)
    desk.now_s += 30
    verdict = desk.ledger.verdict()
    assert [(one.missing, one.open) for one in verdict.epochs] == [((), ((3, 3),)), (((3, 3),), ())]
    assert [(one.topic, one.readings) for one in verdict.devices] == [
        ("hub/lgg/sort-01/infeed", 3),
        ("hub/cdg/sort-01/infeed", 3),
    ]


def test_a_new_epoch_on_the_topic_of_a_status_ends_the_one_before(desk: Desk) -> None:
    desk.status(online=True)
    desk.readings(1, 3)
    desk.status(online=False)
    desk.now_s += 30
    assert desk.epoch().open == ((2, 2),)
    desk.status(online=True, epoch="ffffffff")
    assert desk.epoch().missing == ((2, 2),)


def test_an_epoch_that_is_expected_and_never_heard_is_told(desk: Desk) -> None:
    desk.ledger.expect("ffffffff", [(1, 100)], after=100)
    desk.readings(1, 2)
    verdict = desk.ledger.verdict()
    assert (verdict.unheard, verdict.is_complete) == (("ffffffff",), False)
    desk.reading(100, epoch="ffffffff")
    assert desk.ledger.verdict().unheard == ()


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"17", b"null", b"{}", b"[]", b"[[]]", b'{"id": "a-1"}', b"\xff\xfe", b"[" * 2000,
        orjson.dumps(message(1) | {"id": "nothing"}), orjson.dumps(message(1) | {"id": "-1"}),
        orjson.dumps(message(0)), orjson.dumps(message(1) | {"id": f"a-{2**63}"}),
        orjson.dumps(message(1) | {"id": "a-\N{SUPERSCRIPT TWO}"}), orjson.dumps(message(1) | {"historical": 1}),
        orjson.dumps(message(1))[:-12] + b'"values":' + b"[" * 400 + b"]" * 400 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_reading_is_passed_over_and_counted(desk: Desk, payload: bytes) -> None:
    desk.ledger.note("hub/x", payload)
    verdict = desk.ledger.verdict()
    assert (verdict.epochs, verdict.devices, verdict.foreign) == ((), (), 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ALMOST = st.builds(
    lambda position, changed: message(position) | changed,
    st.integers(-2, 2**64),
    st.dictionaries(st.sampled_from(["id", "ts_ms", "gateway", "device", "values", "quality", "historical"]), JSON),
)


@given(st.data())
@settings(deadline=None)
def test_no_payload_breaks_it(data: st.DataObject) -> None:
    ledger = Ledger()
    as_bytes = st.binary(max_size=40) | (JSON | ALMOST | st.lists(ALMOST, max_size=3)).map(as_json)
    for topic, payload in data.draw(st.lists(st.tuples(st.text(max_size=9), as_bytes), max_size=8)):
        ledger.note(topic, payload)
    verdict = ledger.verdict(now_s=math.inf)
    assert ledger.messages >= verdict.foreign
    assert sum(one.readings for one in verdict.devices) == verdict.readings


def as_json(body: Any) -> bytes:
    return json.dumps(body).encode()


@given(
    total=st.integers(1, 60),
    lost=st.sets(st.integers(2, 60)),
    again=st.lists(st.integers(1, 60)),
    seed=st.randoms(use_true_random=False),
)
def test_in_whatever_order_they_come_exactly_what_is_lost_is_missing(
    total: int, lost: set[int], again: list[int], seed: Any
) -> None:
    ledger = Ledger()
    ledger.expect("0a1b2c3d", [(1, total)], after=total)
    sent = [one for one in range(1, total + 1) if one not in lost]
    copies = [one for one in again if one in sent]
    order = sent + copies
    seed.shuffle(order)
    for position in order:
        ledger.note("hub/x", orjson.dumps(message(position, historical=seed.random() < 0.5)))
    (one,) = ledger.verdict(now_s=math.inf).epochs
    missing = {position for first, last in one.missing for position in range(first, last + 1)}
    assert missing == lost & set(range(1, total + 1))
    assert (one.readings, one.duplicates, one.contradicting) == (len(sent), len(copies), 0)

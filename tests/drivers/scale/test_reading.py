"""What each point of a reading carries, and why where it carries nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.model import Point, PointGroup
from drivers.scale.indication import GARBLED, Indication, Status
from drivers.scale.reading import Readings
from tests.drivers.scale.conftest import quality, shown

GROUP = PointGroup(
    "weigh-1",
    0.0,
    tuple(Point(name) for name in ("gross", "net", "tare", "weight", "stable", "unit", "status", "zero")),
)
ONE = Decimal("1.000")
GROSS = Indication(Status.OK, ONE, gross=ONE, unit="kg", stable=True)
NET = Indication(Status.OK, ONE, net=ONE, unit="kg", stable=True)
NET_MOVING = Indication(Status.MOTION, ONE, net=ONE, unit="kg", stable=False)


def readings(*, to_kilograms: bool = False) -> Readings:
    return Readings(GROUP, to_kilograms=to_kilograms, clock=lambda: 1)


def test_what_was_never_shown_is_not_in_the_reading() -> None:
    found = readings().of(GROSS)
    assert set(shown(found)) == {"gross", "weight", "stable", "unit", "status"}
    assert quality(found) == {}


@pytest.mark.parametrize("indication", [NET, NET_MOVING])
def test_what_was_shown_and_is_not_any_more_is_bad_whether_it_moves_or_not(indication: Indication) -> None:
    made = readings()
    made.of(GROSS)
    assert quality(made.of(indication))["gross"] == "bad:not-shown"


def test_a_unit_that_comes_with_settled_weights_only_is_bad_because_it_moves() -> None:
    made = readings()
    made.of(GROSS)
    found = made.of(Indication(Status.MOTION, ONE, stable=False))
    assert quality(found) == {"weight": "uncertain:in-motion", "unit": "bad:in-motion", "gross": "bad:not-shown"}


@pytest.mark.parametrize(
    ("indication", "reason"),
    [
        (Indication(Status.OVERLOAD), "bad:overload"),
        (Indication(Status.UNDERLOAD), "bad:underload"),
        (Indication(Status.BUSY), "bad:in-motion"),
        (Indication(Status.POWER_UP), "bad:device-error"),
        (Indication(Status.EXPANDED), "bad:expanded"),
        (Indication(Status.ERROR), "bad:device-error"),
        (GARBLED, "bad:bad-response"),
    ],
)
def test_without_a_weight_all_that_was_shown_is_bad_for_one_reason(indication: Indication, reason: str) -> None:
    made = readings()
    made.of(GROSS)
    found = made.of(indication)
    told = set() if indication is GARBLED else {"status"}
    assert set(shown(found)) == told
    assert quality(found) == dict.fromkeys({"gross", "weight", "stable", "unit", "status"} - told, reason)


def test_a_unit_that_cannot_be_converted_takes_the_weights_with_it() -> None:
    found = readings(to_kilograms=True).of(Indication(Status.OK, ONE, net=ONE, unit="PCS", stable=True))
    assert quality(found) == {"weight": "bad:unknown-unit"}
    assert shown(found)["unit"] == "PCS"


def test_without_a_unit_nothing_can_be_converted() -> None:
    made = readings(to_kilograms=True)
    assert quality(made.of(Indication(Status.OK, ONE, stable=True))) == {"weight": "bad:unknown-unit"}
    assert quality(made.of(Indication(Status.MOTION, ONE, stable=False))) == {"weight": "bad:in-motion"}


def test_an_overload_in_pounds_is_one_of_a_scale_in_kilograms_all_the_same() -> None:
    found = readings(to_kilograms=True).of(Indication(Status.OVERLOAD, unit="lb"))
    assert shown(found) == {"unit": "kg", "status": "overload"}


def test_after_an_outage_every_point_has_a_value_or_a_reason() -> None:
    made = readings()
    made.all_known()
    assert quality(made.of(GROSS)) == {"net": "bad:not-shown", "tare": "bad:not-shown"}

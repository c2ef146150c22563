"""What is taken from a driver, whoever has written it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from drivers.model import Point, PointGroup, Reading, bad, uncertain
from gateway.acquire.checks import checked

NOT_A_NUMBER = bad("not-a-number")


def reading(*values: Any, **more: Any) -> Reading:
    return Reading(
        PointGroup("belt", 1.0, tuple(Point(f"p{index}") for index in range(len(values)))), 17, values, **more
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")])
@pytest.mark.parametrize("others", [(1.5, 2), ("text", None), (Decimal("12.340"), 2**70)])
def test_what_is_not_a_number_is_bad_and_the_others_stay(value: Any, others: tuple[Any, Any]) -> None:
    given = reading(value, *others, quality={0: uncertain("in-motion"), 1: uncertain("in-motion")})
    taken = checked(given)
    assert (taken.group, taken.observed_at_ns, taken.values) == (given.group, 17, (None, *others))
    assert taken.quality == {0: NOT_A_NUMBER, 1: uncertain("in-motion")}


def test_two_infinities_do_not_hide_each_other() -> None:
    assert checked(reading(math.inf, 1.0, -math.inf)).values == (None, 1.0, None)


@pytest.mark.parametrize(
    "values",
    [
        (1.5, True, 2**63), (1.7e308, 1.7e308), (Decimal("1E+999"), 1), ("text", None, 0.1), (Decimal("12.340"), 0.5),
        (10**400, 0.5), (),
    ],
)  # fmt: skip
def test_everything_else_is_taken_as_it_is(values: tuple[Any, ...]) -> None:
    given = reading(*values)
    assert checked(given) is given


def test_a_value_too_many_is_a_bug_of_the_driver() -> None:
    with pytest.raises(ValueError, match="2 values for 1 points"):
        checked(Reading(PointGroup("belt", 1.0, (Point("p"),)), 17, (1, 2)))

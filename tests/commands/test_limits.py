"""What may be written, and how often."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from drivers.model import Value
from drivers.settings import PointSettings
from gateway.commands.limits import Allowance, check


@pytest.mark.parametrize("value", [Decimal("0.1"), Decimal("0.3"), Decimal("0.200"), Decimal("3e-1")])
def test_limits_are_the_decimals_that_were_written(value: Value) -> None:
    check(PointSettings(name="speed", writable=True, min=0.1, max=0.3), value)


@pytest.mark.parametrize("value", [Decimal("0.0999999999999999999"), Decimal("0.3000000000000000001"), 1, -1])
def test_a_number_outside_is_refused(value: Value) -> None:
    with pytest.raises(ValueError, match=r"speed takes a number from 0\.1 to 0\.3, not "):
        check(PointSettings(name="speed", writable=True, min=0.1, max=0.3), value)


def test_one_limit_is_enough() -> None:
    with pytest.raises(ValueError, match="takes a number from 1 on, not 0"):
        check(PointSettings(name="speed", writable=True, min=1), 0)
    with pytest.raises(ValueError, match="takes a number up to 1, not 2"):
        check(PointSettings(name="speed", writable=True, max=1), 2)


@pytest.mark.parametrize("value", [True, "1"])
def test_a_point_with_limits_takes_numbers_only(value: Value) -> None:
    with pytest.raises(ValueError, match="takes a number up to 1"):
        check(PointSettings(name="speed", writable=True, max=1), value)
    check(PointSettings(name="speed", writable=True), value)


def test_limits_of_what_is_not_written_are_a_mistake() -> None:
    with pytest.raises(ValidationError, match="has no effect: it limits what is written"):
        PointSettings(name="speed", max=1)
    with pytest.raises(ValidationError, match=r"is less than min \(2\)"):
        PointSettings(name="speed", writable=True, min=2, max=1)


def test_an_allowance_is_for_any_minute() -> None:
    allowance = Allowance(2)
    assert [allowance.take(now_s=now_s) for now_s in (0, 30, 59.9, 60, 61, 90)] == [
        True, True, False, True, False, True,
    ]  # fmt: skip

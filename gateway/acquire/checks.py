"""What is taken from a driver: as many values as points, and no number that is none."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from drivers.model import Reading, Reason, Value, bad

_NOT_A_NUMBER = bad(Reason.NOT_A_NUMBER)


def checked(reading: Reading) -> Reading:
    """The reading with NaN and the infinities as `bad:not-a-number`: neither JSON nor SQLite can hold them.

    Raises ValueError, a bug of the driver, when it has not one value for each point of its group.
    """
    values = reading.values
    if len(values) != len(reading.group.points):
        raise ValueError(f"{len(values)} values for {len(reading.group.points)} points")
    if _are_finite_numbers(values):
        return reading
    wrong = [index for index, value in enumerate(values) if not _can_be_held(value)]
    if not wrong:
        return reading
    kept = tuple(None if index in wrong else value for index, value in enumerate(values))
    return Reading(
        reading.group, reading.observed_at_ns, kept, {**reading.quality, **dict.fromkeys(wrong, _NOT_A_NUMBER)}
    )


def _are_finite_numbers(values: tuple[Value, ...]) -> bool:
    """In one step, as it is for nearly all readings; False also for text, for no value, and when in doubt."""
    try:
        return isfinite(sum(values))  # type: ignore[arg-type]  # what cannot be added raises
    except (TypeError, ValueError, ArithmeticError):
        return False


def _can_be_held(value: Value) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or isfinite(value)

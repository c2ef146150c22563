"""How a `Decimal` is written as JSON: as a number with the digits that it has, 12.340 and not 12.34."""

from __future__ import annotations

from decimal import Decimal

import orjson


def number(value: object) -> orjson.Fragment:
    """For `orjson.dumps(…, default=number)`. Raises TypeError for what is no finite Decimal."""
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

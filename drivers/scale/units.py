"""Units of weight. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

KILOGRAMS: Mapping[str, Decimal] = MappingProxyType(
    {
        "kg": Decimal(1),
        "g": Decimal("0.001"),
        "mg": Decimal("0.000001"),
        "t": Decimal(1000),
        "lb": Decimal("0.45359237"),
        "oz": Decimal("0.028349523125"),
    }
)
"""Exact, by definition: the pound of 1959 has 0.45359237 kg and 16 ounces."""

OF_WEIGHT = frozenset(KILOGRAMS) | {
    "lbs",
    "ozt",
    "dwt",
    "ct",
    "gn",
    "ug",
    "µg",
    "ton",
    "tl",
    "mo",
    "msg",
    "bat",
    "tola",
}
"""Units that weights are shown in, in lower case. Pieces, percent and pounds with ounces (`l/o`) are none."""


def in_kilograms(weight: Decimal, unit: str) -> Decimal | None:
    """`weight` without any rounding; None when the unit is not one of weight that is known here."""
    factor = KILOGRAMS.get(unit.lower())
    return None if factor is None else weight * factor

"""Which indications are a new load."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.scale.indication import GARBLED, Indication, Status
from drivers.scale.loads import Loads

OVERLOAD = Indication(Status.OVERLOAD)


def settled(weight: str) -> Indication:
    return Indication(Status.OK, Decimal(weight), stable=True)


def moving(weight: str) -> Indication:
    return Indication(Status.MOTION, Decimal(weight), stable=False)


@pytest.mark.parametrize(
    ("said", "new"),
    [
        ([settled("1.00"), settled("1.00"), settled("1.00")], [0]),
        ([settled("1.00"), moving("1.00"), settled("1.00")], [0]),
        ([settled("0.370"), settled("0.375"), moving("0.365"), settled("0.370")], [0]),
        ([settled("1.00"), moving("0.40"), settled("1.00")], [0, 2]),
        ([settled("1.00"), settled("0.00"), settled("1.00")], [0, 2]),
        ([settled("1.00"), settled("2.00")], [0, 1]),
        ([settled("0.00"), moving("5.00"), moving("7.00"), settled("7.10")], [3]),
        ([settled("-0.50")], [0]),
        ([settled("0.000"), settled("0.002"), settled("0.000"), settled("-0.002"), settled("0.010")], []),
        ([settled("5.000"), settled("0.002"), settled("0.000"), settled("0.002"), settled("5.000")], [0, 4]),
        ([settled("0.012"), settled("0.010"), settled("0.012"), settled("0.000"), settled("0.012")], [0, 4]),
        ([settled("1.00"), OVERLOAD, OVERLOAD, settled("1.00")], [0, 1, 3]),
        ([settled("1.00"), GARBLED, GARBLED, settled("1.00")], [0, 1]),
    ],
)
def test_each_settled_load_is_new_once(said: list[Indication], new: list[int]) -> None:
    loads = Loads()
    assert [number for number, indication in enumerate(said) if loads.is_new(indication)] == new

"""A scale on which one puts what a test needs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simulators.faces import Indication, Load


class Pan:
    """A `ScaleFace` whose load and stability are set by hand."""

    name = "scale-1"

    def __init__(self) -> None:
        self.capacity_kg = Decimal(60)
        self.interval_kg = Decimal("0.01")
        self.gross_kg = Decimal("12.34")
        self.tare_kg = Decimal(0)
        self.is_stable = True
        self.load = Load.WITHIN
        self.power_cycles = 0

    def indication(self) -> Indication:
        return Indication(self.gross_kg, self.tare_kg, is_stable=self.is_stable, load=self.load)

    def zero(self) -> bool:
        if not self.is_stable or abs(self.gross_kg) > self.capacity_kg / 50:
            return False
        self.gross_kg = Decimal(0)
        return True

    def tare(self) -> bool:
        if not self.is_stable or self.gross_kg < 0:
            return False
        self.tare_kg = self.gross_kg
        return True

    def preset_tare(self, tare_kg: Decimal) -> bool:
        self.tare_kg = tare_kg
        return True

    def clear_tare(self) -> None:
        self.tare_kg = Decimal(0)

    def power_cycle(self) -> None:
        self.tare_kg = Decimal(0)
        self.power_cycles += 1


@pytest.fixture
def pan() -> Pan:
    return Pan()

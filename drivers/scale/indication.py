"""What an instrument says at one instant, whichever protocol it says it in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

_NUMBER = re.compile(r"([+-]?) *(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


class Status(StrEnum):
    """The words of the point `status`."""

    OK = "ok"
    ZERO = "zero"
    """Settled, and within a quarter of a division of zero. Only SMA tells."""
    MOTION = "motion"
    HOLD = "hold"
    """The display is frozen: the weight is one from before."""
    OVERLOAD = "overload"
    UNDERLOAD = "underload"
    BUSY = "busy"
    """No weight right now: it tares, calibrates, or waits for the load to settle."""
    POWER_UP = "power-up"
    """Switched on, and not yet zeroed."""
    EXPANDED = "expanded"
    """It displays a tenth of a division, which is not for use as a weight."""
    ERROR = "error"
    GARBLED = "garbled"
    """What came could not be understood. Not a status of the instrument: a reading of it is bad in all its points."""


WITH_WEIGHT = frozenset({Status.OK, Status.ZERO, Status.MOTION, Status.HOLD})
"""Under every other status there is no number."""


@dataclass(frozen=True, slots=True)
class Indication:
    """What was said; what was not is None, and is never computed from the rest.

    Numbers have the digits of the display. `weight` is the displayed one, and also `gross` or `net` where the
    instrument says which of the two it is.
    """

    status: Status
    weight: Decimal | None = None
    gross: Decimal | None = None
    net: Decimal | None = None
    tare: Decimal | None = None
    unit: str = ""
    stable: bool | None = None


GARBLED = Indication(Status.GARBLED)


@dataclass(frozen=True, slots=True)
class Tare:
    """What the tare memory holds."""

    weight: Decimal
    unit: str


def number(text: str) -> Decimal | None:
    """`text` as a number with all its digits; None when it is none.

    Takes a comma for the point, spaces around and after the sign, and the brackets around a digit that legal metrology
    does not allow to be used as verified (`123.5[6]`).
    """
    found = _NUMBER.fullmatch(text.replace("[", "", 1).replace("]", "", 1).replace(",", ".", 1).strip())
    return None if found is None else Decimal(found[1] + found[2].rstrip("."))

"""One reading for each load. Pure."""

from __future__ import annotations

from decimal import Decimal

from drivers.scale.indication import WITH_WEIGHT, Indication, Status

_FLICKER_DIGITS = 10
"""A display that alternates between three steps of at most 5 moves its last digit by no more than this."""


class Loads:
    """Tells which indications are the first settled one of a new load.

    A load is new when the scale has shown something else since the last one: nothing, or a weight that is off by more
    than a display flickers, settled or not. So two parcels of the same weight are two loads, and one that lies there
    while its display alternates is one. An empty scale is no load. A state without a weight counts once, when it
    begins, so that an overload is told too.
    """

    def __init__(self) -> None:
        self._last: Decimal | None = None
        """The load that lies there; None when the next settled weight is a new one."""
        self._status = Status.OK

    def is_new(self, indication: Indication) -> bool:
        """Whether this one is to be reported."""
        status, self._status = self._status, indication.status
        weight = indication.weight
        if indication.status not in WITH_WEIGHT or weight is None:
            if indication.status is not Status.GARBLED:  # which says nothing about the load
                self._last = None
            return indication.status is not status
        if self._last is not None and (not weight or abs(weight - self._last) > _flicker(weight)):
            self._last = None
        if not indication.stable or abs(weight) <= _flicker(weight) or self._last is not None:
            return False
        self._last = weight
        return True


def _flicker(weight: Decimal) -> Decimal:
    """How far a display may be off that shows so many decimals, while the same load lies there."""
    exponent = weight.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(_FLICKER_DIGITS).scaleb(exponent)

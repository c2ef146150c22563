"""One reading for each load. Pure."""

from __future__ import annotations

from decimal import Decimal

from drivers.scale.indication import WITH_WEIGHT, Indication, Status


class Loads:
    """Tells which indications are the first settled one of a new load.

    A load is new when the scale has moved, was empty or has shown another settled weight since the last one: two
    parcels of the same weight are two loads. An empty scale is no load. A state without a weight counts once, when it
    begins, so that an overload is told too.
    """

    def __init__(self) -> None:
        self._waits = True
        self._last: Decimal | None = None
        self._status = Status.OK

    def is_new(self, indication: Indication) -> bool:
        """Whether this one is to be reported."""
        status, self._status = self._status, indication.status
        if indication.status not in WITH_WEIGHT:
            if indication.status is not Status.GARBLED:  # which says nothing about the load
                self._waits = True
            return indication.status is not status
        if not indication.stable or not indication.weight:
            self._waits = True
            return False
        is_new = self._waits or indication.weight != self._last
        self._waits = False
        self._last = indication.weight
        return is_new

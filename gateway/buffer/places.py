"""A destination's place in the buffer: a row of `destination`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.buffer.encoding import checksum_of, decode_ranges, encode_ranges
from gateway.buffer.ranges import Ranges

PlaceRow = tuple[str, int, str, int, int]
"""name, through, pending, waiting, checksum."""


@dataclass(frozen=True, slots=True)
class Place:
    """It waits for everything above `through` and, up to there, for `pending`, of which `waiting` readings exist."""

    through: int
    pending: Ranges
    waiting: int


def encode_place(name: str, through: int, pending: Ranges, waiting: int) -> PlaceRow:
    columns = name, through, encode_ranges(pending), waiting
    return *columns, checksum_of(*columns)


def decode_place(name: str, through: int, pending: str, waiting: int, checksum: int | None) -> Place:
    """The inverse; earlier versions wrote no checksum. Raises ValueError or TypeError for what was never written like
    this."""
    if checksum not in (None, checksum_of(name, through, pending, waiting)):
        raise ValueError(f"the place of {name!r} is not what was written")
    if not (isinstance(through, int) and isinstance(waiting, int)):
        raise TypeError(f"{through!r} and {waiting!r} are no numbers")
    place = Place(through, decode_ranges(pending), waiting)
    if not 0 <= waiting <= place.pending.count:
        raise ValueError(f"{waiting} readings among {pending}")
    if any(last > through for _, last in place.pending):
        raise ValueError(f"{pending} goes beyond {through}")
    return place

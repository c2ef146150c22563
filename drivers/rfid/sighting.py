"""A tag, seen: what every kind of reader tells, once its own format is taken off."""

from __future__ import annotations

from typing import NamedTuple


class Sighting(NamedTuple):
    """One tag at one antenna, once or several times in a row. Times are nanoseconds since 1970-01-01 UTC."""

    epc: str
    """Upper-case hexadecimal; its last digits are zero beyond `size_bits`."""
    size_bits: int
    afi: int | None
    """The application family identifier of a tag that is no GS1 one."""
    antenna: int | None
    rssi: float | None
    """Of the strongest signal, in dBm."""
    seen_count: int
    first_seen_ns: int
    last_seen_ns: int

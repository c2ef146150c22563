"""How readings, groups and ranges look inside the database: all of it JSON that SQLite itself can open.

body      array `[1.42,true,null]` aligned with the group's points, or, when more than half of the points have no value
          (report by exception), an object `{"3":1.42}` keyed by the index of the point. `null` and a missing key both
          mean "no value here". `json_each(body)` therefore yields (index, value) for both. A body that begins with a
          space, which JSON allows, has numbers whose digits count: those with a point or an exponent, or of more than
          64 bits, are decimals (`Decimal`), so that 12.340 comes back as 12.340. Only readings that hold a decimal are
          written so.
quality   NULL when everything is good, else an object `{"3":"bad:timeout"}` of what is not good, or a bare string
          `"bad:timeout"` when every point of the group has this one quality.
checksum  CRC-32 of the other columns, less 2³¹ so that it takes 4 bytes. A bit that changes inside a number leaves
          valid JSON, and SQLite has no checksums for what has left the write-ahead log.
points    array of `{"name":"speed","unit":"m/s"}`.
ranges    array of `[first, last]`.
held      `THROUGH HELD`: of the readings up to the position THROUGH so many are held.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from drivers.model import ALL_GOOD, Point, PointGroup, Quality, Reading, Value
from gateway.buffer.ranges import Ranges
from gateway.decimals import number

Row = tuple[int, int, int, str, str | None, int | None]
"""Of the table `reading`: position, group_id, observed_at_ns, body, quality, checksum."""

STORABLE = range(-(2**63), 2**63)
"""The integers of SQLite."""

_DECIMALS = b" "


def encode_reading(reading: Reading) -> tuple[str, str | None]:
    """`(body, quality)` of a row. Raises `orjson.JSONEncodeError` for a value that JSON cannot hold, `OverflowError`
    for a time that 64 bits cannot."""
    if reading.observed_at_ns not in STORABLE:
        raise OverflowError(f"{reading.group} was read at {reading.observed_at_ns} ns since 1970")
    try:
        body = orjson.dumps(reading.values)
    except orjson.JSONEncodeError:
        if not any(isinstance(value, Decimal) for value in reading.values):
            raise
        body = _DECIMALS + orjson.dumps(reading.values, default=number)
    if b"null" in body:  # cheaper than comparing every value with None; a string that says "null" only costs the count
        values = reading.values
        if values.count(None) * 2 > len(values):
            mark = _DECIMALS if body.startswith(_DECIMALS) else b""
            present = {str(index): value for index, value in enumerate(values) if value is not None}
            body = mark + orjson.dumps(present, default=number)
    return body.decode(), _encode_quality(reading.quality, len(reading.values)) if reading.quality else None


def decode_reading(group: PointGroup, observed_at_ns: int, *, body: str, quality: str | None) -> Reading:
    """The inverse of `encode_reading`. Raises ValueError or TypeError when the row does not fit the group."""
    size = len(group.points)
    decoded = _loads_decimals(body) if body.startswith(_DECIMALS.decode()) else orjson.loads(body)
    if isinstance(decoded, dict):
        sparse: list[Value] = [None] * size
        for index, value in decoded.items():
            sparse[_index(index, size)] = value
        values = tuple(sparse)
    else:
        values = tuple(decoded)
        if len(values) != size:
            raise ValueError(f"{len(values)} values for the {size} points of {group}")
    return Reading(group, observed_at_ns, values, ALL_GOOD if quality is None else _decode_quality(quality, size))


def checksum(position: int, group_id: int, observed_at_ns: int, body: str, quality: str | None) -> int:
    """That of a reading, by its columns."""
    return zlib.crc32(f"{position} {group_id} {observed_at_ns} {quality} {body}".encode()) - 2**31


def checksum_of(*columns: object) -> int:
    """That of another row."""
    return zlib.crc32(" ".join(map(str, columns)).encode()) - 2**31


def verify(row: Row) -> None:
    """Raises ValueError when the row has not the checksum that was written with it; earlier versions wrote none."""
    position, group_id, observed_at_ns, body, quality, written = row
    if written is not None and written != checksum(position, group_id, observed_at_ns, body, quality):
        raise ValueError(f"reading {position} is not what was written")


def encode_points(group: PointGroup) -> str:
    return orjson.dumps([{"name": point.name, "unit": point.unit} for point in group.points]).decode()


def decode_group(device: str, period_s: float, *, points: str) -> PointGroup:
    """A group as far as a consumer needs it: names and units. Raises ValueError or KeyError on anything else."""
    return PointGroup(device, period_s, tuple(Point(entry["name"], entry["unit"]) for entry in orjson.loads(points)))


def encode_ranges(ranges: Ranges) -> str:
    return orjson.dumps(list(ranges)).decode()


def decode_ranges(text: str) -> Ranges:
    """Raises ValueError or TypeError when it is not an array of pairs of integers."""
    pairs: list[tuple[int, int]] = [(first, last) for first, last in orjson.loads(text)]
    if not all(isinstance(position, int) for pair in pairs for position in pair):
        raise TypeError(f"{text} names positions that are none")
    return Ranges(pairs)


def encode_held(through: int, held: int) -> str:
    return f"{through} {held}"


def decode_held(text: str) -> tuple[int, int]:
    """Raises ValueError when it is not two numbers."""
    through, held = text.split()
    return int(through), int(held)


def _loads_decimals(body: str) -> Any:
    return json.loads(body, parse_float=Decimal, parse_int=_whole)


def _whole(digits: str) -> int | Decimal:
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else Decimal(digits)


def _encode_quality(quality: Mapping[int, Quality], size: int) -> str:
    first = next(iter(quality.values()))
    if len(quality) == size and all(one is first or one == first for one in quality.values()):
        return orjson.dumps(str(first)).decode()
    return orjson.dumps({str(index): str(one) for index, one in quality.items()}).decode()


def _decode_quality(text: str, size: int) -> Mapping[int, Quality]:
    decoded = orjson.loads(text)
    if isinstance(decoded, str):
        return dict.fromkeys(range(size), Quality.parse(decoded))
    if not isinstance(decoded, dict):
        raise TypeError(f"{text} is no quality")
    return {_index(index, size): Quality.parse(one) for index, one in decoded.items()}


def _index(text: str, size: int) -> int:
    index = int(text)
    if not 0 <= index < size:
        raise ValueError(f"there is no point {index} among {size}")
    return index

"""Readings on their way to the disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from drivers.model import Reading
from gateway.buffer.bounds import Budget
from gateway.buffer.encoding import checksum, encode_reading
from gateway.buffer.eras import Era
from gateway.buffer.groups import Groups
from gateway.buffer.intake import Intake
from gateway.buffer.store import MOST_ROWS

_MOST_VALUES = 200_000
_ROW_BYTES = 29  # of a row besides its body: header, group, time, checksum


@dataclass(slots=True)
class Batch:
    """What one commit takes: encoded once, however often the commit is tried."""

    era: Era | None = None
    """Of all its readings; None without any."""
    columns: list[Any] = field(default_factory=list)
    """Rows for `Store.insert`, flat."""
    readings: list[Reading] = field(default_factory=list)
    """The same readings, in order of their positions."""
    unencodable: list[Reading] = field(default_factory=list)
    too_large: list[Reading] = field(default_factory=list)
    """Larger than the buffer can take whatever it drops."""
    size_bytes: int = 0


def gather(intake: Intake, groups: Groups, *, after: int, budget: Budget) -> Batch:
    """Take what has gathered in one era, as far as it fits into one transaction, and give it the positions that follow
    `after`."""
    batch = Batch()
    position, values = after, 0
    while intake and len(batch.readings) < MOST_ROWS and values < _MOST_VALUES:
        reading, priority, era, _ = intake.first
        if batch.era is not None and era is not batch.era:
            break
        try:
            body, quality = encode_reading(reading)
        except (orjson.JSONEncodeError, OverflowError):
            batch.unencodable.append(reading)
            intake.pop()
            continue
        size_bytes = _row_bytes(body, quality)
        if size_bytes > budget.largest_reading:
            batch.too_large.append(reading)
            intake.pop()
            continue
        if batch.readings and batch.size_bytes + size_bytes > budget.transaction:
            break
        intake.pop()
        batch.era = era
        position += 1
        values += len(reading.values)
        row = (position, groups.id(reading.group, priority), reading.observed_at_ns, body, quality)
        batch.columns += (*row, checksum(*row))
        batch.readings.append(reading)
        batch.size_bytes += size_bytes
    return batch


def _row_bytes(body: str, quality: str | None) -> int:
    text = body + quality if quality else body
    return _ROW_BYTES + (len(text) if text.isascii() else len(text.encode()))

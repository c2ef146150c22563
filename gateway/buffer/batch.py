"""Readings on their way to the disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from drivers.model import Reading
from gateway.buffer.encoding import encode_reading
from gateway.buffer.eras import Era
from gateway.buffer.groups import Groups
from gateway.buffer.intake import Intake
from gateway.buffer.store import MOST_ROWS

_MOST_VALUES = 200_000
_ROW_BYTES = 24  # of a row besides its body: header, group, time


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
    size_bytes: int = 0


def gather(intake: Intake, groups: Groups, *, after: int) -> Batch:
    """Take what has gathered in one era and give it the positions that follow `after`."""
    batch = Batch()
    position = after
    for reading, priority, era in intake.take(most_readings=MOST_ROWS, most_values=_MOST_VALUES):
        try:
            body, quality = encode_reading(reading)
        except orjson.JSONEncodeError:
            batch.unencodable.append(reading)
            continue
        batch.era = era
        position += 1
        batch.columns += (position, groups.id(reading.group, priority), reading.observed_at_ns, body, quality)
        batch.readings.append(reading)
        batch.size_bytes += len(body) + _ROW_BYTES
    return batch

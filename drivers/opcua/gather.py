"""From the changes in a notification to readings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asyncua import ua

from drivers.model import PointGroup, Quality, Reading, Value
from drivers.opcua.items import Item
from drivers.opcua.settings import Timestamp
from drivers.opcua.value import has_lost_some, judge, observed_at_ns


@dataclass(slots=True)
class _Row:
    """A reading that is being filled."""

    group: PointGroup
    observed_at_ns: int
    values: list[Value]
    quality: dict[int, Quality]


def readings(
    items: Sequence[Item],
    changes: Iterable[ua.MonitoredItemNotification],
    whose: Timestamp,
    *,
    now_ns: int,
    lost_some: Callable[[PointGroup, int], None],
) -> list[Reading]:
    """One reading for all that changed at one instant in one group, in the order of time.

    A point that changed twice at the same instant needs a second reading. `lost_some` is told of points whose queue
    on the server was too short. Changes of items that nobody knows are left out.
    """
    rows: list[_Row] = []
    open_rows: dict[tuple[PointGroup, int], _Row] = {}
    for change in changes:
        if change.ClientHandle >= len(items):
            continue
        data = change.Value
        at_ns = observed_at_ns(data, whose, now_ns=now_ns)
        for sink in items[change.ClientHandle].sinks:
            group, index = sink.group, sink.index
            value, quality = judge(data, sink.part)
            row = open_rows.get((group, at_ns))
            if row is None or row.values[index] is not None or index in row.quality:
                row = open_rows[group, at_ns] = _Row(group, at_ns, [None] * len(group.points), {})
                rows.append(row)
            row.values[index] = value
            if quality is not None:
                row.quality[index] = quality
            if has_lost_some(data):
                lost_some(group, index)
    rows.sort(key=lambda row: row.observed_at_ns)
    return [Reading(row.group, row.observed_at_ns, tuple(row.values), row.quality) for row in rows]

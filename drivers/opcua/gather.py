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
    """One reading for all that changed at one instant in one group, in the order in which the server says it.

    That is the order of what happened to a point, whatever its clock says: it may have been set back, and a bad status
    is often told by another clock than the value after it. So a change never joins a reading that comes before another
    one of its point. `lost_some` is told of points whose queue on the server was too short. Changes of items that
    nobody knows are left out.
    """
    rows: list[_Row] = []
    row_at: dict[tuple[PointGroup, int], int] = {}
    last_row_of: dict[tuple[PointGroup, int], int] = {}
    for change in changes:
        if change.ClientHandle >= len(items):
            continue
        data = change.Value
        at_ns = observed_at_ns(data, whose, now_ns=now_ns)
        for sink in items[change.ClientHandle].sinks:
            group, index = sink.group, sink.index
            value, quality = judge(data, sink.part)
            at = row_at.get((group, at_ns), -1)
            if at <= last_row_of.get((group, index), -1):
                at = row_at[group, at_ns] = len(rows)
                rows.append(_Row(group, at_ns, [None] * len(group.points), {}))
            last_row_of[group, index] = at
            rows[at].values[index] = value
            if quality is not None:
                rows[at].quality[index] = quality
            if has_lost_some(data):
                lost_some(group, index)
    return [Reading(row.group, row.observed_at_ns, tuple(row.values), row.quality) for row in rows]

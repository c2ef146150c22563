"""Which row of `point_group` stands for which group of points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from drivers.model import PointGroup
from drivers.settings import Priority
from gateway.buffer.encoding import checksum_of, decode_group, encode_points


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One row of `point_group`."""

    id: int
    device: str
    period_s: float
    priority: str
    points: str

    @staticmethod
    def read(columns: tuple[int, str, float, str, str, int | None]) -> GroupRow:
        """As it stands in the database; earlier versions wrote no checksum. Raises TypeError or ValueError for what was
        never written like this."""
        row_id, device, period_s, priority, points, checksum = columns
        row = GroupRow(row_id, device, float(period_s), priority, points)
        if checksum not in (None, row.checksum):
            raise ValueError(f"point group {row_id} is not what was written")
        return row

    @property
    def checksum(self) -> int:
        return checksum_of(self.id, self.device, float(self.period_s), self.priority, self.points)

    @property
    def columns(self) -> tuple[object, ...]:
        """As it is written."""
        return *astuple(self), self.checksum


class Groups:
    """The rows of `point_group`, in memory. Two groups with the same content and priority share a row, over restarts
    too.

    Groups of this process keep their identity: what was appended with a group is peeked with the same object. Groups
    that only the database knows are rebuilt with names and units.
    """

    def __init__(self, rows: Iterable[GroupRow]) -> None:
        self._ids: dict[tuple[PointGroup, Priority], int] = {}
        self._groups: dict[int, PointGroup] = {}
        self._rows: dict[tuple[str, float, str, str], int] = {}
        self._priorities: dict[int, str] = {}
        self._unsaved: list[GroupRow] = []
        for row in rows:
            self._remember(row, decode_group(row.device, row.period_s, points=row.points))

    def id(self, group: PointGroup, priority: Priority) -> int:
        """The row of this group; a new one joins `unsaved` and must be written before a reading refers to it."""
        found = self._ids.get((group, priority))
        return found if found is not None else self._add(group, priority)

    def group(self, row_id: int) -> PointGroup:
        """Raises KeyError for a row that does not exist."""
        return self._groups[row_id]

    @property
    def unsaved(self) -> list[GroupRow]:
        """Rows that are not in the database yet. The writer clears it after the commit."""
        return self._unsaved

    @property
    def rows(self) -> list[GroupRow]:
        """All of them, whether they are in the database or not."""
        return [GroupRow(row_id, *content) for content, row_id in self._rows.items()]

    def ids(self) -> dict[PointGroup, int]:
        """A row for each group that readings of this process had."""
        return {group: row_id for (group, _), row_id in self._ids.items()}

    def with_priority(self, priority: Priority) -> list[int]:
        """The rows whose readings have this priority."""
        return [row_id for row_id, theirs in self._priorities.items() if theirs == priority]

    def polled(self, priority: Priority) -> set[int]:
        """Those among them whose devices are asked. What the others send comes when something happens."""
        return {row_id for row_id in self.with_priority(priority) if self._groups[row_id].period_s > 0}

    def _add(self, group: PointGroup, priority: Priority) -> int:
        points = encode_points(group)
        row_id = self._rows.get((group.device, group.period_s, priority.value, points))
        if row_id is None:
            row_id = max(self._groups, default=0) + 1
            row = GroupRow(row_id, group.device, group.period_s, priority.value, points)
            self._unsaved.append(row)
            self._remember(row, group)
        self._groups[row_id] = group
        self._ids[group, priority] = row_id
        return row_id

    def _remember(self, row: GroupRow, group: PointGroup) -> None:
        self._groups[row.id] = group
        self._rows[row.device, row.period_s, row.priority, row.points] = row.id
        self._priorities[row.id] = row.priority

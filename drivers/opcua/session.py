"""Reads poll groups over an open link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asyncua import ua

from drivers.model import Point, PointGroup, Quality, Reading, Value
from drivers.opcua.address import PathAddress
from drivers.opcua.complaints import Complaints
from drivers.opcua.link import Link
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.resolve import UNKNOWN, Nodes, resolve
from drivers.opcua.settings import Timestamp
from drivers.opcua.value import judge, observed_at_ns
from drivers.opcua.writing import write


class PolledSession:
    """`drivers.contract.Session` and `WritableSession`."""

    def __init__(
        self,
        link: Link,
        nodes: Nodes,
        timestamps: Mapping[PointGroup, Timestamp],
        *,
        complaints: Complaints,
        clock: Callable[[], int],
    ) -> None:
        """`clock` is wall-clock time in nanoseconds."""
        self._link = link
        self._nodes = nodes
        self._timestamps = timestamps
        self._complaints = complaints
        self._clock = clock
        self._plans: dict[PointGroup, _Plan] = {}

    async def read(self, group: PointGroup) -> Reading:
        """As `drivers.contract.Session.read`. A time of the server's is the latest among the values."""
        plan = self._plans.get(group)
        if plan is None:
            plan = self._plans[group] = await self._plan(group)
        answers = await self._link.read(f"reading {group}", plan.nodes) if plan.nodes else []
        now_ns, whose = self._clock(), self._timestamps[group]
        values: list[Value] = []
        quality: dict[int, Quality] = {}
        for index, (where, point) in enumerate(zip(plan.places, group.points, strict=True)):
            assert isinstance(point, OpcuaPoint)
            value, judged = (None, where) if isinstance(where, Quality) else judge(answers[where], point.part)
            values.append(value)
            if judged is not None:
                quality[index] = judged
                if judged == UNKNOWN and isinstance(point.address, PathAddress):
                    self._nodes[point.address] = judged  # its node may have been made anew: the path is to be followed
                    self._plans.pop(group, None)
        times = [observed_at_ns(answer, whose, now_ns=now_ns) for answer in answers] if whose != "gateway" else []
        reading = Reading(group, max(times, default=now_ns), tuple(values), quality)
        if quality:
            self._complaints.look_at(reading)
            if plan.is_incomplete:  # what was not there when we connected may come with the server's program
                self._plans.pop(group, None)
        return reading

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:  # noqa: ARG002  the contract's
        """As `drivers.contract.WritableSession.write`. Returns what was read back."""
        assert isinstance(point, OpcuaPoint)
        return await write(self._link, self._nodes[point.address], point, value)

    async def _plan(self, group: PointGroup) -> _Plan:
        points = [point for point in group.points if isinstance(point, OpcuaPoint)]
        missing = [point.address for point in points if isinstance(self._nodes[point.address], Quality)]
        if missing:
            self._nodes.update(await resolve(self._link, missing))
        nodes: dict[ua.NodeId, int] = {}
        places: list[int | Quality] = []
        for point in points:
            node = self._nodes[point.address]
            places.append(node if isinstance(node, Quality) else nodes.setdefault(node, len(nodes)))
        return _Plan(tuple(nodes), tuple(places))


@dataclass(frozen=True, slots=True)
class _Plan:
    """A group, compiled: each node once, however many points are parts of it."""

    nodes: tuple[ua.NodeId, ...]
    places: tuple[int | Quality, ...]
    """For each point: where its node is among `nodes`, or why there is none."""

    @property
    def is_incomplete(self) -> bool:
        return any(isinstance(place, Quality) for place in self.places)

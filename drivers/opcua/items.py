"""What is subscribed to: monitored items, and the points that each of them feeds. Does no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from drivers.model import PointGroup, Quality
from drivers.opcua.address import Address, Part
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.resolve import Nodes
from drivers.opcua.settings import OpcuaDeviceSettings

CLOCK = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_CurrentTime))
"""Moves in every server that lives: where it stands still in a subscription, the subscription is dead."""
BEATS_PER_SILENCE = 4


@dataclass(frozen=True, slots=True)
class Sink:
    """A point that an item feeds."""

    group: PointGroup
    index: int
    part: Part


@dataclass(frozen=True, slots=True)
class Item:
    """A node with the way in which it is watched."""

    address: Address
    sampling_s: float
    queue_size: int
    deadband: float
    sinks: tuple[Sink, ...]

    def request(self, node: ua.NodeId, handle: int, *, filtered: bool) -> ua.MonitoredItemCreateRequest:
        """What creates it. `filtered`: with its deadband, where it has one."""
        parameters = ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(handle),
            SamplingInterval=ua.Duration(self.sampling_s * 1000),
            QueueSize=ua.Counter(self.queue_size),
            DiscardOldest=True,
        )
        if filtered and self.deadband:
            parameters.Filter = ua.DataChangeFilter(
                ua.DataChangeTrigger.StatusValue, ua.UInt32(ua.DeadbandType.Absolute), ua.Double(self.deadband)
            )
        return _create(node, parameters)


def items_of(device: OpcuaDeviceSettings, groups: Sequence[PointGroup]) -> list[Item]:
    """One item for all points that are parts of one node and are watched alike."""
    sinks: dict[tuple[Address, float, float], list[Sink]] = {}
    for group in groups:
        for index, point in enumerate(group.points):
            assert isinstance(point, OpcuaPoint)
            deadband = point.deadband if device.uses_server_deadband and not point.part else 0.0
            key = point.address, point.sampling_s, deadband
            sinks.setdefault(key, []).append(Sink(group, index, point.part))
    return [
        Item(address, sampling_s, device.queue_for(sampling_s), deadband, tuple(fed))
        for (address, sampling_s, deadband), fed in sinks.items()
    ]


def clock_request(handle: int, silence_s: float) -> ua.MonitoredItemCreateRequest:
    """What has the server tell the time, often enough to miss it within `silence_s`."""
    parameters = ua.MonitoringParameters(
        ClientHandle=ua.IntegerId(handle),
        SamplingInterval=ua.Duration(silence_s * 1000 / BEATS_PER_SILENCE),
        QueueSize=ua.Counter(1),
        DiscardOldest=True,
    )
    return _create(CLOCK, parameters)


def located(items: Sequence[Item], nodes: Nodes) -> tuple[list[tuple[int, ua.NodeId]], dict[int, Quality]]:
    """Which items have a node, by their index, and why the others have none."""
    found: list[tuple[int, ua.NodeId]] = []
    lost: dict[int, Quality] = {}
    for index, item in enumerate(items):
        node = nodes[item.address]
        if isinstance(node, Quality):
            lost[index] = node
        else:
            found.append((index, node))
    return found, lost


def _create(node: ua.NodeId, parameters: ua.MonitoringParameters) -> ua.MonitoredItemCreateRequest:
    return ua.MonitoredItemCreateRequest(
        ua.ReadValueId(node, ua.IntegerId(AttributeIds.Value)), ua.MonitoringMode.Reporting, parameters
    )

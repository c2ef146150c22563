"""A server's address space. The nodes of the standard are made once in a process and shared by all its servers.

asyncua makes them anew for each server, which takes about a second and 50 MB of memory. Only what a server writes to is
its own: the variables below the Server object, and the Objects folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy, deepcopy
from datetime import datetime
from functools import cache
from pathlib import Path

from asyncua import ua
from asyncua.common.node import Node
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import (
    AddressSpace,
    AttributeService,
    AttributeValue,
    NodeData,
    NodeManagementService,
)
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.server import Server
from asyncua.server.standard_address_space import standard_address_space
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from simulators.opcua.tags import CONVEYOR_URI, PACKML_URI, Panel, Tag

Write = Callable[[ua.DataValue], Awaitable[int]]
"""Takes what a client writes; returns the status code."""

_OBJECTS = ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))
_SERVER = ua.NodeId(ua.Int32(ObjectIds.Server))
_START_TIME = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_StartTime))
_DOWNWARD = frozenset({ObjectIds.HasComponent, ObjectIds.HasProperty, ObjectIds.Organizes})
_NAMES = {
    "Sorter": (CONVEYOR_URI, "Sorter"),
    "PackML": (PACKML_URI, "PackML"),
    "Status": (PACKML_URI, "Status"),
    "Admin": (PACKML_URI, "Admin"),
    "Command": (PACKML_URI, "Command"),
}
"""Object → namespace and browse name. `Sorter` is in the Objects folder, `PackML` in `Sorter`, the others in that."""

Standard = tuple[Mapping[ua.NodeId, NodeData], frozenset[ua.NodeId]]


@cache
def standard_nodes() -> Standard:
    """The nodes of the standard, which nobody may change, and which of them each server has of its own."""
    space = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(space))  # type: ignore[no-untyped-call]
    nodes = {node_id: space[node_id] for node_id in space.keys()}  # noqa: SIM118 - an AddressSpace does not iterate
    below: set[ua.NodeId] = set()
    rest = [_SERVER]
    while rest:
        node_id = rest.pop()
        if node_id in below or node_id not in nodes:
            continue
        below.add(node_id)
        rest += [
            reference.NodeId
            for reference in nodes[node_id].references
            if reference.IsForward and reference.ReferenceTypeId.Identifier in _DOWNWARD
        ]
    variables = (node_id for node_id in below if AttributeIds.Value in nodes[node_id].attributes)
    return nodes, frozenset({_OBJECTS, *variables})


class Core(InternalServer):
    """asyncua's server without a socket: shared standard nodes, no clock task, values that are commands."""

    def __init__(self) -> None:
        super().__init__()
        self.allow_remote_admin = False
        self.supported_tokens = (ua.AnonymousIdentityToken,)  # type: ignore[assignment]
        self.disabled_clock = True
        self.attribute_service = self.commands = Commands(self.aspace)

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:  # noqa: ARG002
        nodes, own = await asyncio.to_thread(standard_nodes)
        for node_id, node in nodes.items():
            self.aspace[node_id] = _copy(node) if node_id in own else node

    async def tell_start(self, now: datetime) -> None:
        """The server has been switched on `now`."""
        status = copy(await self.server_status_node.read_value())
        status.StartTime = now
        await self.server_status_node.write_value(status)
        await Node(self.isession, _START_TIME).write_value(now)

    async def tell_time(self, now: datetime) -> None:
        """What the server's clock shows."""
        status = copy(await self.server_status_node.read_value())
        status.CurrentTime = now
        await self.server_status_node.write_value(status)
        await self.current_time_node.write_value(now)

    async def forget_sessions(self) -> None:
        """End all sessions and their subscriptions, whether their clients are still there or not."""
        sessions: Iterable[InternalSession] = list(self._external_sessions.values())
        for session in sessions:
            await session.close_session(delete_subs=True)


class Commands(AttributeService):
    """Writes of clients, of which some are commands to the machine."""

    def __init__(self, space: AddressSpace) -> None:
        super().__init__(space)
        self._commands: dict[ua.NodeId, tuple[ua.VariantType, Write]] = {}

    def add(self, node_id: ua.NodeId, kind: ua.VariantType, write: Write) -> None:
        """Hand what is written to `node_id` to `write`, which cares for the value that the node has then."""
        self._commands[node_id] = (kind, write)

    async def write(self, params: ua.WriteParameters, user: User | None = None) -> list[ua.StatusCode]:
        if user is None:
            user = User(role=UserRole.Admin)
        results: list[ua.StatusCode] = []
        for item in params.NodesToWrite:
            if item.AttributeId == AttributeIds.Value and item.NodeId in self._commands:
                results.append(ua.StatusCode(ua.UInt32(await self._take(item))))
            else:
                results += await super().write(ua.WriteParameters([item]), user)
        return results

    async def _take(self, item: ua.WriteValue) -> int:
        kind, write = self._commands[item.NodeId]
        variant = item.Value.Value
        if item.IndexRange:
            return int(StatusCodes.BadWriteNotSupported)
        if variant is None or variant.VariantType is not kind or variant.is_array:
            return int(StatusCodes.BadTypeMismatch)
        return await write(item.Value)


class SorterServer(Server):
    """A server that somebody else gives connections to."""

    def __init__(self, core: Core, *, name: str, url: str) -> None:
        super().__init__(iserver=core)
        self.core = core
        self.name = name
        self.set_endpoint(url)
        self.set_security_policy([ua.SecurityPolicyType.NoSecurity])

    async def prepare(self, panel: Panel, tags: Iterable[Tag]) -> dict[Tag, ua.NodeId]:
        """Make the address space, and be ready for connections. The values have no times yet."""
        await self.init()
        await self.set_application_uri(f"urn:hub:twin:{panel.face.name}")
        indexes = {uri: await self.register_namespace(uri) for uri in (CONVEYOR_URI, PACKML_URI)}
        parent = self.nodes.objects
        objects = {}
        for key, (uri, name) in _NAMES.items():
            index = indexes[uri]
            node = await parent.add_object(_node_id(key, index), ua.QualifiedName(name, index))
            objects[key] = node
            parent = objects.get("PackML", node)
        nodes = {}
        for tag in tags:
            index = indexes[tag.uri]
            value = ua.Variant(tag.value(panel), tag.kind, is_array=tag.is_array)
            variable = await objects[tag.folder].add_variable(
                _node_id(tag.id, index),
                ua.QualifiedName(tag.name, index),
                value,
                datatype=ua.NodeId(ua.Int32(tag.kind.value)),
            )
            if tag.is_array:
                await variable.write_value_rank(ua.ValueRank.OneDimension)
            if tag.write is not None:
                await variable.set_writable()
            nodes[tag] = variable.nodeid
        await self._setup_server_nodes()
        await self.core.start()
        return nodes

    @property
    def policies(self) -> list[object]:
        """What connections need to know of security."""
        return list(self._policies)


def _node_id(name: str, index: int) -> ua.NodeId:
    return ua.NodeId(name, ua.Int16(index))  # type: ignore[arg-type]


def _copy(node: NodeData) -> NodeData:
    """A node with a value and references of its own."""
    copied = NodeData(node.nodeid)
    copied.attributes = dict(node.attributes)
    value = node.attributes.get(AttributeIds.Value)
    if value is not None and value.value is not None:
        copied.attributes[AttributeIds.Value] = AttributeValue(deepcopy(value.value))
    copied.references = list(node.references)
    return copied

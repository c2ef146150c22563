"""From addresses of the config to node ids of this very session: namespaces may have moved since the last one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from drivers.model import Quality
from drivers.opcua.address import Address, Namespace, NodeAddress, PathAddress
from drivers.opcua.link import Link
from drivers.opcua.value import quality

Nodes = dict[Address, ua.NodeId | Quality]
"""Where each address leads: to a node, or nowhere and why."""

UNKNOWN = quality(StatusCodes.BadNodeIdUnknown)
"""There is no such node, or no such namespace."""
_NO_MATCH = quality(StatusCodes.BadNoMatch)
_ROOT = ua.NodeId(ua.Int32(ObjectIds.RootFolder))
_HIERARCHICAL = ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences))
_WHOLE_PATH = 0xFFFFFFFF
"""Part 4, 7.6: the target is on this server, and no step of the path is left."""


async def resolve(link: Link, addresses: Iterable[Address]) -> Nodes:
    """Where they lead now. Raises as `Link` does."""
    addresses = dict.fromkeys(addresses)
    if any(_index(namespace, link.namespaces) is None for address in addresses for namespace in _namespaces(address)):
        await link.learn_namespaces()
    found: Nodes = {}
    paths: list[tuple[PathAddress, ua.BrowsePath]] = []
    for address in addresses:
        if isinstance(address, NodeAddress):
            found[address] = node_id(address, link.namespaces)
            continue
        browse_path = _browse_path(address, link.namespaces)
        if browse_path is None:
            found[address] = UNKNOWN
        else:
            paths.append((address, browse_path))
    results = await link.translate([browse_path for _, browse_path in paths])
    for (address, _), result in zip(paths, results, strict=True):
        found[address] = _target(result)
    return found


def node_id(address: NodeAddress, namespaces: Sequence[str]) -> ua.NodeId | Quality:
    """The node id on a server with these namespaces; bad where its namespace is not among them."""
    index = _index(address.namespace, namespaces)
    return UNKNOWN if index is None else ua.NodeId(address.identifier, ua.Int16(index))  # type: ignore[arg-type]


def _namespaces(address: Address) -> list[Namespace]:
    return [address.namespace] if isinstance(address, NodeAddress) else [step.namespace for step in address.steps]


def _browse_path(address: PathAddress, namespaces: Sequence[str]) -> ua.BrowsePath | None:
    elements = []
    for step in address.steps:
        index = _index(step.namespace, namespaces)
        if index is None:
            return None
        elements.append(
            ua.RelativePathElement(
                ReferenceTypeId=_HIERARCHICAL,
                IsInverse=False,  # type: ignore[arg-type]
                IncludeSubtypes=True,  # type: ignore[arg-type]
                TargetName=ua.QualifiedName(step.name, index),
            )
        )
    return ua.BrowsePath(_ROOT, ua.RelativePath(elements))


def _target(result: ua.BrowsePathResult) -> ua.NodeId | Quality:
    if not result.StatusCode.is_good():
        return quality(result.StatusCode.value)
    for target in result.Targets:
        if target.RemainingPathIndex == _WHOLE_PATH:
            return ua.NodeId(target.TargetId.Identifier, target.TargetId.NamespaceIndex, target.TargetId.NodeIdType)
    return _NO_MATCH


def _index(namespace: Namespace, namespaces: Sequence[str]) -> int | None:
    if isinstance(namespace, int):
        return namespace
    return namespaces.index(namespace) if namespace in namespaces else None

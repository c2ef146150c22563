"""The nodes below a node: browsed level by level, in as few requests as the server allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from drivers.opcua.address import NodeAddress
from drivers.opcua.link import Link

SERVER = ua.NodeId(ua.Int32(ObjectIds.Server))
"""What every server says about itself: hundreds of nodes that hardly anybody looks for."""
_HIERARCHICAL = ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences))
_HAS_PROPERTY = ua.NodeId(ua.Int32(ObjectIds.HasProperty))


@dataclass(slots=True)
class Branch:
    """A node and what is below it."""

    node: ua.NodeId
    name: str
    is_variable: bool = False
    is_property: bool = False
    data: ua.DataValue | None = None
    """The value of a variable."""
    branches: list[Branch] = field(default_factory=list)
    shown_elsewhere: bool = False
    """It was met before on another way; what is below it stands there."""

    def address(self, namespaces: Sequence[str]) -> str:
        """As a config names it, by the URI of its namespace where it has one."""
        index = self.node.NamespaceIndex
        identifier = self.node.Identifier
        namespace = namespaces[index] if 0 < index < len(namespaces) else index
        return str(NodeAddress(namespace, identifier))


async def grow(link: Link, root: Branch, *, depth: int, progress: Callable[[int], None]) -> None:
    """Fill in what is below `root`, so many levels deep, with the values of variables.

    The server's own object is not entered unless it is the root. `progress` is told how many nodes were found so far.
    Raises as `Link` does.
    """
    met = {root.node}
    level = [root]
    variables: list[Branch] = []
    for _ in range(depth):
        asked = [branch for branch in level if branch.node != SERVER or branch is root]
        results = await link.browse([_description(branch.node) for branch in asked])
        level = []
        for branch, result in zip(asked, results, strict=True):
            for reference in await _all_references(link, result):
                found = _branch(reference)
                branch.branches.append(found)
                if found.is_variable:
                    variables.append(found)
                found.shown_elsewhere = found.node in met
                if not found.shown_elsewhere:
                    met.add(found.node)
                    level.append(found)
        progress(len(met))
        if not level:
            break
    answers = await link.read("reading values", [branch.node for branch in variables], AttributeIds.Value)
    for branch, data in zip(variables, answers, strict=True):
        branch.data = data


def _description(node: ua.NodeId) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=_HIERARCHICAL,
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
        ResultMask=ua.UInt32(ua.BrowseResultMask.All),
    )


async def _all_references(link: Link, result: ua.BrowseResult) -> list[ua.ReferenceDescription]:
    """With those that the server kept back."""
    found = list(result.References or ())
    while result.ContinuationPoint:
        result = await link.browse_next(result.ContinuationPoint)
        found += result.References or ()
    return found


def _branch(reference: ua.ReferenceDescription) -> Branch:
    node = reference.NodeId
    return Branch(
        ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType),
        reference.BrowseName.Name or "",
        is_variable=reference.NodeClass is ua.NodeClass.Variable,
        is_property=reference.ReferenceTypeId == _HAS_PROPERTY,
    )

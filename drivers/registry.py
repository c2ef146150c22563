"""Driver families by name. A family is imported when a config first names it, never before.

The commands that families bring for the people who commission devices (`hub-gateway probe modbus`) are listed here for
the same reason: their modules are imported when somebody types them.

Third parties add a family with an entry point in the group `hub_gateway.drivers` whose object satisfies
`drivers.contract.Family`. A built-in name cannot be taken over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.contract import Family, ToolModule

ENTRY_POINT_GROUP = "hub_gateway.drivers"

_BUILT_IN = {"modbus": "drivers.modbus", "opcua": "drivers.opcua", "rfid": "drivers.rfid", "scale": "drivers.scale"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A command of a family: `hub-gateway <words> …`."""

    words: tuple[str, ...]
    """One or two; tools that share the first word are shown together."""
    text: str
    """What it does, for the list of commands."""
    module: str

    def load(self) -> ToolModule:
        """The module that parses its arguments and runs it."""
        found: ToolModule = import_module(self.module)
        return found


TOOLS: tuple[Tool, ...] = (
    Tool(("probe", "modbus"), "read registers in every type and order; find units that answer", "drivers.modbus.probe"),
    Tool(("browse",), "print the nodes of an OPC UA server, or points for the config", "drivers.opcua.browse"),
    Tool(("opcua", "trust"), "let the gateway trust the certificate of an OPC UA server", "drivers.opcua.trust"),
)


class UnknownDriver(LookupError):
    """No family has this name."""


def names() -> list[str]:
    """Every name that `family` accepts, sorted. Imports no driver."""
    return sorted({*_BUILT_IN, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})


@cache
def family(name: str) -> Family:
    """The family called `name`, imported on first use. Raises `UnknownDriver`."""
    if name in _BUILT_IN:
        found: Family = import_module(_BUILT_IN[name]).FAMILY
        return found
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name:
            loaded: Family = entry.load()
            return loaded
    raise UnknownDriver(f'there is no driver "{name}"; known are {", ".join(names())}')

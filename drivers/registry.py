"""Driver families by name. A family is imported when a config first names it, never before.

Third parties add a family with an entry point in the group `hub_gateway.drivers` whose object satisfies
`drivers.contract.Family`. A built-in name cannot be taken over.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.contract import Family

ENTRY_POINT_GROUP = "hub_gateway.drivers"

_BUILT_IN = {"modbus": "drivers.modbus"}


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

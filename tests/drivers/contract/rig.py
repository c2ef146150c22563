"""What the contract suite needs of a family: a device that answers, and a way to make it answer something else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from drivers.contract import Family
from drivers.model import Value


class Counterpart(Protocol):
    """A device on a TCP port of loopback that shares no code with the driver."""

    @property
    def port(self) -> int: ...

    async def show(self) -> Mapping[str, Value]:
        """Hold, or say, something new; returns what a good reading then carries, by point."""
        ...

    async def spoil(self) -> None:
        """From now on one point of it, or what it says, cannot be used; all else works on."""
        ...

    async def mend(self) -> None:
        """Undo `spoil`."""
        ...


class Rig(Protocol):
    """One family under test."""

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> Family: ...

    def serve(self) -> AbstractAsyncContextManager[Counterpart]:
        """A device, for as long as the context lasts."""
        ...

    def device(self, port: int) -> dict[str, Any]:
        """One entry of `devices:` for a device that is found on `port`. Its timeout is short."""
        ...

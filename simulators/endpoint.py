"""An address at which machines answer, and the faults that are on there now. Dialects and sockets are its subclasses.

Endpoint                          faults and their ends
  listener.ListeningEndpoint      a TCP socket with many clients
  terminal.TerminalEndpoint       a pseudo-terminal at the pace of a wire
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import ClassVar

from simulators.faults import CONNECTION_FAULTS, Fault, FaultError, FaultKind

_NO_FAULT = Fault()


class EndpointError(Exception):
    """The endpoint's socket or line cannot be had; the message says why."""


class Endpoint(ABC):
    """`open`, then any number of `impose`, then `close`. All of it on one event loop.

    A subclass whose machines have unit ids overrides `units`.
    """

    kind: ClassVar[str]
    possible_faults: frozenset[FaultKind]
    """Has `REFUSE` or `HANG`: that is what a machine does while it restarts."""

    highest_code: ClassVar[int] = 255
    """The largest `code` of an `EXCEPTION` that the dialect can carry."""

    def __init__(self, name: str, machines: Sequence[str], *, random: Random) -> None:
        """`machines` are the names of those that answer here; `random` makes what is random in faults."""
        self.name = name
        self.machines = tuple(machines)
        self._random = random
        self._faults: dict[int | None, Fault] = {}
        self._expiries: dict[int | None, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client finds it, in the form that the gateway's config takes. Only while open."""

    @property
    def units(self) -> dict[int, str]:
        """Unit id → machine, where machines have one."""
        return {}

    async def open(self, group: asyncio.TaskGroup) -> None:
        """Answer from now on. `group` runs what waits for a fault to expire. Raises `EndpointError`."""
        self._group = group
        await self._start()

    async def close(self) -> None:
        """Stop answering, drop every client and wait until they are gone."""
        for expiry in self._expiries.values():
            expiry.cancel()
        self._expiries.clear()
        await self._stop()

    def faults(self) -> dict[int | None, Fault]:
        """What is on now, by unit; None is the whole endpoint."""
        return dict(self._faults)

    def fault(self, unit: int | None = None) -> Fault:
        """What a client of `unit` (or of an endpoint without units) meets now."""
        return self._faults.get(unit) or self._faults.get(None, _NO_FAULT)

    async def impose(self, fault: Fault, *, unit: int | None = None, for_s: float | None = None) -> None:
        """Put `fault` in place of the one before it on the endpoint or on one unit, for ever or for `for_s`.

        A restart is over at once; with `for_s` the machine then stays away for so long. Raises `FaultError`.
        """
        self._check(fault, unit)
        if (expiry := self._expiries.pop(unit, None)) is not None:
            expiry.cancel()
        if fault.kind is FaultKind.RESTART:
            self.power_cycle(unit)
            if unit is None:
                self._drop_clients()
            fault = Fault(self._away(unit) if for_s is not None else FaultKind.NONE)
        await self._replace(fault, unit)
        if for_s is not None and fault.kind is not FaultKind.NONE:
            assert self._group is not None, f"{self.name} is not open"
            self._expiries[unit] = self._group.create_task(
                self._lift_after(unit, for_s), name=f"fault on {self.name} expires"
            )

    @abstractmethod
    def power_cycle(self, unit: int | None = None) -> None:
        """Make the machines here, or the one of `unit`, forget what real ones forget without power."""

    @abstractmethod
    async def _start(self) -> None:
        """Answer from now on. Raises `EndpointError`."""

    @abstractmethod
    async def _stop(self) -> None:
        """Free everything; also after a `_start` that failed. Clients are gone afterwards."""

    @abstractmethod
    def _drop_clients(self) -> None:
        """Reset every connection, as a machine does that has forgotten them."""

    @abstractmethod
    async def _changed(self, fault: Fault) -> None:
        """The whole endpoint has `fault` now, which may be `none`."""

    def _away(self, unit: int | None) -> FaultKind:
        """How a machine looks that is still booting."""
        possible = unit is None and FaultKind.REFUSE in self.possible_faults
        return FaultKind.REFUSE if possible else FaultKind.HANG

    def _check(self, fault: Fault, unit: int | None) -> None:
        if fault.kind not in self.possible_faults:
            possible = ", ".join(kind for kind in FaultKind if kind in self.possible_faults)
            raise FaultError(
                f'"{fault.kind}" is not possible on "{self.name}", which is {self.kind}; it can: {possible}'
            )
        if fault.code > self.highest_code:
            raise FaultError(f'code {fault.code} is not possible on "{self.name}": 1 to {self.highest_code}')
        if unit is None:
            return
        if not self.units:
            raise FaultError(f'"{self.name}" has no units; leave the unit out')
        if unit not in self.units:
            raise FaultError(
                f'there is no unit {unit} on "{self.name}"; it has {", ".join(map(str, sorted(self.units)))}'
            )
        if fault.kind in CONNECTION_FAULTS:
            raise FaultError(f'"{fault.kind}" concerns the connection, not a unit; leave the unit out')

    async def _replace(self, fault: Fault, unit: int | None) -> None:
        if fault.kind is FaultKind.NONE:
            self._faults.pop(unit, None)
        else:
            self._faults[unit] = fault
        if unit is None:
            await self._changed(fault)

    async def _lift_after(self, unit: int | None, for_s: float) -> None:
        await asyncio.sleep(for_s)
        del self._expiries[unit]
        await self._replace(Fault(), unit)

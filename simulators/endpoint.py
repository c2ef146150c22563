"""An address at which units answer, and the faults that are on there now. Sockets and lines are its subclasses."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from simulators.faults import CONNECTION_FAULTS, Answer, Fault, FaultError, FaultKind, spoil
from simulators.modbus import RegisterTable, respond


class EndpointError(Exception):
    """The endpoint's socket or line cannot be had; the message says why."""


def _nothing() -> None:
    """A unit that forgets nothing when it is restarted."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A device behind one unit id. `power_cycle` makes it forget what a real one forgets."""

    name: str
    table: RegisterTable
    power_cycle: Callable[[], None] = _nothing


class Endpoint(ABC):
    """`open`, then any number of `impose`, then `close`. All of it on one event loop."""

    kind: ClassVar[str]
    possible_faults: ClassVar[frozenset[FaultKind]]

    def __init__(self, name: str, units: Mapping[int, Unit], *, random: Random) -> None:
        self.name = name
        self.units = dict(units)
        self._random = random
        self._faults: dict[int | None, Fault] = {}
        self._expiries: dict[int | None, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client finds it. Only while open."""

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

    async def impose(self, fault: Fault, *, unit: int | None = None, for_s: float | None = None) -> None:
        """Put `fault` in place of the one before it on the endpoint or on one unit, for ever or for `for_s`.

        A restart is over at once; with `for_s` the device then stays away for so long. Raises `FaultError`.
        """
        self._check(fault, unit)
        if (expiry := self._expiries.pop(unit, None)) is not None:
            expiry.cancel()
        if fault.kind is FaultKind.RESTART:
            for restarted in self.units.values() if unit is None else (self.units[unit],):
                restarted.power_cycle()
            if unit is None:
                self._drop_clients()
            fault = Fault(self._away(unit) if for_s is not None else FaultKind.NONE)
        await self._replace(fault, unit)
        if for_s is not None and fault.kind is not FaultKind.NONE:
            assert self._group is not None, f"{self.name} is not open"
            self._expiries[unit] = self._group.create_task(
                self._lift_after(unit, for_s), name=f"fault on {self.name} expires"
            )

    def answer(self, unit: int, pdu: bytes, frame: Callable[[int, bytes], bytes]) -> Answer:
        """What a client gets for `pdu`, which asks a unit of this endpoint; no bytes means no answer."""
        fault = self._faults.get(unit) or self._faults.get(None)
        if fault is None:
            return Answer(frame(unit, respond(self.units[unit].table, pdu)))
        if fault.kind in {FaultKind.HANG, FaultKind.RESET, FaultKind.EXCEPTION}:
            response = bytes((pdu[0],))  # the device does not act on what it does not answer properly
        else:
            response = respond(self.units[unit].table, pdu)
        return spoil(fault, unit, response, frame=frame, random=self._random)

    @abstractmethod
    async def _start(self) -> None: ...

    @abstractmethod
    async def _stop(self) -> None: ...

    @abstractmethod
    def _drop_clients(self) -> None: ...

    @abstractmethod
    async def _changed(self, fault: Fault) -> None:
        """The whole endpoint has `fault` now."""

    def _away(self, unit: int | None) -> FaultKind:
        """How a device looks that is still booting."""
        possible = unit is None and FaultKind.REFUSE in self.possible_faults
        return FaultKind.REFUSE if possible else FaultKind.HANG

    def _check(self, fault: Fault, unit: int | None) -> None:
        if fault.kind not in self.possible_faults:
            raise FaultError(f'"{fault.kind}" is not possible on "{self.name}", which is {self.kind}')
        if unit is not None and unit not in self.units:
            known = ", ".join(map(str, sorted(self.units)))
            raise FaultError(f'there is no unit {unit} on "{self.name}"; it has {known}')
        if unit is not None and fault.kind in CONNECTION_FAULTS:
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
        await self._replace(Fault(FaultKind.NONE), unit)

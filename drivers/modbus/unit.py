"""One device on a link, with what the driver has learned about it. Lives as long as the driver."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from drivers.modbus.dialect import Dialect
from drivers.modbus.narrow import Findings
from drivers.modbus.plan import Block, Cuts, Limits, plan
from drivers.modbus.point import ModbusPoint
from drivers.modbus.request import ReadRequest
from drivers.modbus.settings import ModbusDeviceSettings
from drivers.model import PointGroup

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Unit:
    """Compared by identity: two devices may be the same unit of the same link."""

    device: str
    number: int
    timeout_s: float
    limits: Limits
    dialect: Dialect
    illegal: set[ModbusPoint] = field(default_factory=set)
    cuts: Cuts = field(default_factory=Cuts)
    lessons: int = 0
    """How often something was learned: plans made before are out of date."""
    witness: Block | None = None
    """The last block that the unit answered."""

    @staticmethod
    def of(settings: ModbusDeviceSettings) -> Unit:
        return Unit(settings.name, settings.unit, settings.timeout, settings.limits(), settings.dialect())

    def plan(self, group: PointGroup) -> tuple[Block, ...]:
        """The requests that fetch the points of `group` that exist."""
        wanted = [point for point in group.points if isinstance(point, ModbusPoint) and point not in self.illegal]
        return plan(wanted, self.limits, self.cuts)

    def block(self, point: ModbusPoint) -> Block:
        """The request that fetches one point, whether it is known to exist or not."""
        (block,) = plan([point], self.limits)
        return block

    def request(self, block: Block) -> ReadRequest:
        """The block as a request to this unit."""
        return ReadRequest(block.span, unit=self.number, dialect=self.dialect)

    def learn(self, found: Findings, *, link: str) -> None:
        """Remember what halving a refused block has shown, and say so once."""
        self.lessons += 1
        self.illegal.update(found.illegal)
        for table, address in found.cuts:
            self.cuts.add(table, address)
        if found.illegal:
            named = ", ".join(f"{point.name} ({point.span}, {point.type.name})" for point in found.illegal)
            _log.warning(
                "%s: unit %d on %s has no address for %s; bad:illegal-address from now on, and not read again until "
                "the configuration is loaded anew; compare table, address (from 0, plus address_offset) and type with "
                "the manual",
                self.device,
                self.number,
                link,
                named,
            )
        if found.cuts:
            _log.info(
                "%s: unit %d on %s does not answer across %s in one request; it is read in more requests from now on "
                "(max_registers and max_gap can say so beforehand)",
                self.device,
                self.number,
                link,
                ", ".join(f"{table}:{address}" for table, address in found.cuts),
            )

"""Which class speaks for which kind of endpoint. Dialects are loaded when a layout names them, not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from random import Random
from typing import Any

from simulators.conveyor import Conveyor
from simulators.conveyor_map import show
from simulators.endpoint import Endpoint
from simulators.faces import PortalFace, ScaleFace, SorterFace
from simulators.hub import Hub
from simulators.layout_endpoints import (
    EndpointSettings,
    LlrpSettings,
    ModbusRtuSettings,
    ModbusTcpSettings,
    OpcuaSettings,
    ScaleSerialSettings,
    ScaleTcpSettings,
)
from simulators.modbus import RegisterTable
from simulators.modbus_units import Unit
from simulators.settings import split_listen

Tables = Mapping[str, RegisterTable]

CLASSES = {
    "modbus-tcp": ("simulators.modbus_tcp", "ModbusTcpEndpoint"),
    "modbus-rtu": ("simulators.modbus_rtu", "ModbusRtuEndpoint"),
    "scale-tcp": ("simulators.scale", "ScaleTcpEndpoint"),
    "scale-serial": ("simulators.scale", "ScaleSerialEndpoint"),
    "llrp": ("simulators.llrp", "LlrpEndpoint"),
    "opcua": ("simulators.opcua", "OpcuaEndpoint"),
}
"""Kind → module and class. A class takes a name, its units or its machine, and the keywords that `build` gives it."""


def build(settings: EndpointSettings, twin: Hub, tables: Tables, *, random: Random) -> Endpoint:
    """The endpoint that `settings` describe, in front of its machines in `twin`; not open yet.

    `tables` are the register tables of conveyors that somebody keeps up to date.
    """
    module, name = CLASSES[settings.kind]
    keywords: dict[str, Any] = {"random": random}
    if isinstance(settings, ModbusRtuSettings | ScaleSerialSettings):
        keywords["baudrate"] = settings.baudrate
    else:
        keywords["host"], keywords["port"] = split_listen(settings.listen)
    if isinstance(settings, ScaleTcpSettings | ScaleSerialSettings):
        keywords["protocol"] = settings.protocol
    endpoint: Endpoint = getattr(import_module(module), name)(
        settings.name, _behind(settings, twin, tables), **keywords
    )
    return endpoint


def _behind(
    settings: EndpointSettings, twin: Hub, tables: Tables
) -> Mapping[int, Unit] | ScaleFace | PortalFace | SorterFace:
    """What the endpoint speaks for."""
    match settings:
        case ModbusTcpSettings() | ModbusRtuSettings():
            return {number: _unit(twin.conveyors[name], tables[name]) for number, name in settings.units.items()}
        case LlrpSettings():
            return twin.portals[settings.machine]
        case OpcuaSettings():
            return twin.sorters[settings.machine]
        case _:
            return twin.scales[settings.machine]


def _unit(conveyor: Conveyor, table: RegisterTable) -> Unit:
    def power_cycle() -> None:
        conveyor.power_cycle()
        show(conveyor, table)

    return Unit(conveyor.name, table, power_cycle=power_cycle)

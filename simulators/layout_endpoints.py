"""What a layout says of endpoints: which machine answers where, in which dialect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulators.settings import Listen, Name, Strict, UnitId

ScaleProtocol = Literal["mt-sics", "sma", "toledo-continuous"]
Baudrate = Annotated[int, Field(ge=1200, le=921600)]


class _Units(Strict):
    name: Name
    units: Annotated[dict[UnitId, Name], Field(min_length=1)]
    """Unit id → a belt of a line."""


class ModbusTcpSettings(_Units):
    """A Modbus TCP server."""

    kind: Literal["modbus-tcp"]
    listen: Listen = "127.0.0.1:0"


class ModbusRtuSettings(_Units):
    """A serial line (a pseudo-terminal) with Modbus RTU."""

    kind: Literal["modbus-rtu"]
    baudrate: Baudrate = 19200


class _OneMachine(Strict):
    name: Name
    machine: Name


class ScaleTcpSettings(_OneMachine):
    """A scale's indicator on a TCP port."""

    kind: Literal["scale-tcp"]
    protocol: ScaleProtocol
    listen: Listen = "127.0.0.1:0"


class ScaleSerialSettings(_OneMachine):
    """A scale's indicator on a pseudo-terminal."""

    kind: Literal["scale-serial"]
    protocol: ScaleProtocol
    baudrate: Baudrate = 9600


class LlrpSettings(_OneMachine):
    """The RFID reader of a portal or door."""

    kind: Literal["llrp"]
    listen: Listen = "127.0.0.1:0"


class OpcuaSettings(_OneMachine):
    """The OPC UA server of a sorter."""

    kind: Literal["opcua"]
    listen: Listen = "127.0.0.1:0"


ModbusSettings = ModbusTcpSettings | ModbusRtuSettings
ScaleEndpointSettings = ScaleTcpSettings | ScaleSerialSettings
EndpointSettings = Annotated[
    ModbusSettings | ScaleEndpointSettings | LlrpSettings | OpcuaSettings, Field(discriminator="kind")
]

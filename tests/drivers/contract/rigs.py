"""Every family under test. A new one is one line here."""

from __future__ import annotations

from tests.drivers.contract.modbus import ModbusRig
from tests.drivers.contract.opcua import OpcuaRig
from tests.drivers.contract.rfid import RfidRig
from tests.drivers.contract.rig import Rig
from tests.drivers.scale.rig import ScaleRig
from tests.drivers.text_line.rig import TextLineRig

RIGS: tuple[Rig, ...] = (
    ModbusRig(),
    OpcuaRig(subscribe=True),
    OpcuaRig(subscribe=False),
    RfidRig(),
    ScaleRig("polled"),
    ScaleRig("streaming"),
    ScaleRig("stable"),
    TextLineRig(listen=False),
    TextLineRig(listen=True),
)

"""Every family under test. A new one is one line here."""

from __future__ import annotations

from tests.drivers.contract.modbus import ModbusRig
from tests.drivers.contract.rfid import RfidRig
from tests.drivers.contract.rig import Rig

RIGS: tuple[Rig, ...] = (ModbusRig(), RfidRig())

"""Modbus TCP and Modbus RTU on serial lines, read only.

`settings` says what the config file may hold, `plan` which requests fetch it, `codec` what the replies mean; these are
pure. `line` is the only module that touches pymodbus and a socket, `session` reads groups over it, and `narrow` finds
the address to blame when a unit refuses. Why it is built like this: `docs/decisions/0004-modbus-read-path.md`.
"""

from __future__ import annotations

from drivers.contract import Family
from drivers.modbus.driver import ModbusFamily

FAMILY: Family = ModbusFamily()

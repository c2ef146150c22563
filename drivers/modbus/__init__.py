"""Modbus TCP, plain and in TLS, Modbus RTU and Modbus ASCII, on serial lines and over TCP.

`settings` says what the config file may hold, `plan` which blocks fetch it, `request` how they are asked for in the
`dialect` of the unit, `codec` what the replies mean and `encode` the way back; these are pure. `wire` is the only
module that touches pymodbus, `line` asks over it. `session` reads groups, `narrow` finds the address to blame when a
unit refuses, `writing` writes points, `probe` is the command for commissioning. Why it is built like this:
`docs/decisions/0004-modbus-read-path.md`.
"""

from __future__ import annotations

from drivers.contract import Family
from drivers.modbus.driver import ModbusFamily

FAMILY: Family = ModbusFamily()

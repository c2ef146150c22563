"""What the controller of a conveyor shows over Modbus. Addresses as on the wire, from 0.

| area     | address | type         | what                                                                      |
|----------|---------|--------------|---------------------------------------------------------------------------|
| coil     | 0       | bool         | run; writable. Setting it on a tripped drive fails with exception 04      |
| discrete | 0       | bool         | entry photo-eye blocked                                                   |
| discrete | 1       | bool         | exit photo-eye blocked                                                    |
| discrete | 2       | bool         | jammed                                                                    |
| discrete | 3       | bool         | drive tripped                                                             |
| discrete | 4       | bool         | accumulating: parcels wait and the drive rests                            |
| holding  | 0       | uint16       | belt speed, mm/s                                                          |
| holding  | 1       | uint16       | speed setpoint, mm/s, 0 to 2500 (else exception 03); writable             |
| holding  | 12      | bits         | status bits, below                                                        |
| holding  | 14      | uint32 ABCD  | arrivals since power-on                                                   |
| holding  | 16      | uint32 CDAB  | departures since power-on                                                 |
| holding  | 18      | uint16       | jams since power-on                                                       |
| holding  | 100     | string(16)   | name, ASCII, two characters a register, padded with NUL                   |
| holding  | 108     | uint16       | belt length, mm                                                           |
| holding  | 109     | uint16       | speed as delivered, mm/s                                                  |
| input    | 0       | uint16       | belt speed, mm/s                                                          |
| input    | 1       | uint16       | parcels on the belt                                                       |
| input    | 2       | float32 ABCD | load, kg                                                                  |
| input    | 4       | float32 CDAB | motor current, A                                                          |
| input    | 6       | int16        | motor temperature, 0.1 °C                                                 |
| input    | 8       | int32 ABCD   | arrivals since power-on                                                   |
| input    | 10      | int32 ABCD   | departures since power-on                                                 |
| input    | 12      | int32 CDAB   | jams since power-on                                                       |
| input    | 14      | int64 ABCD   | mass of everything that has left, g                                       |
| input    | 18      | uint64 ABCD  | distance that the belt has run, mm                                        |

Status bits: 0 running, 1 accumulating, 2 at setpoint, 3 jammed, 4 tripped, 5 entry photo-eye, 6 exit photo-eye.

Holding 0 to 19 and 100 to 109 and input 0 to 21 can be read; what is not in the table reads 0 there. Holding 20 to 99
does not exist: a request that touches it gets exception 02.
"""

from __future__ import annotations

import struct

from simulators.conveyor import MAX_SPEED_MM_S, Conveyor
from simulators.modbus import Area, Bits, ExceptionCode, ModbusError, Registers, RegisterTable, Write

RUN_COIL = 0
SETPOINT_REGISTER = 1
NAME_BYTES = 16

_HOLDING = struct.Struct(">HH20xH2xI4sH")
_IDENTITY = struct.Struct(f">{NAME_BYTES}sHH")
_IDENTITY_REGISTER = 100
_INPUTS = struct.Struct(">HHf4sh2xii4sqQ")


def conveyor_table(conveyor: Conveyor) -> RegisterTable:
    """A table whose writes command `conveyor`. It shows the present only after `show`."""
    table = RegisterTable(
        coils=Bits([range(1)], writable=[range(1)]),
        discrete=Bits([range(5)]),
        holding=Registers(
            [range(20), range(_IDENTITY_REGISTER, _IDENTITY_REGISTER + _IDENTITY.size // 2)],
            writable=[range(SETPOINT_REGISTER, SETPOINT_REGISTER + 1)],
        ),
        inputs=Registers([range(_INPUTS.size // 2)]),
        on_write=lambda write: _command(conveyor, write),
    )
    _IDENTITY.pack_into(
        table.holding.blob,
        2 * _IDENTITY_REGISTER,
        conveyor.name.encode("ascii")[:NAME_BYTES],
        round(conveyor.length_m * 1000),
        conveyor.nominal_mm_s,
    )
    return table


def show(conveyor: Conveyor, table: RegisterTable) -> None:
    """Bring `table` up to what the controller of `conveyor` knows now."""
    speed_mm_s = round(conveyor.speed_m_s * 1000)
    entry, leaving = conveyor.entry_blocked, conveyor.exit_blocked
    counters = conveyor.counters
    table.coils.state = int(conveyor.run) << RUN_COIL
    table.discrete.state = (
        entry | leaving << 1 | conveyor.jammed << 2 | conveyor.tripped << 3 | conveyor.accumulating << 4
    )
    status = (
        (speed_mm_s > 0)
        | conveyor.accumulating << 1
        | conveyor.at_setpoint << 2
        | conveyor.jammed << 3
        | conveyor.tripped << 4
        | entry << 5
        | leaving << 6
    )
    _HOLDING.pack_into(
        table.holding.blob,
        0,
        speed_mm_s,
        conveyor.setpoint_mm_s,
        status,
        counters.arrivals & 0xFFFFFFFF,
        _low_word_first(struct.pack(">I", counters.departures & 0xFFFFFFFF)),
        counters.jams & 0xFFFF,
    )
    _INPUTS.pack_into(
        table.inputs.blob,
        0,
        speed_mm_s,
        len(conveyor.parcels),
        conveyor.load_kg,
        _low_word_first(struct.pack(">f", conveyor.current_a)),
        round(conveyor.temperature_c * 10),
        counters.arrivals & 0x7FFFFFFF,
        counters.departures & 0x7FFFFFFF,
        _low_word_first(struct.pack(">i", counters.jams & 0x7FFFFFFF)),
        counters.mass_g,
        round(counters.distance_m * 1000),
    )


def _low_word_first(four: bytes) -> bytes:
    """ABCD to CDAB."""
    return four[2:] + four[:2]


def _command(conveyor: Conveyor, write: Write) -> None:
    (value,) = write.values
    if write.area is Area.COILS:
        if value and conveyor.tripped:
            raise ModbusError(ExceptionCode.SERVER_DEVICE_FAILURE)
        conveyor.run = bool(value)
    else:
        if value > MAX_SPEED_MM_S:
            raise ModbusError(ExceptionCode.ILLEGAL_DATA_VALUE)
        conveyor.setpoint_mm_s = value

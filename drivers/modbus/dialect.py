"""What a unit wants to hear: the addresses and function codes that really go out on the wire. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from drivers.modbus.point import Range, Table

WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, MASK_WRITE = 5, 6, 15, 16, 22
"""Function codes of Modbus Application Protocol V1.1b3, 6.5, 6.6, 6.11, 6.12 and 6.16."""
MAX_WRITTEN_REGISTERS = 123
"""In one request (6.12)."""

_STANDARD: Mapping[Table, int] = MappingProxyType({table: table.function for table in Table})


@dataclass(frozen=True, slots=True)
class Dialect:
    """`offset` is added to every address; `reads` are the function codes that read each table.

    `writes_register` None is 6 for one register and 16 for several; `masks_bits` writes a bit of a register with
    function 22, which the unit carries out in one go; else the register is read, changed and written back.
    """

    offset: int = 0
    reads: Mapping[Table, int] = field(default_factory=lambda: _STANDARD)
    writes_coil: int = WRITE_COIL
    writes_register: int | None = None
    masks_bits: bool = False

    def text(self, function: int, span: Range) -> str:
        """The request as a person would name it, with what is on the wire: `FC3 holding 0–1 (2 registers)`."""  # noqa: RUF002  a range
        count = span.end - span.start
        first, last = span.start + self.offset, span.end - 1 + self.offset
        what = "bit" if span.table.holds_bits else "register"
        where = f"{first}" if first == last else f"{first}–{last}"  # noqa: RUF001  a range is written with an en dash
        return f"FC{function} {span.table} {where} ({count} {what}{'s' if count > 1 else ''})"

    def register_write(self, count: int) -> int:
        """The function code that writes so many registers."""
        return self.writes_register or (WRITE_REGISTER if count == 1 else WRITE_REGISTERS)

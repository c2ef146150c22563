"""What the controller of a sorter shows, as a table: node ids, types, values, and what writing does. Pure.

Two views of one machine. `urn:hub:conveyor` is a vendor's own: `Sorter.Speed`. The other has the PackTags of
ISA-TR88.00.02 (`Status.StateCurrent`, `Command.CntrlCmd`) as a controller shows them that has no companion model: flat
node ids and browse names in the namespace of OPC 30050, without its types and nested state machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from simulators.faces import PackCommand, SorterFace

CONVEYOR_URI = "urn:hub:conveyor"
PACKML_URI = "http://opcfoundation.org/UA/PackML/"

_PRODUCE = 1
"""ProductionMaintenanceModeEnum."""

_NO_COMMAND = 0


class Panel:
    """A sorter and the last command that its controller took."""

    def __init__(self, face: SorterFace) -> None:
        self.face = face
        self.last_command = _NO_COMMAND

    def set_speed(self, speed_m_s: float) -> int:
        return StatusCodes.Good if self.face.set_speed(speed_m_s) else StatusCodes.BadOutOfRange

    def control(self, number: int) -> int:
        """CntrlCmd: 0 is no command and does nothing."""
        if number != _NO_COMMAND:
            try:
                command = PackCommand(number)
            except ValueError:
                return StatusCodes.BadOutOfRange
            if not self.face.command(command):
                return StatusCodes.BadInvalidState
        self.last_command = number
        return StatusCodes.Good


@dataclass(frozen=True, slots=True)
class Tag:
    """One variable. `write` says with which status a value is taken; without it the variable is read only."""

    id: str
    uri: str
    kind: ua.VariantType
    value: Callable[[Panel], Any]
    write: Callable[[Panel, Any], int] | None = None
    is_array: bool = False

    @property
    def folder(self) -> str:
        """The string id of the object that it is a component of."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]


def tags(chutes: Sequence[str]) -> list[Tag]:
    """All of a sorter with these chutes. The ids of one namespace are unique if the names of the chutes are."""
    return [
        _conveyor("Speed", ua.VariantType.Double, lambda panel: panel.face.speed_m_s),
        Tag(
            "Sorter.MachSpeed",
            CONVEYOR_URI,
            ua.VariantType.Double,
            lambda panel: panel.face.speed_setpoint_m_s,
            Panel.set_speed,
        ),
        _conveyor("Running", ua.VariantType.Boolean, lambda panel: panel.face.speed_m_s > 0),
        _conveyor("State", ua.VariantType.String, lambda panel: panel.face.state.name.capitalize()),
        _conveyor("Blocked", ua.VariantType.Boolean, lambda panel: panel.face.blocked),
        _conveyor("Starved", ua.VariantType.Boolean, lambda panel: panel.face.starved),
        _conveyor("Sorted", ua.VariantType.UInt32, lambda panel: panel.face.sorted_count),
        _conveyor("Missorted", ua.VariantType.UInt32, lambda panel: panel.face.missorted_count),
        _conveyor("LastDestination", ua.VariantType.String, lambda panel: panel.face.last_destination),
        _conveyor("ChuteNames", ua.VariantType.String, lambda panel: list(panel.face.chutes), is_array=True),
        _conveyor("ChuteCounts", ua.VariantType.UInt32, lambda panel: list(panel.face.chutes.values()), is_array=True),
        _conveyor("FullChutes", ua.VariantType.String, lambda panel: list(panel.face.full_chutes), is_array=True),
        *(_conveyor(f"Chute.{chute}", ua.VariantType.UInt32, _count_of(chute)) for chute in chutes),
        _packml("Status.UnitModeCurrent", ua.VariantType.Int32, lambda _: _PRODUCE),
        _packml("Status.StateCurrent", ua.VariantType.Int32, lambda panel: int(panel.face.state)),
        _packml("Status.MachSpeed", ua.VariantType.Float, lambda panel: panel.face.speed_setpoint_m_s),
        _packml("Status.CurMachSpeed", ua.VariantType.Float, lambda panel: panel.face.speed_m_s),
        _packml("Status.EquipmentBlocked", ua.VariantType.Boolean, lambda panel: panel.face.blocked),
        _packml("Status.EquipmentStarved", ua.VariantType.Boolean, lambda panel: panel.face.starved),
        _packml("Admin.MachDesignSpeed", ua.VariantType.Float, lambda panel: panel.face.design_speed_m_s),
        _packml("Admin.ProdProcessedCount", ua.VariantType.Int32, lambda panel: [_processed(panel)], is_array=True),
        _packml("Admin.ProdProcessedCount[0].AccCount", ua.VariantType.Int32, _processed),
        _packml(
            "Admin.ProdDefectiveCount",
            ua.VariantType.Int32,
            lambda panel: [panel.face.missorted_count],
            is_array=True,
        ),
        _packml("Admin.ProdDefectiveCount[0].AccCount", ua.VariantType.Int32, lambda panel: panel.face.missorted_count),
        Tag(
            "Command.MachSpeed",
            PACKML_URI,
            ua.VariantType.Float,
            lambda panel: panel.face.speed_setpoint_m_s,
            Panel.set_speed,
        ),
        Tag("Command.CntrlCmd", PACKML_URI, ua.VariantType.Int32, lambda panel: panel.last_command, Panel.control),
    ]


def _conveyor(name: str, kind: ua.VariantType, value: Callable[[Panel], Any], *, is_array: bool = False) -> Tag:
    return Tag(f"Sorter.{name}", CONVEYOR_URI, kind, value, is_array=is_array)


def _packml(name: str, kind: ua.VariantType, value: Callable[[Panel], Any], *, is_array: bool = False) -> Tag:
    return Tag(name, PACKML_URI, kind, value, is_array=is_array)


def _processed(panel: Panel) -> int:
    return panel.face.sorted_count + panel.face.missorted_count


def _count_of(chute: str) -> Callable[[Panel], int]:
    return lambda panel: panel.face.chutes[chute]

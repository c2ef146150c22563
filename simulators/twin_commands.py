"""What a person at the machines could do to the twin, as JSON bodies of the control port. No HTTP here.

| machine    | keys                                                                                                   |
|------------|--------------------------------------------------------------------------------------------------------|
| `conveyor` | `jam` (with `clear_after_s`), `run`, `speed_mm_s`                                                       |
| `scale`    | `load_kg`: what lies there besides what the twin puts there, until it is 0; below 0 lifts               |
| `portal`   | `place` an EPC in hexadecimal (with `away_m`, along the belt from its middle), or `remove` it           |
| `sorter`   | `command` (`reset start stop hold unhold suspend unsuspend abort clear`), `speed_m_s`, `empty` a chute  |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from simulators.conveyor import MAX_SPEED_MM_S
from simulators.faces import PackCommand
from simulators.hub import Hub
from simulators.settings import Positive, Strict, describe
from simulators.twin_view import show_conveyor, show_portal, show_scale, show_sorter

MachineT = TypeVar("MachineT")
Hexadecimal = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{4}){1,31}$")]
"""Whole 16-bit words, as many as a tag's memory can have (Gen2)."""


class CommandError(ValueError):
    """The twin cannot do that."""


class _Command(Strict):
    @model_validator(mode="after")
    def _does_something(self) -> Self:
        doing = [name for name, field in type(self).model_fields.items() if not field.is_required()]
        if all(getattr(self, name) is None for name in doing):
            raise ValueError(f"nothing to do; give one of: {', '.join(doing)}")
        return self


class ConveyorCommand(_Command):
    conveyor: str
    jam: bool | None = None
    clear_after_s: Positive | None = None
    run: bool | None = None
    speed_mm_s: Annotated[int, Field(ge=0, le=MAX_SPEED_MM_S)] | None = None

    @model_validator(mode="after")
    def _clears_a_jam(self) -> Self:
        if self.clear_after_s is not None and not self.jam:
            raise ValueError('"clear_after_s" goes with "jam": true')
        return self

    def obey(self, twin: Hub) -> dict[str, Any]:
        conveyor = _find(self.conveyor, twin.conveyors, "conveyor")
        if self.run is not None:
            conveyor.run = self.run
        if self.speed_mm_s is not None:
            conveyor.setpoint_mm_s = self.speed_mm_s
        if self.jam:
            conveyor.jam(clear_after_s=self.clear_after_s)
        elif self.jam is not None:
            conveyor.clear()
        return {conveyor.name: show_conveyor(conveyor)}


class ScaleCommand(_Command):
    scale: str
    load_kg: Annotated[float, Field(ge=-100_000, le=100_000)] | None = None

    def obey(self, twin: Hub) -> dict[str, Any]:
        scale = _find(self.scale, twin.scales, "scale")
        if self.load_kg is not None:
            scale.extra_kg = self.load_kg
        return {scale.name: show_scale(scale)}


class PortalCommand(_Command):
    portal: str
    place: Hexadecimal | None = None
    away_m: Annotated[float, Field(ge=-100, le=100)] | None = None
    remove: Hexadecimal | None = None

    @model_validator(mode="after")
    def _away_is_placed(self) -> Self:
        if self.away_m is not None and self.place is None:
            raise ValueError('"away_m" goes with "place"')
        return self

    def obey(self, twin: Hub) -> dict[str, Any]:
        portal = _find(self.portal, twin.portals, "portal")
        if self.remove is not None and not portal.remove(bytes.fromhex(self.remove)):
            raise CommandError(f'no tag "{self.remove}" stands at "{portal.name}"')
        if self.place is not None:
            portal.place(bytes.fromhex(self.place), away_m=self.away_m or 0.0)
        return {portal.name: show_portal(portal)}


class SorterCommand(_Command):
    sorter: str
    command: str | None = None
    speed_m_s: float | None = None
    empty: str | None = None

    def obey(self, twin: Hub) -> dict[str, Any]:
        sorter = _find(self.sorter, twin.sorters, "sorter")
        if self.empty is not None:
            sorter.empty(_find(self.empty, sorter.held, "chute").name)
        if self.speed_m_s is not None and not sorter.set_speed(self.speed_m_s):
            raise CommandError(f'"speed_m_s" of "{sorter.name}" must be 0 to {sorter.design_speed_m_s:g}')
        if self.command is not None:
            command = _find(self.command, _PACK_COMMANDS, "command")
            if not sorter.command(command):
                raise CommandError(f'"{sorter.name}" takes no "{self.command}" while it is {sorter.state.name}')
        return {sorter.name: show_sorter(sorter)}


TwinCommand = ConveyorCommand | ScaleCommand | PortalCommand | SorterCommand

_PACK_COMMANDS = {command.name.lower(): command for command in PackCommand}
MODELS: Mapping[str, type[TwinCommand]] = {
    "conveyor": ConveyorCommand,
    "scale": ScaleCommand,
    "portal": PortalCommand,
    "sorter": SorterCommand,
}


def read_command(body: bytes) -> TwinCommand:
    """The command that a body says. Raises `CommandError`."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise CommandError(f"Invalid JSON: {error}") from error
    machines = [key for key in MODELS if key in document] if isinstance(document, dict) else []
    if len(machines) != 1:
        raise CommandError(f"name one machine; the key is one of: {', '.join(MODELS)}")
    try:
        return MODELS[machines[0]].model_validate_json(body)
    except ValidationError as error:
        raise CommandError("; ".join(describe(error))) from error


def _find(name: str, among: Mapping[str, MachineT], what: str) -> MachineT:
    if name not in among:
        raise CommandError(f'there is no {what} "{name}"; {_known(among)}')
    return among[name]


def _known(names: Collection[str]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none at all"

"""A layout: which machines there are and at which endpoints they answer. YAML in, frozen and checked settings out.

`layouts/small-hub.yaml` is a complete example, `layouts/small-line.yaml` is the default, and `layouts/airport-hub.yaml`
shows how much can be said with little (`simulators.repeat`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from simulators.hub import HubSpec
from simulators.layout_endpoints import (
    EndpointSettings,
    LlrpSettings,
    ModbusRtuSettings,
    ModbusTcpSettings,
    OpcuaSettings,
    ScaleSerialSettings,
    ScaleTcpSettings,
)
from simulators.layout_machines import (
    DoorSettings,
    LineSettings,
    PlatformSettings,
    PortalSettings,
    ScaleSettings,
    SorterSettings,
)
from simulators.repeat import RepeatError, expand, hoist, once, repeats
from simulators.settings import LoopbackListen, Strict, where

LAYOUTS = Path(__file__).parent / "layouts"
DEFAULT_LAYOUT = LAYOUTS / "small-line.yaml"


class LayoutError(Exception):
    """The layout cannot be used; the message names the file and every mistake in it."""


class Layout(Strict):
    """A whole layout, everything in it that repeats written out."""

    lines: Annotated[tuple[LineSettings, ...], Field(strict=False)] = ()
    platforms: Annotated[tuple[PlatformSettings, ...], Field(strict=False)] = ()
    doors: Annotated[tuple[DoorSettings, ...], Field(strict=False)] = ()
    endpoints: Annotated[tuple[EndpointSettings, ...], Field(min_length=1, strict=False)]
    control: LoopbackListen = "127.0.0.1:0"

    @property
    def on_modbus(self) -> frozenset[str]:
        """The belts whose registers somebody may read."""
        served = [
            endpoint for endpoint in self.endpoints if isinstance(endpoint, ModbusTcpSettings | ModbusRtuSettings)
        ]
        return frozenset(name for endpoint in served for name in endpoint.units.values())

    def spec(self) -> HubSpec:
        return HubSpec(
            lines=[line.spec() for line in self.lines],
            platforms=[platform.spec() for platform in self.platforms],
            doors=[door.spec() for door in self.doors],
        )


def load_layout(path: Path, *, fraction: float | None = None) -> Layout:
    """Read a layout file, or a `fraction` of it. Raises `LayoutError` with all mistakes at once."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: is not UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise LayoutError(f"{path}: is not YAML: {error}") from error
    try:
        return parse_layout(document, fraction=fraction)
    except LayoutError as error:
        raise LayoutError("\n".join(f"{path}: {mistake}" for mistake in str(error).splitlines())) from error


def parse_layout(document: Any, *, fraction: float | None = None) -> Layout:
    """A layout from what its YAML says. Raises `LayoutError` with one mistake a line."""
    if fraction is not None and not repeats(document):
        raise LayoutError("there is nothing to take a fraction of: no entry has a repeat")
    try:
        _validate(hoist(once(document)))
        layout = _validate(hoist(expand(document, fraction=1.0 if fraction is None else fraction)))
    except RepeatError as error:
        raise LayoutError(str(error)) from error
    if mistakes := list(_misfits(layout)):
        raise LayoutError("\n".join(mistakes))
    return layout


def _validate(document: Any) -> Layout:
    try:
        return Layout.model_validate(document)
    except ValidationError as error:
        raise LayoutError("\n".join(_mistakes(error, document))) from error


def _mistakes(error: ValidationError, document: Any) -> Iterator[str]:
    """One line for each mistake: where, in the entry of which name, and what is wrong."""
    for mistake in error.errors():
        name = _nearest_name(document, mistake["loc"])
        said = mistake["msg"].removeprefix("Value error, ")
        yield where(mistake["loc"]) + said + (f' (in "{name}")' if name else "")


def _nearest_name(node: Any, location: Sequence[Any]) -> str | None:
    """The name of the innermost entry around a place that has one."""
    name = None
    for step in location:
        if isinstance(node, Mapping):
            name = node.get("name", name)
            if step not in node:  # pydantic puts the kind of an entry into the place
                continue
            node = node[step]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node):
            node = node[step]
    return str(name) if name is not None else None


def _misfits(layout: Layout) -> Iterator[str]:
    """What is right on its own and does not fit together."""
    machines = [machine for line in layout.lines for machine in line.machines]
    belts = [machine.name for machine in machines if not isinstance(machine, SorterSettings)]
    scales = [m.name for m in machines if isinstance(m, ScaleSettings)] + [m.name for m in layout.platforms]
    portals = [m.name for m in machines if isinstance(m, PortalSettings)] + [m.name for m in layout.doors]
    sorters = [machine.name for machine in machines if isinstance(machine, SorterSettings)]
    beside = [platform.name for platform in layout.platforms] + [door.name for door in layout.doors]
    yield from _repeated([line.name for line in layout.lines], "lines")
    yield from _repeated([machine.name for machine in machines] + beside, "machines")
    yield from _repeated([endpoint.name for endpoint in layout.endpoints], "endpoints")
    for endpoint in layout.endpoints:
        match endpoint:
            case ModbusTcpSettings() | ModbusRtuSettings():
                for unit, name in endpoint.units.items():
                    yield from _missing(name, belts, "conveyor", f'endpoint "{endpoint.name}" unit {unit}')
            case ScaleTcpSettings() | ScaleSerialSettings():
                yield from _missing(endpoint.machine, scales, "scale", f'endpoint "{endpoint.name}"')
            case LlrpSettings():
                yield from _missing(endpoint.machine, portals, "portal", f'endpoint "{endpoint.name}"')
            case OpcuaSettings():
                yield from _missing(endpoint.machine, sorters, "sorter", f'endpoint "{endpoint.name}"')


def _repeated(names: Iterable[str], what: str) -> Iterator[str]:
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        yield f"{what} have the same name: {', '.join(repeated)}"


def _missing(name: str, known: Sequence[str], what: str, place: str) -> Iterator[str]:
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none at all"
        yield f'{place}: there is no {what} "{name}"; {there}'

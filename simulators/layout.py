"""A layout: which conveyors there are and at which endpoints they answer. YAML in, frozen and checked settings out.

`layouts/small-line.yaml` is a complete example and the default.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from simulators.conveyor import MAX_SPEED_MM_S, ConveyorSpec
from simulators.hub import LineSpec
from simulators.machine import LONGEST_PARCEL_M

DEFAULT_LAYOUT = Path(__file__).parent / "layouts" / "small-line.yaml"
MAX_UNIT = 247

_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[^\[\]:\s]+):(?P<port>\d{1,5})")


class LayoutError(Exception):
    """The layout cannot be used; the message names the file and every mistake in it."""


def split_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:502` or `[::1]:502` as host and port. Raises ValueError."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is not host:port, for example 127.0.0.1:0")
    return match["host"].strip("[]"), int(match["port"])


def _listen(text: str) -> str:
    split_listen(text)
    return text


def _loopback(text: str) -> str:
    host, _ = split_listen(text)
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"the control port has no password and must stay on loopback, not {host!r}")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=64)]
Listen = Annotated[str, AfterValidator(_listen)]
LoopbackListen = Annotated[str, AfterValidator(_loopback)]
UnitId = Annotated[int, Field(ge=1, le=MAX_UNIT)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ConveyorSettings(_Strict):
    """One conveyor. It must hold a parcel and its gap with room to spare."""

    name: Annotated[Name, StringConstraints(max_length=16)]
    length_m: Annotated[float, Field(ge=2 * LONGEST_PARCEL_M, le=60)]
    speed_mm_s: Annotated[int, Field(ge=0, le=MAX_SPEED_MM_S)]


class LineSettings(_Strict):
    """The conveyors in the order in which parcels pass them."""

    arrivals_per_hour: Positive = 1200.0
    jam_chance: Annotated[float, Field(ge=0, le=1)] = 0.0
    jam_clears_after_s: Positive = 15.0
    conveyors: Annotated[tuple[ConveyorSettings, ...], Field(min_length=1, strict=False)]

    def spec(self) -> LineSpec:
        return LineSpec(
            tuple(ConveyorSpec(**conveyor.model_dump()) for conveyor in self.conveyors),
            arrivals_per_hour=self.arrivals_per_hour,
            jam_chance=self.jam_chance,
            jam_clears_after_s=self.jam_clears_after_s,
        )


class ModbusTcpSettings(_Strict):
    """A Modbus TCP server; `units` maps unit ids to conveyors."""

    name: Name
    kind: Literal["modbus-tcp"]
    listen: Listen = "127.0.0.1:0"
    units: Annotated[dict[UnitId, Name], Field(min_length=1)]


class ModbusRtuSettings(_Strict):
    """A serial line (a pseudo-terminal) with Modbus RTU; `units` maps unit ids to conveyors."""

    name: Name
    kind: Literal["modbus-rtu"]
    baudrate: Annotated[int, Field(ge=1200, le=921600)] = 19200
    units: Annotated[dict[UnitId, Name], Field(min_length=1)]


EndpointSettings = Annotated[ModbusTcpSettings | ModbusRtuSettings, Field(discriminator="kind")]


class Layout(_Strict):
    """A whole layout file."""

    line: LineSettings
    endpoints: Annotated[tuple[EndpointSettings, ...], Field(min_length=1, strict=False)]
    control: LoopbackListen = "127.0.0.1:0"

    @model_validator(mode="after")
    def _names_fit(self) -> Layout:
        conveyors = [conveyor.name for conveyor in self.line.conveyors]
        _refuse_repeated(conveyors, "conveyors")
        _refuse_repeated([endpoint.name for endpoint in self.endpoints], "endpoints")
        for endpoint in self.endpoints:
            for unit, name in endpoint.units.items():
                if name not in conveyors:
                    raise ValueError(
                        f'endpoint "{endpoint.name}" unit {unit}: there is no conveyor "{name}"; '
                        f"there are {', '.join(conveyors)}"
                    )
        return self


def load_layout(path: Path) -> Layout:
    """Read a layout file. Raises `LayoutError` with all mistakes at once."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: is not UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise LayoutError(f"{path}: is not YAML: {error}") from error
    try:
        return Layout.model_validate(document)
    except ValidationError as error:
        raise LayoutError("\n".join(f"{path}: {mistake}" for mistake in describe(error))) from error


def describe(error: ValidationError) -> list[str]:
    """One line for each mistake that pydantic found: where, and what is wrong."""
    return [f"{_where(mistake['loc'])}{mistake['msg'].removeprefix('Value error, ')}" for mistake in error.errors()]


def _where(location: Sequence[Any]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{path}: " if path else ""


def _refuse_repeated(names: Sequence[Hashable], what: str) -> None:
    repeated = [str(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} have the same name: {', '.join(repeated)}")

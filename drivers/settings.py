"""What every device and point of a config file has, whatever its driver: the base of each family's settings.

Settings are frozen pydantic models that refuse unknown keys. They hold plain SI numbers; the units of the file
(`250ms`, `2GiB`) are gone once a value has passed validation.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

_DURATION_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_QUANTITY = re.compile(r"\s*(\d{1,15}(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def _quantity(value: Any, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"{value!r} needs a number and a unit ({', '.join(units)}), for example {example}")
    return float(match[1]) * units[match[2]]


def duration_s(value: Any) -> float:
    """`250ms`, `1.5s`, `2m`, `1h`, `14d` as seconds. A float passes (a default that is already in seconds)."""
    return value if isinstance(value, float) else _quantity(value, _DURATION_UNITS_S, "250ms")


def _duration(value: Any, info: ValidationInfo) -> float:
    """`duration_s`, but in a config file, whose loader always gives a context, a number without a unit is a mistake."""
    return duration_s(str(value) if isinstance(value, float) and info.context is not None else value)


def size_bytes(value: Any) -> int:
    """`500MB`, `2GiB` as bytes. An int passes (a default that is already in bytes)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(_quantity(value, _SIZE_UNITS, "2GiB"))


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("must be the name of a file")
    return value


def _readable(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None:
        return path
    path = folder / path
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


_DURATION_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$", "examples": ["250ms", "1s"]}
)
Duration = Annotated[float, BeforeValidator(_duration), Field(gt=0, allow_inf_nan=False), _DURATION_SCHEMA]
"""Seconds, written with a unit in the file."""
DurationOrZero = Annotated[float, BeforeValidator(_duration), Field(ge=0, allow_inf_nan=False), _DURATION_SCHEMA]

Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    Field(gt=0),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["256MiB", "2GiB"]}),
]
"""Bytes, written with a unit (or as a plain number of bytes) in the file."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$", max_length=128)]
"""A name that is safe in an MQTT topic, a metric label and a file name."""

ReadableFile = Annotated[
    Path, BeforeValidator(_named), AfterValidator(_readable), WithJsonSchema({"type": "string", "minLength": 1})
]
"""Relative to the folder of the config file, which the loader gives as context; not looked at without one."""


class StrictModel(BaseModel):
    """Frozen, refuses unknown keys, shows no input values in errors (they may be secrets)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=False)


class Report(StrEnum):
    """What is published of what was read."""

    ON_CHANGE = "on-change"
    EVERY_READ = "every-read"


class Priority(StrEnum):
    """Who loses readings first when the buffer is full: low before normal before high, which is the order here."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class PointSettings(StrictModel):
    """One entry of `points:`, or one line of a points file."""

    name: Name
    unit: str = ""
    deadband: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    period: Duration | None = None
    writable: bool = False
    min: Annotated[float, Field(allow_inf_nan=False, description="the least that a command may write")] | None = None
    max: Annotated[float, Field(allow_inf_nan=False, description="the most that a command may write")] | None = None

    @field_validator("min", "max")
    @classmethod
    def _limits_what_is_written(cls, limit: float | None, info: ValidationInfo) -> float | None:
        if limit is not None and info.data.get("writable") is False:
            raise ValueError("has no effect: it limits what is written, and the point is not writable")
        least = info.data.get("min")
        if limit is not None and info.field_name == "max" and least is not None and least > limit:
            raise ValueError(f"is less than min ({least:g}), so that nothing could be written")
        return limit


class DeviceSettings(StrictModel):
    """One entry of `devices:`. The loader has already filled in `defaults:` and read `points_file:` into `points`."""

    name: Name
    driver: str
    url: str
    priority: Priority = Priority.NORMAL
    period: Duration = 1.0
    timeout: Duration = 1.0
    report: Report = Report.ON_CHANGE
    heartbeat: Duration = 60.0
    points: tuple[PointSettings, ...] = ()

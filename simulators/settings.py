"""The words that settings of machines and endpoints are made of, and how mistakes in them are told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

MAX_UNIT = 247

_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[^\[\]:\s]+):(?P<port>\d{1,5})")


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


def _as_written(number: Any) -> Any:
    """YAML makes 0.005 a binary fraction; its shortest form is what was written."""
    return Decimal(str(number)) if isinstance(number, int | float) and not isinstance(number, bool) else number


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=64)]
Listen = Annotated[str, AfterValidator(_listen)]
LoopbackListen = Annotated[str, AfterValidator(_loopback)]
UnitId = Annotated[int, Field(ge=1, le=MAX_UNIT)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Chance = Annotated[float, Field(ge=0, le=1)]
Kilograms = Annotated[Decimal, BeforeValidator(_as_written), Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Frozen; no key but the named ones; no number in a string."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def describe(error: ValidationError) -> list[str]:
    """One line for each mistake that pydantic found: where, and what is wrong."""
    return [f"{where(mistake['loc'])}{mistake['msg'].removeprefix('Value error, ')}" for mistake in error.errors()]


def where(location: Sequence[Any]) -> str:
    """`lines[0].name: ` for a place in a document, nothing for the whole of it."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{path}: " if path else ""

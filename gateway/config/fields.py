"""Kinds of values that several sections of the config file have.

Relative paths are relative to the folder of the config file: the loader passes it as the validation context
`{"folder": Path}`. Without that context paths stay as they are and are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from drivers.settings import StrictModel, size_bytes
from gateway.config import files


def _named(value: Any) -> Any:
    if value == "":
        raise ValueError("must be the name of a file")
    return value


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    if "\0" in str(path):
        raise ValueError("a file name cannot contain a NUL character")
    folder: Path | None = (info.context or {}).get("folder")
    return path if folder is None else folder / path


def _readable(path: Path, info: ValidationInfo) -> Path:
    if info.context is None:
        return path
    try:
        files.read(path, most_bytes=0)
    except files.UnreadableFile as error:
        raise ValueError(f"{path}: {error}") from error
    return path


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers")  # noqa: TRY004 - pydantic reports ValueError only
    return value


FilePath = Annotated[
    Path, BeforeValidator(_named), AfterValidator(_in_folder), WithJsonSchema({"type": "string", "minLength": 1})
]
ReadableFile = Annotated[FilePath, AfterValidator(_readable)]
Whole = Annotated[int, Field(ge=1), BeforeValidator(_not_bool)]
SizeOrZero = Annotated[
    int,
    BeforeValidator(size_bytes),
    Field(ge=0),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["256MiB", 0]}),
]


class DocumentedModel(StrictModel):
    """The text under each field becomes its description in the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)

"""JSON Schema of the config file, so that editors complete its keys, tell what they mean and mark mistakes.

It covers every driver family that is installed. Where a number, a name or a duration is expected, a `${…}` reference
may stand as well; where there are fixed choices, editors offer those only. What the schema lets through is still
checked by `load`, which knows more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from drivers import registry
from drivers.settings import DeviceSettings
from gateway.config import profiles
from gateway.config.settings import Document

_POINTS_FILE: Any = (
    Annotated[str, Field(min_length=1)],
    Field(default="", description="A CSV file with more points; its columns are the keys of a point."),
)
_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{(env|file|credential):[^{}]+\}",
    "description": "Filled in when the gateway starts: ${env:NAME}, ${file:/path} or ${credential:NAME}",
}
_ABOUT = ("title", "description", "default", "examples")
_NO_KEYWORDS = frozenset({"ge", "gt", "le", "lt"})  # pydantic leaves them where numbers are written as text
_SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_DURATIONS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def json_schema() -> dict[str, object]:
    """The schema (draft 2020-12). Imports every driver family that is installed."""
    families = {name: registry.family(name).settings for name in registry.names()}
    models = [_device(name, settings) for name, settings in families.items()]
    entry: Any = Annotated[reduce(or_, models), Field(discriminator="driver")] if len(models) > 1 else models[0]
    entry = reduce(or_, [_by_profile(name, settings) for name, settings in families.items()], entry)
    whole = create_model(
        "hub-gateway config",
        __base__=Document,
        devices=(tuple[entry, ...], Field(min_length=1, description="What is read.")),
    )
    schema: dict[str, Any] = _written(whole.model_json_schema(mode="validation"))
    schema["$defs"]["reference"] = _REFERENCE
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _device(name: str, settings: type[DeviceSettings]) -> type[BaseModel]:
    """The family's model as the file has it: with its `points_file`, which the loader takes out."""
    fixed = settings.model_fields["points"].get_default(call_default_factory=True)
    either = {} if fixed else {"anyOf": [{"required": ["points"]}, {"required": ["points_file"]}]}

    def amend(schema: dict[str, Any]) -> None:
        schema["required"] = [key for key in schema["required"] if key != "points"]
        schema.update(either)

    fields: dict[str, Any] = {
        "driver": (Literal[name], Field(description=f"The kind of device; here {name}.")),
        "points_file": _POINTS_FILE,
    }
    return _amended(create_model(f"{name} device", __base__=settings, **fields), amend)


def _by_profile(name: str, settings: type[DeviceSettings]) -> type[BaseModel]:
    """An entry that names a profile: that has the driver and, most often, the points."""

    def amend(schema: dict[str, Any]) -> None:
        schema["required"] = [key for key in schema["required"] if key != "points"]

    fields: dict[str, Any] = {
        "driver": (Literal[name], Field(default=name, description="The profile has it.")),
        "profile": (
            Annotated[str, Field(min_length=1)],
            Field(
                description="A controller that the gateway knows, or a YAML file with such a profile.",
                examples=profiles.shipped(),
            ),
        ),
        "points_file": _POINTS_FILE,
    }
    return _amended(create_model(f"{name} device by profile", __base__=settings, **fields), amend)


def _amended(model: type[BaseModel], amend: Callable[[dict[str, Any]], None]) -> type[BaseModel]:
    model.model_config["json_schema_extra"] = amend
    model.model_rebuild(force=True)
    return model


def _written(node: Any) -> Any:
    """`node` with defaults as a person writes them, and with references allowed beside numbers and patterned text."""
    if isinstance(node, list):
        return [_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        key: value if key in _ABOUT else _written(value)
        for key, value in node.items()
        if key not in _NO_KEYWORDS or isinstance(value, dict)
    }
    kind = node.get("type")
    sized = isinstance(kind, list)
    if not sized and not isinstance(kind, str):
        return _default_of_duration(node)
    if "default" in node and sized:
        node["default"] = _with_unit(node["default"], _SIZES)
    node = _default_of_duration(node)
    if sized or kind in {"integer", "number"} or (kind == "string" and "pattern" in node):
        if "const" in node or "enum" in node:
            return node
        about = {key: node.pop(key) for key in _ABOUT if key in node}
        return {**about, "anyOf": [node, {"$ref": "#/$defs/reference"}]}
    return node


def _default_of_duration(node: dict[str, Any]) -> dict[str, Any]:
    if node.get("type") == "string" and isinstance(node.get("default"), float):
        return {**node, "default": _with_unit(node["default"], _DURATIONS)}
    return node


def _with_unit(quantity: Any, units: tuple[tuple[str, int], ...]) -> Any:
    for unit, size in units:
        if quantity and quantity % size == 0:
            return f"{int(quantity // size)}{unit}"
    return quantity

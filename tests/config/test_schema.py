"""The JSON Schema: the example passes, typical mistakes do not, and editors have something to show."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from gateway.config import json_schema, source

Schema = dict[str, Any]

EXAMPLE = Path(__file__).parents[2] / "config" / "hub.yaml"
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples", "discriminator"}


@pytest.fixture(scope="module")
def schema(_belt_family_is_installed: None) -> Schema:
    """As a machine has it that has our families and `belt`; the broken family is not there."""
    installed = [name for name in registry.names() if name != "lost"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drivers.registry.names", lambda: installed)
        return json.loads(json.dumps(json_schema()))


def accepts(schema: Schema, value: Any, root: Schema) -> bool:
    """Whether `value` satisfies `schema`: the part of JSON Schema that ours uses. A keyword beyond it is a KeyError."""
    return all(KEYWORDS[key](schema, value, root) for key in schema if key not in ANNOTATIONS)


def _of_type(name: str, value: Any) -> bool:
    if name in {"integer", "number"}:
        kinds = int if name == "integer" else int | float
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def _type(schema: Schema, value: Any, root: Schema) -> bool:
    names = schema["type"]
    return any(_of_type(name, value) for name in ([names] if isinstance(names, str) else names))


def _ref(schema: Schema, value: Any, root: Schema) -> bool:
    return accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)


def _properties(schema: Schema, value: Any, root: Schema) -> bool:
    known = schema["properties"]
    return not isinstance(value, dict) or all(accepts(known[key], value[key], root) for key in value if key in known)


def _closed(schema: Schema, value: Any, root: Schema) -> bool:
    assert schema["additionalProperties"] is False
    return not isinstance(value, dict) or value.keys() <= schema["properties"].keys()


def _items(schema: Schema, value: Any, root: Schema) -> bool:
    return not isinstance(value, list) or all(accepts(schema["items"], item, root) for item in value)


def _number(compare: Callable[[Any, Any], bool], key: str) -> Callable[[Schema, Any, Schema], bool]:
    return lambda schema, value, root: not isinstance(value, int | float) or compare(value, schema[key])


KEYWORDS: dict[str, Callable[[Schema, Any, Schema], bool]] = {
    "type": _type,
    "$ref": _ref,
    "properties": _properties,
    "additionalProperties": _closed,
    "required": lambda schema, value, root: not isinstance(value, dict) or set(schema["required"]) <= value.keys(),
    "items": _items,
    "minItems": lambda schema, value, root: not isinstance(value, list) or len(value) >= schema["minItems"],
    "anyOf": lambda schema, value, root: any(accepts(one, value, root) for one in schema["anyOf"]),
    "oneOf": lambda schema, value, root: sum(accepts(one, value, root) for one in schema["oneOf"]) == 1,
    "enum": lambda schema, value, root: value in schema["enum"],
    "const": lambda schema, value, root: value == schema["const"],
    "pattern": lambda schema, value, root: not isinstance(value, str) or bool(re.search(schema["pattern"], value)),
    "minLength": lambda schema, value, root: not isinstance(value, str) or len(value) >= schema["minLength"],
    "maxLength": lambda schema, value, root: not isinstance(value, str) or len(value) <= schema["maxLength"],
    "minimum": _number(lambda value, bound: value >= bound, "minimum"),
    "exclusiveMinimum": _number(lambda value, bound: value > bound, "exclusiveMinimum"),
    "maximum": _number(lambda value, bound: value <= bound, "maximum"),
    "format": lambda schema, value, root: schema["format"] in {"path", "password"},
    "writeOnly": lambda schema, value, root: True,
}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return source.parse(EXAMPLE.read_bytes(), file="hub.yaml").data


def test_the_example_satisfies_the_schema(schema: Schema, example: dict[str, Any]) -> None:
    assert accepts(schema, example, schema)


def test_a_device_of_a_third_party_satisfies_the_schema(schema: Schema, example: dict[str, Any]) -> None:
    device = {"name": "b", "driver": "belt", "url": "x", "points": [{"name": "a", "address": 0, "type": "float32"}]}
    assert accepts(schema, {**example, "devices": [device]}, schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("gateway", "id"), "${env:HOSTNAME}"),
        (("devices", 0, "unit"), "${env:UNIT}"),
        (("devices", 0, "period"), "${env:PERIOD}"),
        (("destinations", 0, "password"), "${file:/run/secret}"),
        (("destinations", 0, "url"), "mqtt://${env:BROKER}"),
        (("http", "listen"), "[::1]:0"),
        (("buffer", "max_bytes"), 524_288),
        (("buffer", "min_free_disk"), 0),
    ],
)
def test_what_may_stand_there_satisfies_the_schema(
    path: tuple[str | int, ...], value: object, schema: Schema, example: dict[str, Any]
) -> None:
    assert accepts(schema, _with(example, path, value), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("gatway",), {}),
        (("gateway", "id"), "a b"),
        (("gateway", "id"), 5),
        (("devices",), []),
        (("devices", 0, "drivr"), "modbus"),
        (("devices", 0, "driver"), "modbsu"),
        (("devices", 0, "period"), 1),
        (("devices", 0, "period"), "1sec"),
        (("devices", 0, "unit"), "one"),
        (("devices", 0, "unit"), 300),
        (("devices", 0, "report"), "never"),
        (("devices", 0, "points", 0, "deadband"), -1),
        (("devices", 0, "points", 0, "adress"), "coil:0"),
        (("devices", 0, "points", 0), {"name": "a"}),
        (("devices", 0, "points_file"), 5),
        (("devices", 0), {"name": "a", "driver": "modbus", "url": "tcp://h"}),
        (("destinations", 0, "url"), "http://h"),
        (("destinations", 0, "qos"), 2),
        (("destinations", 0, "batch"), 0),
        (("destinations", 0, "replay", "order"), "newest"),
        (("buffer", "when_full"), "drop"),
        (("defaults", "unit"), 1),
        (("http", "listen"), "9464"),
    ],
)
def test_typical_mistakes_do_not_satisfy_the_schema(
    path: tuple[str | int, ...], value: object, schema: Schema, example: dict[str, Any]
) -> None:
    assert not accepts(schema, _with(example, path, value), schema)


def test_no_mapping_takes_unknown_keys(schema: Schema) -> None:
    mappings = [schema, *(one for one in schema["$defs"].values() if one.get("type") == "object")]
    assert len(mappings) > 8
    assert all(mapping["additionalProperties"] is False for mapping in mappings)


def test_editors_can_tell_what_each_key_of_the_gateway_means(schema: Schema) -> None:
    for name in ("GatewaySettings", "BufferSettings", "DestinationSettings", "ReplaySettings", "TlsSettings"):
        # A model whose name a driver family has too is called by its module.
        (model,) = [
            model
            for key, model in schema["$defs"].items()
            if key == name or (key.startswith("gateway__") and key.endswith(f"__{name}"))
        ]
        assert all("description" in one for one in model["properties"].values()), name


def test_defaults_are_shown_as_a_person_writes_them(schema: Schema) -> None:
    buffer = schema["$defs"]["BufferSettings"]["properties"]
    assert {key: buffer[key]["default"] for key in ("max_bytes", "max_age", "min_free_disk")} == {
        "max_bytes": "2GiB",
        "max_age": "14d",
        "min_free_disk": "256MiB",
    }
    assert schema["$defs"]["DestinationSettings"]["properties"]["keepalive"]["default"] == "30s"


def _with(example: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(example)
    inner: Any = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return changed

"""What pydantic finds wrong, in the words of a person who writes config files and no programs.

Values are shown as the file has them, before references are filled in. A value whose key sounds like a secret is never
shown, nor is what stands before the @ of a url.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.problems import KeyPath, did_you_mean, quoted

_SECRET_KEY = re.compile(r"pass|secret|token|credential|(^|_)pin$", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=//)\S*@")
_CHOICE = re.compile(r"'((?:[^'\\]|\\.)*)'")
_NAME_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.:-]*$"

ABSENT = object()
"""The file has nothing there."""

_MEANT: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of a possible size",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "a file name",
    "string_unicode": "text",
    "bytes_type": "text",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_MAPPINGS = {"model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"}
_LISTS = {"tuple_type", "list_type", "set_type", "frozen_set_type", "iterable_type"}


def explain(error: ErrorDetails, *, path: KeyPath, value: Any, model: type[BaseModel]) -> str:
    """The message for one error of `ValidationError.errors()`.

    `path` is the error's `loc` without pydantic's own parts, `value` what the file has there (`ABSENT` when nothing),
    and `model` what was validated.
    """
    kind = error["type"]
    context = error.get("ctx", {})
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"{quoted(key)} is not a key here{did_you_mean(key, keys(model, path[:-1]))}"
    if value is None:
        return "has no value; give it one or remove the key"
    if kind in {"value_error", "assertion_error"}:
        return _USER_INFO.sub("…@", str(context.get("error") or error["msg"].partition(", ")[2]))
    return _of_value(kind, context, value, key=key) or re.sub(r"^Input should be", "must be", error["msg"])


def keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the model at `path` below `model` knows."""
    models = [model]
    for part in path:
        if isinstance(part, str):
            fields = [one.model_fields[part] for one in models if part in one.model_fields]
            models = [inner for field in fields for inner in _models(field.annotation)]
    return [field.alias or name for one in models for name, field in one.model_fields.items()]


def _of_value(kind: str, context: Mapping[str, Any], value: Any, *, key: str) -> str:
    """The message for a value of the wrong kind; empty when there are no better words than pydantic's."""
    shown = _shown(value, key)
    if kind in {"enum", "literal_error"}:
        return _no_choice(shown, value, key, _choices(str(context.get("expected", ""))))
    if kind in _MAPPINGS:
        return f"{shown} is not a mapping; write key: value lines below it"
    if kind in _LISTS:
        return f"{shown} is not a list; start each entry with -"
    return _unlike(kind, context, value, shown) or _bound(kind, context, shown)


def _unlike(kind: str, context: Mapping[str, Any], value: Any, shown: str) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return (
            f"{shown} is {'a number' if not isinstance(value, bool) else 'true or false'}, not text; put it in quotes"
        )
    if kind == "string_type":
        return f"{shown} is not text"
    if kind in _MEANT:
        comma = isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+,\d+\s*", value)
        hint = "; write a point, not a comma, before the decimals" if comma else ""
        return f"{shown} is not {_MEANT[kind]}{hint}"
    if kind == "string_pattern_mismatch" and context.get("pattern") == _NAME_PATTERN:
        return f"{shown} is not a name; use letters, digits and _ . : - and start with a letter, a digit or _"
    if kind == "string_pattern_mismatch":
        return f"{shown} has the wrong form; it must match {context.get('pattern')}"
    return ""


def _bound(kind: str, context: Mapping[str, Any], shown: str) -> str:
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context.get(name)
        return f"{shown} is not possible; it must be {words} {bound:.15g}"
    if kind == "too_short":
        least = context.get("min_length", 1)
        return "is empty; at least one entry is needed" if least == 1 else f"needs at least {least} entries"
    if kind == "too_long":
        return f"has more than {context.get('max_length')} entries"
    if kind == "string_too_long":
        return f"{shown} is longer than {context.get('max_length')} characters"
    if kind == "string_too_short":
        return f"{shown} is shorter than {context.get('min_length')} characters"
    return ""


def _no_choice(shown: str, value: Any, key: str, choices: list[str]) -> str:
    noun = f"{'an' if key[:1] in 'aeiou' else 'a'} {key}" if key.isalpha() else "one of the choices"
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    if not hint:
        hint = f"; use {' or '.join(choices)}"
    return f"{shown} is not {noun}{hint}"


def _choices(expected: str) -> list[str]:
    """The choices in pydantic's `'a', 'b' or 'c'`, or in a bare `1`."""
    return _CHOICE.findall(expected) or [expected]


def _shown(value: Any, key: str) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is ABSENT or _SECRET_KEY.search(key):
        return "the value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(_USER_INFO.sub("…@", value))
    return str(value)[:60]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {Union, UnionType, Annotated, tuple, list, dict}:
        return [model for argument in get_args(annotation) for model in _models(argument)]
    return []

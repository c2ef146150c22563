"""Data from the file into a settings model; every error of pydantic becomes a problem with its place in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.explain import ABSENT, explain, keys
from gateway.config.problems import KeyPath, Place, Problem, problem

Model = TypeVar("Model", bound=BaseModel)


class Locator(Protocol):
    """The way from a path in the data to a place in a file. Paths that are not there lead to what encloses them."""

    def place(self, path: KeyPath) -> Place:
        """Where the value stands."""
        ...

    def key_place(self, path: KeyPath) -> Place:
        """Where the key of the value stands."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Model]):
    """The settings, or None and why. `paths` are where the problems are, one for each."""

    settings: Model | None
    problems: list[Problem] = field(default_factory=list)
    paths: list[KeyPath] = field(default_factory=list)


def validate(
    model: type[Model],
    data: Any,
    *,
    raw: Any,
    locator: Locator,
    folder: Path,
    known: Callable[[KeyPath], bool],
    hide: Callable[[str, KeyPath], str],
) -> Outcome[Model]:
    """Validate `data`. `raw` is the same as the file has it, before references were filled in: only that is shown.

    Errors at a path for which `known` is true have been reported already and are left out. `hide` takes secrets out of
    a message that a settings model made, which has seen the data.
    """
    try:
        return Outcome(model.model_validate(data, context={"folder": folder}))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    found: list[Problem] = []
    paths: list[KeyPath] = []
    for each in errors:
        path = _path(raw, each["loc"], model=model)
        value = _at(raw, path)
        if known(path) or _only_bad_entries(each, value):
            continue
        message = explain(each, path=path, value=value, model=model)
        if each["type"] in {"value_error", "assertion_error"}:
            message = hide(message, path)
        place = locator.key_place(path) if each["type"] == "extra_forbidden" else locator.place(path)
        found.append(problem(place, message))
        paths.append(path)
    return Outcome(None, found, paths)


def _path(raw: Any, loc: tuple[int | str, ...], *, model: type[BaseModel]) -> KeyPath:
    """`loc` without what pydantic adds for unions and tags: parts that are neither in the file nor possible keys."""
    path: KeyPath = ()
    for part in loc:
        if _at(raw, (*path, part)) is not ABSENT or part in keys(model, path):
            path = (*path, part)
    return path


def _only_bad_entries(error: ErrorDetails, value: Any) -> bool:
    """Pydantic calls a list too short when none of its entries is valid; the entries have errors of their own."""
    return error["type"] == "too_short" and isinstance(value, list) and len(value) >= error["ctx"]["min_length"]


def _at(raw: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(raw, dict):
            raw = raw.get(part, ABSENT)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            return ABSENT
    return raw

"""The entries of `devices:`, each with `defaults:` and its points file merged in, validated by its driver family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.settings import DeviceSettings
from gateway.config import points_file
from gateway.config.points_file import Row
from gateway.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, dotted, problem, quoted
from gateway.config.references import Resolved
from gateway.config.source import Source
from gateway.config.validate import Locator, validate

_COMMON = DeviceSettings.model_fields.keys() - {"points"}


@dataclass(frozen=True, slots=True)
class Context:
    """What all devices of a file share."""

    source: Source
    resolved: Resolved
    folder: Path
    shown_folder: Path
    """The folder as the person named it, for messages."""
    defaults: Mapping[str, Any]
    """The entries of `defaults:` that are good."""


@dataclass(frozen=True, slots=True)
class Device:
    """One entry: its settings, or None and why."""

    settings: DeviceSettings | None
    problems: list[Problem]


@dataclass(slots=True)
class _Entry:
    """One entry of `devices:` with all that belongs to it. Paths are relative to the entry."""

    context: Context
    index: int
    defaulted: frozenset[str]
    listed: int = 0
    rows: list[Row] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        row = self._row(path)
        if row is not None:
            return row.place(str(path[2]) if len(path) > 2 else None)
        return self._of_entry(self.context.source.place(self.origin(path)), path)

    def key_place(self, path: KeyPath) -> Place:
        row = self._row(path)
        if row is not None and len(path) > 2:
            return row.headings.get(str(path[2])) or row.place(str(path[2]))
        return self._of_entry(self.context.source.key_place(self.origin(path)), path)

    def origin(self, path: KeyPath) -> KeyPath:
        """Where in the YAML document the value at `path` came from."""
        if path and path[0] in self.defaulted:
            return ("defaults", *path)
        return ("devices", self.index, *path)

    def unresolved(self, path: KeyPath) -> bool:
        return self._row(path) is None and self.origin(path) in self.context.resolved.unresolved

    def hide(self, message: str, path: KeyPath) -> str:
        """`message` without the secrets of the entry, nor of the default that `path` leads to."""
        return self.context.resolved.hide(message, self.origin(path))

    def _row(self, path: KeyPath) -> Row | None:
        if len(path) > 1 and path[0] == "points" and isinstance(path[1], int) and path[1] >= self.listed:
            number = path[1] - self.listed
            return self.rows[number] if number < len(self.rows) else None
        return None

    def _of_entry(self, place: Place, path: KeyPath) -> Place:
        return Place(place.file, place.line, place.column, dotted(("devices", self.index, *path)))


def device(index: int, *, context: Context) -> Device:
    """Validate `devices[index]`, with every mistake in it and in its points file."""
    given = context.resolved.data["devices"][index]
    shown = context.source.data["devices"][index]
    entry = _Entry(context, index, frozenset(context.defaults) - (given.keys() if isinstance(given, dict) else set()))
    if entry.unresolved(()):
        return Device(None, [])
    if not isinstance(given, dict):
        message = "a device is a mapping; write name:, driver:, url: … below the -"
        return Device(None, [problem(entry.place(()), message)])
    data = {**{key: context.defaults[key] for key in entry.defaulted}, **given}
    raw = {**{key: context.source.data["defaults"][key] for key in entry.defaulted}, **shown}

    found = _merge_points(entry, data, raw)
    all_points_known = not found and not entry.unresolved(("points_file",))
    model, unknown = _family(entry, data)
    found += unknown
    outcome = validate(
        model or DeviceSettings,
        data if model else {key: value for key, value in data.items() if key in _COMMON},
        raw=raw,
        locator=entry,
        folder=context.folder,
        known=entry.unresolved,
        hide=entry.hide,
    )
    found += outcome.problems
    if model is not None and all_points_known:
        found += _no_points(entry, model, data)
    found += _points_twice(entry, data)
    return Device(outcome.settings, found)


def _merge_points(entry: _Entry, data: dict[str, Any], raw: dict[str, Any]) -> list[Problem]:
    """Take `points_file` out of the entry and put its rows behind `points`."""
    for one in (data, raw):
        if one.get("points", []) is None:
            one["points"] = []
    points = data.get("points", [])
    entry.listed = len(points) if isinstance(points, list) else 0
    if "points_file" not in data:
        return []
    name = data.pop("points_file")
    written = raw.pop("points_file")
    place = entry.place(("points_file",))
    if entry.unresolved(("points_file",)):
        return []
    if not isinstance(name, str) or not name:
        return [problem(place, "must be the name of a CSV file")]
    try:
        entry.rows = points_file.read(entry.context.folder / name, file=str(entry.context.shown_folder / written))
    except ConfigError as error:
        return [each if each.line else problem(place, f"{each.file}: {each.message}") for each in error.problems]
    if isinstance(points, list):
        rows = [row.data for row in entry.rows]
        data["points"] = [*points, *rows]
        raw["points"] = [*raw.get("points", []), *rows]
    return []


def _family(entry: _Entry, data: dict[str, Any]) -> tuple[type[DeviceSettings] | None, list[Problem]]:
    """The settings model of the entry's driver; None when there is no such driver."""
    driver = data.get("driver")
    if entry.unresolved(("driver",)) or not isinstance(driver, str):
        return None, []
    place = entry.place(("driver",))
    try:
        return registry.family(driver).settings, []
    except registry.UnknownDriver:
        names = registry.names()
        hint = did_you_mean(driver, names) or f"; there is {', '.join(names)}"
        return None, [problem(place, f"{quoted(driver)} is not a driver{hint}")]
    except (ImportError, AttributeError) as error:
        return None, [problem(place, f"the driver {quoted(driver)} cannot be loaded: {error}")]


def _no_points(entry: _Entry, model: type[DeviceSettings], data: dict[str, Any]) -> list[Problem]:
    fixed = model.model_fields["points"].get_default(call_default_factory=True)
    if data.get("points") == [] or ("points" not in data and not fixed):
        return [problem(entry.place(("points",)), "the device has no points; list them in points: or a points_file:")]
    return []


def _points_twice(entry: _Entry, data: dict[str, Any]) -> list[Problem]:
    return twice(names_in(data.get("points"), ("points",)), locator=entry, hide=entry.hide)


def names_in(entries: Any, path: KeyPath) -> list[tuple[str, KeyPath]]:
    """The names of the entries of the list at `path`, each with its own path. Whatever has none is left out."""
    return [
        (entry["name"], (*path, index, "name"))
        for index, entry in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    ]


def twice(names: list[tuple[str, KeyPath]], *, locator: Locator, hide: Callable[[str, KeyPath], str]) -> list[Problem]:
    """A problem for each name that an earlier one has taken."""
    first: dict[str, KeyPath] = {}
    found = []
    for name, path in names:
        taken = first.setdefault(name, path)
        if taken is not path:
            place = locator.place(path)
            message = f"{quoted(hide(name, path))} is taken already, {_from(place, locator.place(taken))}"
            found.append(problem(place, message))
    return found


def _from(place: Place, taken: Place) -> str:
    if taken.file != place.file:
        return f"in {taken.file}:{taken.line}"
    if (taken.line, taken.column) == (place.line, place.column):
        return f"by {taken.path}, whose text an alias (*name) repeats here"
    return f"in line {taken.line}"

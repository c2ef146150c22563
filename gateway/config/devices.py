"""The entries of `devices:`, each with `defaults:`, profile and points file merged in, validated by its driver family.

What an entry says wins over its profile, and that over `defaults:`. Points of the entry and of its points file follow
those of the profile, and one that has the name of a profile's point takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers import registry
from drivers.settings import DeviceSettings
from gateway.config import points_file
from gateway.config.entry import Context, Entry, Nth
from gateway.config.points_file import Row
from gateway.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, problem, quoted
from gateway.config.profiles import UnknownProfile
from gateway.config.validate import Locator, validate

_COMMON = DeviceSettings.model_fields.keys() - {"points"}


@dataclass(frozen=True, slots=True)
class Device:
    """One entry: its settings, or None and why."""

    settings: DeviceSettings | None
    problems: list[Problem]


def device(index: int, *, context: Context) -> Device:
    """Validate `devices[index]`, with every mistake in it and in its points file."""
    given = context.resolved.data["devices"][index]
    shown = context.source.data["devices"][index]
    entry = Entry(context, index)
    if entry.unresolved(()):
        return Device(None, [])
    if not isinstance(given, dict):
        message = "a device is a mapping; write name:, driver:, url: … below the -"
        return Device(None, [problem(entry.place(()), message)])
    data, raw = dict(given), dict(shown)
    found = _take_profile(entry, data, raw)
    profile_is_lost = "profile" in given and entry.profile is None
    entry.defaulted = frozenset(context.defaults) - data.keys()
    data = {**{key: context.defaults[key] for key in entry.defaulted}, **data}
    raw = {**{key: context.source.data["defaults"][key] for key in entry.defaulted}, **raw}

    found += _merge_points(entry, data, raw)
    all_points_known = not found and not profile_is_lost and not entry.unresolved(("points_file",))
    model, unknown = _family(entry, data)
    found += unknown
    outcome = validate(
        model or DeviceSettings,
        data if model else {key: value for key, value in data.items() if key in _COMMON},
        raw=raw,
        locator=entry,
        folder=context.folder,
        known=lambda path: entry.unresolved(path) or (profile_is_lost and path == ("driver",)),
        hide=entry.hide,
    )
    found += outcome.problems
    if model is not None and all_points_known:
        found += _no_points(entry, model, data)
    found += _points_twice(entry, data)
    return Device(outcome.settings, found)


def _take_profile(entry: Entry, data: dict[str, Any], raw: dict[str, Any]) -> list[Problem]:
    """Take `profile` out of the entry and put its settings below the entry's own."""
    if "profile" not in data:
        return []
    name = data.pop("profile")
    written = raw.pop("profile")
    place = entry.place(("profile",))
    if entry.unresolved(("profile",)):
        return []
    if not isinstance(name, str) or not name:
        return [problem(place, "must be the name of a profile, or of a YAML file")]
    try:
        profile = entry.context.profiles.find(name, written=written)
    except UnknownProfile as error:
        return [problem(place, str(error))]
    except ConfigError as error:
        return [each if each.line else problem(place, f"{each.file}: {each.message}") for each in error.problems]
    entry.profile = profile
    entry.profiled = frozenset(profile.settings) - data.keys()
    for one in (data, raw):
        one |= {key: profile.settings[key] for key in entry.profiled}
    return _other_driver(entry, data)


def _other_driver(entry: Entry, data: dict[str, Any]) -> list[Problem]:
    assert entry.profile is not None
    driver = entry.profile.settings["driver"]
    if data["driver"] == driver or entry.unresolved(("driver",)):
        return []
    data["driver"] = driver  # what else is wrong is judged by the profile
    return [problem(entry.place(("driver",)), f"the profile is for driver: {driver}; remove this line")]


def _merge_points(entry: Entry, data: dict[str, Any], raw: dict[str, Any]) -> list[Problem]:
    """Make `points` of those of the profile, those of the entry, and the rows of its `points_file`."""
    for one in (data, raw):
        if one.get("points", []) is None:
            one["points"] = []
    rows, found = _rows(entry, data, raw)
    points = data.get("points", [])
    listed = raw.get("points", [])
    if not isinstance(points, list):
        return found
    merged: list[tuple[Nth | Row, Any, Any]] = []
    if entry.profile is not None:
        merged = [(Nth(index, in_profile=True), point, point) for index, point in enumerate(entry.profile.points)]
    inherited = {_name(point): index for index, (_, point, _) in enumerate(merged) if _name(point)}
    own: list[tuple[Nth | Row, Any, Any]] = [
        (Nth(index, in_profile=False), *both) for index, both in enumerate(zip(points, listed, strict=True))
    ]
    own += [(row, row.data, row.data) for row in rows]
    for each in own:
        replaced = inherited.pop(_name(each[1]), None)
        if replaced is None:
            merged.append(each)
        else:
            merged[replaced] = each
    if "points" in data or merged:
        entry.points = [origin for origin, _, _ in merged]
        data["points"] = [point for _, point, _ in merged]
        raw["points"] = [point for _, _, point in merged]
    return found


def _name(point: Any) -> str:
    name = point.get("name") if isinstance(point, dict) else None
    return name if isinstance(name, str) else ""


def _rows(entry: Entry, data: dict[str, Any], raw: dict[str, Any]) -> tuple[list[Row], list[Problem]]:
    """Take `points_file` out of the entry: its rows."""
    if "points_file" not in data:
        return [], []
    name = data.pop("points_file")
    written = raw.pop("points_file")
    place = entry.place(("points_file",))
    if entry.unresolved(("points_file",)):
        return [], []
    if not isinstance(name, str) or not name:
        return [], [problem(place, "must be the name of a CSV file")]
    try:
        rows = points_file.read(entry.context.folder / name, file=str(entry.context.shown_folder / written))
    except ConfigError as error:
        return [], [each if each.line else problem(place, f"{each.file}: {each.message}") for each in error.problems]
    return rows, []


def _family(entry: Entry, data: dict[str, Any]) -> tuple[type[DeviceSettings] | None, list[Problem]]:
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


def _no_points(entry: Entry, model: type[DeviceSettings], data: dict[str, Any]) -> list[Problem]:
    fixed = model.model_fields["points"].get_default(call_default_factory=True)
    if data.get("points") == [] or ("points" not in data and not fixed):
        return [problem(entry.place(("points",)), "the device has no points; list them in points: or a points_file:")]
    return []


def _points_twice(entry: Entry, data: dict[str, Any]) -> list[Problem]:
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

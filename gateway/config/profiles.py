"""Profiles: what is known of a controller, so that a device entry needs its name, its url and `profile:` only.

A profile is a YAML file with the `driver`, any settings of a device but its name and address, its `points`, and `about`
where all that comes from. `docs/profiles.md` is for those who write one. A name without a slash and without `.yaml` is
one of the files that come with the gateway; anything else is a path, from the folder of the config file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.settings import StrictModel
from gateway.config import files
from gateway.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, problem, quoted
from gateway.config.source import MAX_BYTES, Source, parse
from gateway.config.validate import validate

SHIPPED = Path(__file__).parents[1] / "demo_config" / "profiles"
_SUFFIXES = (".yaml", ".yml")
_OF_THE_ENTRY = ("name", "url", "profile", "points_file")


class About(StrictModel):
    """What a profile is for, and why it can be trusted."""

    controller: str
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Head(StrictModel):
    about: About | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A good file, except that its settings and points have not been validated: the device's driver does that."""

    source: Source
    about: About | None
    settings: dict[str, Any]
    points: list[Any]


class UnknownProfile(LookupError):
    """There is no such profile; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The profiles that one config file can name; each is read once."""

    folder: Path
    shown_folder: Path
    """The folder as the person named it, for messages."""
    _read: dict[Path, Profile | ConfigError] = field(default_factory=dict)

    def find(self, name: str, *, written: str) -> Profile:
        """`written` is how the file has the name, before references were filled in: only that is shown. Raises
        `UnknownProfile`, or `ConfigError` with what is wrong inside the file."""
        path, shown = self._path(name, written)
        if path not in self._read:
            try:
                self._read[path] = read_profile(path, file=shown)
            except ConfigError as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, ConfigError):
            raise found
        return found

    def _path(self, name: str, written: str) -> tuple[Path, str]:
        if "/" in name or name.endswith(_SUFFIXES):
            return self.folder / name, str(self.shown_folder / written)
        if name not in shipped():
            hint = did_you_mean(name, shipped()) or f"; there is {', '.join(shipped())}"
            raise UnknownProfile(f"{quoted(written)} is not a profile{hint}; a file of your own is ./{written}.yaml")
        path = SHIPPED / f"{name}.yaml"
        return path, str(path)


def shipped() -> list[str]:
    """The names of the profiles that come with the gateway, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_profile(path: Path, *, file: str) -> Profile:
    """The profile in `path`, which messages call `file`. Raises `ConfigError`."""
    try:
        raw = files.read(path, most_bytes=MAX_BYTES + 1)
    except files.UnreadableFile as error:
        raise ConfigError([problem(Place(file, 0, 0, ""), str(error))]) from error
    source = parse(raw, file=file, sections="keys: about:, driver:, points:")
    data = source.data
    head = validate(
        _Head,
        {"about": data.get("about")},
        raw=data,
        locator=source,
        folder=path.parent,
        known=lambda _: False,
        hide=lambda message, _: message,
    )
    found = [*source.problems, *head.problems, *_misplaced(source)]
    points = data.get("points")
    if points is not None and not isinstance(points, list):
        found.append(problem(source.place(("points",)), "is not a list; start each point with -"))
    if not isinstance(data.get("driver"), str):
        found.append(problem(source.place(("driver",)), "a profile names its driver, for example driver: modbus"))
    if found:
        raise ConfigError(found)
    assert head.settings is not None
    settings = {key: value for key, value in data.items() if key not in {"about", "points"}}
    return Profile(source, head.settings.about, settings, points or [])


def _misplaced(source: Source) -> Iterator[Problem]:
    for key in _OF_THE_ENTRY:
        if key in source.data:
            yield problem(source.key_place((key,)), f"{key} belongs into the device entry, not into its profile")
    for path, text in _texts(source.data, ()):
        if "${" in text:
            yield problem(source.place(path), "nothing is filled in here; put ${…} into the device entry")


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))

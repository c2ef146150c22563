"""One entry of `devices:` with all that is merged into it, and the way back from there to the files it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.points_file import Row
from gateway.config.problems import KeyPath, Place, dotted
from gateway.config.profiles import Profile, Shelf
from gateway.config.references import Resolved
from gateway.config.source import Source


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
    profiles: Shelf


class Nth(NamedTuple):
    """One of the points that the entry lists, or that its profile does."""

    number: int
    in_profile: bool


@dataclass(slots=True)
class Entry:
    """One entry of `devices:` with all that belongs to it. Paths are relative to the entry, everything merged."""

    context: Context
    index: int
    defaulted: frozenset[str] = frozenset()
    profiled: frozenset[str] = frozenset()
    """The keys that the profile gave."""
    profile: Profile | None = None
    points: list[Nth | Row] = field(default_factory=list)
    """Where each point comes from; empty when `points` is no list."""

    def place(self, path: KeyPath) -> Place:
        match self._point(path):
            case Row() as row:
                return row.place(str(path[2]) if len(path) > 2 else None)
        if (found := self._in_profile(path)) is not None:
            profile, inside = found
            return profile.source.place(inside)
        return self._of_entry(self.context.source.place(self.origin(path)), path)

    def key_place(self, path: KeyPath) -> Place:
        match self._point(path):
            case Row() as row if len(path) > 2:
                return row.headings.get(str(path[2])) or row.place(str(path[2]))
        if (found := self._in_profile(path)) is not None:
            profile, inside = found
            return profile.source.key_place(inside)
        return self._of_entry(self.context.source.key_place(self.origin(path)), path)

    def origin(self, path: KeyPath) -> KeyPath:
        """Where in the config file the value at `path` came from; the entry itself when it did not."""
        if path and path[0] in self.defaulted:
            return ("defaults", *path)
        if isinstance(self._point(path), Row) or self._in_profile(path) is not None:
            return ("devices", self.index)
        return ("devices", self.index, *self._own(path))

    def unresolved(self, path: KeyPath) -> bool:
        return self.origin(path) in self.context.resolved.unresolved

    def hide(self, message: str, path: KeyPath) -> str:
        """`message` without the secrets of the entry, nor of the default that `path` leads to."""
        return self.context.resolved.hide(message, self.origin(path))

    def _point(self, path: KeyPath) -> Nth | Row | None:
        if len(path) > 1 and path[0] == "points" and isinstance(path[1], int) and path[1] < len(self.points):
            return self.points[path[1]]
        return None

    def _in_profile(self, path: KeyPath) -> tuple[Profile, KeyPath] | None:
        """The profile and the path in it that `path` leads to; None when it leads elsewhere."""
        if self.profile is None:
            return None
        point = self._point(path)
        if isinstance(point, Nth) and point.in_profile:
            return self.profile, ("points", point.number, *path[2:])
        return (self.profile, path) if path and path[0] in self.profiled else None

    def _own(self, path: KeyPath) -> KeyPath:
        """`path` as the entry itself counts its points."""
        point = self._point(path)
        return ("points", point.number, *path[2:]) if isinstance(point, Nth) else path

    def _of_entry(self, place: Place, path: KeyPath) -> Place:
        return Place(place.file, place.line, place.column, dotted(("devices", self.index, *self._own(path))))

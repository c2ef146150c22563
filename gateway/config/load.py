"""The config file as `Settings`, or every mistake in it at once. Reads files, touches no network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drivers.settings import DeviceSettings
from gateway.config.destination import DEFAULT_PORTS
from gateway.config.devices import device, names_in, twice
from gateway.config.entry import Context
from gateway.config.problems import ConfigError, Place, Problem, problem, quoted
from gateway.config.profiles import Shelf
from gateway.config.references import Resolved, resolve
from gateway.config.settings import DefaultSettings, Document, Settings
from gateway.config.source import MAX_BYTES, Source, parse
from gateway.config.validate import validate
from gateway.links import links


def load(path: Path, *, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read, merge and validate the config file at `path`.

    `environment` is where `${env:}` and `${credential:}` look. Relative paths in the file (profiles, points files,
    certificates, `${file:}`, the buffer) start at its folder. Raises `ConfigError` with every mistake and nothing else.
    """
    source = parse(_read(path), file=str(path))
    folder = path.absolute().parent
    resolved = resolve(source.data, environment=environment, folder=folder)
    found = [*source.problems]
    found += [problem(source.place(at), message) for at, message in resolved.unresolved.items()]

    document = validate(
        Document,
        resolved.data,
        raw=source.data,
        locator=source,
        folder=folder,
        known=resolved.unresolved.__contains__,
        hide=resolved.hide,
    )
    found += document.problems
    bad = {at[1] for at in (*document.paths, *resolved.unresolved) if len(at) > 1 and at[0] == "defaults"}
    defaults = _defaults(resolved.data.get("defaults"), bad=bad)
    context = Context(source, resolved, folder, path.parent, defaults, Shelf(folder, path.parent))
    entries = resolved.data.get("devices")
    devices = [device(index, context=context) for index in range(len(entries))] if isinstance(entries, list) else []
    for each in devices:
        found += each.problems

    found += _names(source, resolved)
    if document.settings is not None:
        found += _same_client(document.settings, source)
    if not found:
        found += _shared_links([each.settings for each in devices if each.settings is not None], source)
    if found:
        raise ConfigError(_in_order(found, first=str(path)))
    assert document.settings is not None
    return Settings(
        gateway=document.settings.gateway,
        buffer=document.settings.buffer,
        destinations=document.settings.destinations,
        http=document.settings.http,
        commands=document.settings.commands,
        devices=tuple(each.settings for each in devices if each.settings is not None),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([problem(Place(str(path), 0, 0, ""), f"the config file cannot be read: {reason}")]) from error


def _defaults(given: Any, *, bad: set[str | int]) -> dict[str, Any]:
    if not isinstance(given, dict):
        return {}
    return {
        key: value
        for key, value in given.items()
        if key in DefaultSettings.model_fields and key not in bad and value is not None
    }


def _names(source: Source, resolved: Resolved) -> list[Problem]:
    destinations = names_in(resolved.data.get("destinations"), ("destinations",))
    devices = names_in(resolved.data.get("devices"), ("devices",))
    message = '"status" is taken: the gateway reports its own status on the topic that such a device would have'
    return [
        *twice(destinations, locator=source, hide=resolved.hide),
        *twice(devices, locator=source, hide=resolved.hide),
        *(problem(source.place(path), message) for name, path in devices if name == "status"),
    ]


def _same_client(document: Document, source: Source) -> list[Problem]:
    """A broker ends the older of two connections that share a client identifier, so two destinations would fight."""
    taken: dict[tuple[str | None, int, str], int] = {}
    destinations = document.destinations
    found = []
    for index, destination in enumerate(destinations):
        url = urlsplit(destination.url)
        client_id = destination.client_id or document.gateway.client_id
        key = (url.hostname, url.port or DEFAULT_PORTS[url.scheme], client_id)
        first = taken.setdefault(key, index)
        if first != index:
            twin = quoted(destinations[first].name)
            message = f"is the broker of {twin} too, with the same client_id; give one of them its own client_id:"
            found.append(problem(source.place(("destinations", index, "url")), message))
    return found


def _shared_links(devices: Sequence[DeviceSettings], source: Source) -> list[Problem]:
    """What only the devices of one link together can have wrong, such as two speeds on one serial line."""
    indices = {device.name: index for index, device in enumerate(devices)}
    found = []
    for link in links(devices):
        try:
            link.open_driver(state_folder=Path())
        except ValueError as error:
            found.append(problem(source.place(("devices", indices[link.devices[-1].name], "url")), str(error)))
    return found


def _in_order(found: Iterable[Problem], *, first: str) -> list[Problem]:
    """Once each; the config file before profiles and points files, top to bottom."""
    return sorted(dict.fromkeys(found), key=lambda each: (each.file != first, each.file, each.line, each.column))

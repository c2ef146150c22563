"""How a layout says much with little: entries that repeat, and endpoints written beside their machine. Pure.

An entry of a list with `repeat: {line: 20}` stands for twenty, in which `{line}` (or `{line:02}`) in any text is 1 to
20. Several names repeat for every combination. Entries within it may repeat too.

A machine may have `endpoints`: each goes to the layout's own list with the machine filled in, and with the machine's
name unless it has one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

_PLACE = re.compile(r"\{(\w+)(?::(0?\d+))?\}")
MOST = 10_000
_BESIDE_THE_LINES = ("platforms", "doors")


class RepeatError(ValueError):
    """An entry cannot be repeated as it asks to be."""


def expand(document: Any, *, fraction: float = 1.0) -> Any:
    """`document` with everything repeated that wants to be. Raises `RepeatError`.

    With a `fraction` the entries of the top-level lists repeat only that share of their number, rounded up.
    """
    if not isinstance(document, dict):
        return document
    return {key: _expand(value, {}, fraction) for key, value in document.items()}


def once(document: Any) -> Any:
    """`document` with every entry that repeats there once, which has the same mistakes only once."""
    return _expand(document, {}, 0.0, inner=0.0)


def repeats(document: Any) -> bool:
    """Whether a fraction of `document` is less than the whole."""
    return isinstance(document, dict) and any(
        isinstance(entry, dict) and "repeat" in entry
        for entries in document.values()
        if isinstance(entries, list)
        for entry in entries
    )


def hoist(document: Any) -> Any:
    """`document` with the endpoints of machines in its own list of endpoints."""
    if not isinstance(document, dict):
        return document
    found: list[Any] = []
    lifted = dict(document)
    for key in _BESIDE_THE_LINES:
        if _has_list(document, key):
            lifted[key] = _lift(document[key], found)
    if _has_list(document, "lines"):
        lifted["lines"] = [
            {**line, "machines": _lift(line["machines"], found)} if _has_list(line, "machines") else line
            for line in document["lines"]
        ]
    if found and isinstance(document.get("endpoints", []), list):
        lifted["endpoints"] = [*document.get("endpoints", []), *found]
    return lifted


def _expand(node: Any, names: Mapping[str, int], fraction: float, *, inner: float = 1.0) -> Any:
    if isinstance(node, str):
        return _PLACE.sub(lambda place: _filled(place, names), node)
    if isinstance(node, list):
        expanded = []
        for entry in node:
            if isinstance(entry, dict) and "repeat" in entry:
                rest = {key: value for key, value in entry.items() if key != "repeat"}
                combinations = _combinations(entry["repeat"], fraction)
                expanded += [_expand(rest, {**names, **more}, inner, inner=inner) for more in combinations]
            else:
                expanded.append(_expand(entry, names, inner, inner=inner))
        return expanded
    if isinstance(node, dict):
        return {key: _expand(value, names, inner, inner=inner) for key, value in node.items()}
    return node


def _filled(place: re.Match[str], names: Mapping[str, int]) -> str:
    if place[1] not in names:
        known = ", ".join(f"{{{name}}}" for name in names) or "nothing"
        raise RepeatError(f'"{place.string}": nothing called "{place[1]}" is repeated here; there is {known}')
    return format(names[place[1]], place[2] or "")


def _combinations(repeat: Any, fraction: float) -> Iterator[dict[str, int]]:
    if not isinstance(repeat, dict) or not repeat or not all(_is_count(count) for count in repeat.values()):
        raise RepeatError(f"repeat: {repeat!r} must be like {{line: 20}}, with numbers from 1 to {MOST}")
    counts = [range(1, max(1, math.ceil(count * fraction - 1e-9)) + 1) for count in repeat.values()]
    for numbers in product(*counts):
        yield dict(zip(repeat, numbers, strict=True))


def _is_count(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST


def _has_list(node: Any, key: str) -> bool:
    return isinstance(node, dict) and isinstance(node.get(key), list)


def _lift(machines: list[Any], found: list[Any]) -> list[Any]:
    lifted = []
    for machine in machines:
        if not _has_list(machine, "endpoints"):
            lifted.append(machine)
            continue
        name = machine.get("name")
        for endpoint in machine["endpoints"]:
            if isinstance(endpoint, dict):
                is_modbus = str(endpoint.get("kind")).startswith("modbus")
                target = {"units": {1: name}} if is_modbus else {"machine": name}
                found.append({"name": name, **target, **endpoint})
            else:
                found.append(endpoint)
        lifted.append({key: value for key, value in machine.items() if key != "endpoints"})
    return lifted

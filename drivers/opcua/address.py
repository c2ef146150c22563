"""How a config names a node, and a part of its value. Pure; loads no asyncua.

A node id is written as OPC UA Part 6, 5.3.1.10 and 5.3.1.11 have it: `ns=2;s=Speed`, `nsu=urn:hub:conveyor;i=17`. The
index of a namespace may change with every start of a server, its URI does not.

A browse path is `/Objects/2:Machine/Speed`, from the root folder along hierarchical references: the relative path of
Part 4, annex A.2, with `/` alone. A step may name its namespace by index (`2:Machine`) or by URI
(`nsu=urn:hub:conveyor;Machine`, Part 6, 5.1.14); one that does not is in the namespace of the step before it. `&` takes
the meaning from the character after it: `a&/b` is one name.
"""

from __future__ import annotations

import base64
import re
from binascii import Error as Base64Error
from dataclasses import dataclass
from uuid import UUID

_LARGEST_INDEX = 0xFFFF
_LARGEST_NUMBER = 0xFFFFFFFF
_NODE = re.compile(r"(?:ns=([0-9]{1,5});|nsu=([^;]+);)?([isgb])=(.+)", re.DOTALL)
_STEP = re.compile(r"(?:([0-9]{1,5}):|nsu=([^;]+);)?((?:[^/&]|&.)+)(/|\Z)", re.DOTALL)
_PART = re.compile(r"\[([0-9]{1,9})\]|(?:\A|(?<=.)\.)([^.\[\]]+)", re.DOTALL)
_EXAMPLE = "write for example nsu=urn:hub:conveyor;s=Speed, ns=2;i=17 or /Objects/2:Machine/Speed"

Namespace = int | str
"""An index into the namespace array of the server, or a URI in it."""

Part = tuple[int | str, ...]
"""From a whole value to what is wanted of it: indices into arrays and names of fields."""


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node id."""

    namespace: Namespace
    identifier: int | str | UUID | bytes

    def __str__(self) -> str:
        return f"{_namespace_text(self.namespace)}{_identifier_text(self.identifier)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One browse name of a path."""

    namespace: Namespace
    name: str

    def __str__(self) -> str:
        name = re.sub(r"[&/]", r"&\g<0>", self.name)
        return (
            f"nsu={_escaped(self.namespace)};{name}" if isinstance(self.namespace, str) else f"{self.namespace}:{name}"
        )


@dataclass(frozen=True, slots=True)
class PathAddress:
    """Browse names from the root folder on."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "".join(f"/{step}" for step in self.steps)


Address = NodeAddress | PathAddress


def parse_address(text: str) -> Address:
    """A node id or a browse path. Raises ValueError in words for the person who wrote it."""
    return _path(text) if text.startswith("/") else _node(text)


def parse_part(text: str) -> Part:
    """`[2]`, `Speed`, `Axes[1].Position`, `[0][3]`; nothing for the whole value. Raises ValueError."""
    found: list[int | str] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(f'"{text}" is no part of a value; write for example [2], Speed or Axes[1].Position')
        found.append(int(match[1]) if match[1] is not None else match[2])
        at = match.end()
    return tuple(found)


def part_text(part: Part) -> str:
    """The inverse of `parse_part`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in part).removeprefix(".")


def _node(text: str) -> NodeAddress:
    if text.startswith("svr="):
        raise ValueError(f'"{text}" is on another server; name that server in the url of a device')
    match = _NODE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a node; {_EXAMPLE}')
    index, uri, kind, value = match.groups()
    return NodeAddress(_namespace(index, uri), _identifier(kind, value))


def _identifier(kind: str, text: str) -> int | str | UUID | bytes:
    match kind:
        case "s":
            return text
        case "i":
            if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST_NUMBER):
                raise ValueError(f'"i={text}" is not a numeric node id; they are 0 to {_LARGEST_NUMBER}')
            return int(text)
        case "g":
            try:
                return UUID(text)
            except ValueError:
                raise ValueError(f'"g={text}" is not a GUID') from None
    try:
        return base64.b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise ValueError(f'"b={text}" is not base64') from None


def _path(text: str) -> PathAddress:
    steps: list[Step] = []
    at = 1
    namespace: Namespace = 0
    while True:
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(f'"{text}" is not a browse path; {_EXAMPLE}')
        if match[1] is not None or match[2] is not None:
            namespace = _namespace(match[1], match[2])
        steps.append(Step(namespace, re.sub(r"&(.)", r"\1", match[3], flags=re.DOTALL)))
        at = match.end()
        if not match[4]:
            return PathAddress(tuple(steps))


def _namespace(index: str | None, uri: str | None) -> Namespace:
    if uri is not None:
        return uri.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
    number = int(index or 0)
    if number > _LARGEST_INDEX:
        raise ValueError(f"{number} is not the index of a namespace; they are 0 to {_LARGEST_INDEX}")
    return number


def _escaped(uri: str) -> str:
    """Part 6, 5.3.1.11: a `;` would end the URI."""
    return uri.replace("%", "%25").replace(";", "%3B")


def _namespace_text(namespace: Namespace) -> str:
    if isinstance(namespace, str):
        return f"nsu={_escaped(namespace)};"
    return f"ns={namespace};" if namespace else ""


def _identifier_text(identifier: int | str | UUID | bytes) -> str:
    match identifier:
        case int():
            return f"i={identifier}"
        case str():
            return f"s={identifier}"
        case UUID():
            return f"g={identifier}"
    return f"b={base64.b64encode(identifier).decode()}"

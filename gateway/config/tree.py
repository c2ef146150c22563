"""YAML events into a tree of which every part knows its line and column, within bounds on depth and size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from gateway.config.problems import ConfigError, KeyPath, Place, Problem, dotted, problem
from gateway.config.scalars import Scalar, plain_scalar

MAX_DEPTH = 50
MAX_VALUES = 1_000_000
TOO_DEEP = f"lists and mappings are nested more than {MAX_DEPTH} deep"
NO_ANCHOR = "nothing above is marked with & and this name; text that starts with * needs quotes"

_HALF = re.compile("[\ud800-\udfff]")
_TAGS = {"str", "int", "float", "bool", "null", "map", "seq"}
_MERGE = "<<"


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping, with the place where it starts. Mappings keep the node of each key too."""

    line: int
    column: int
    content: Scalar | list[Node] | dict[str, tuple[Node, Node]]


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: Node | None = None
    merged: list[Node] = field(default_factory=list)


class Builder:
    """Takes the events of one document and leaves its tree in `root`."""

    def __init__(self, file: str) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """One event more. Raises `ConfigError` for what no config file may have."""
        mark = event.start_mark
        assert mark is not None
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            self._add(Node(line, column, self._scalar(event, line, column)), event.anchor, text=event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= MAX_DEPTH:
                self._refuse(line, column, TOO_DEEP)
            self._check_tag(event.tag, line, column)
            content: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._open.append(_Open(Node(line, column, content), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                self._refuse(line, column, NO_ANCHOR)
            self._add(self._anchors[event.anchor], None, alias=True, at=(line, column))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(line, column, "a config file is one document; remove this --- and what follows")

    def _add(
        self,
        node: Node,
        anchor: str | None,
        *,
        text: str | None = None,
        alias: bool = False,
        at: tuple[int, int] = (0, 0),
    ) -> None:
        self._spend(1, node)
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        content = parent.node.content
        if isinstance(content, list):
            content.append(node)
        elif parent.key is None:
            if isinstance(node.content, list | dict):
                line, column = at if alias else (node.line, node.column)
                self._refuse(line, column, "a key must be text")
            name = text if text is not None else str(node.content)
            parent.key = Node(*at, name) if alias else Node(node.line, node.column, name)
        else:
            self._pair(parent, parent.key, node)
            parent.key = None

    def _pair(self, parent: _Open, key: Node, value: Node) -> None:
        content, name = parent.node.content, key.content
        assert isinstance(content, dict)
        assert isinstance(name, str)
        if name == _MERGE:
            several = value.content if isinstance(value.content, list) else [value]
            if not all(isinstance(one.content, dict) for one in several):
                self._refuse(key.line, key.column, "<< takes a mapping that stands above: <<: *name")
            parent.merged.extend(several)
        elif name in content:
            place = Place(self._file, key.line, key.column, dotted((*self._path(), name)))
            first = content[name][0].line
            self.problems.append(problem(place, f"stands twice; the first is in line {first}"))
        else:
            content[name] = (key, value)

    def _close(self) -> None:
        closed = self._open.pop()
        content = closed.node.content
        for merged in closed.merged:
            assert isinstance(merged.content, dict)
            assert isinstance(content, dict)
            self._spend(len(merged.content), closed.node)
            for name, pair in merged.content.items():
                content.setdefault(name, pair)
        self._add(closed.node, closed.anchor)

    def _path(self) -> KeyPath:
        path: list[str | int] = []
        for parent in self._open[:-1]:
            content = parent.node.content
            if isinstance(content, list):
                path.append(len(content))
            elif parent.key is not None:
                path.append(str(parent.key.content))
        return tuple(path)

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> Scalar:
        text: str = event.value
        if not text.isascii() and _HALF.search(text):
            self._refuse(line, column, "half a character (\\uD800 to \\uDFFF) cannot stand alone")
        tag = self._check_tag(event.tag, line, column)
        if tag == "str":
            return text
        return plain_scalar(text) if event.implicit[0] or tag else text

    def _check_tag(self, tag: str | None, line: int, column: int) -> str:
        name = (tag or "").removeprefix("tag:yaml.org,2002:")
        if name in {"", "!"}:
            return "str" if name else ""
        if name not in _TAGS:
            self._refuse(line, column, "tags are not understood; text that starts with ! needs quotes")
        return name

    def _spend(self, count: int, node: Node) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            self._refuse(node.line, node.column, f"the file has more than {MAX_VALUES} values")

    def _refuse(self, line: int, column: int, message: str) -> NoReturn:
        raise ConfigError([*self.problems, problem(Place(self._file, line, column, ""), message)])


class Plain:
    """Nodes as dicts, lists and scalars, within the bounds even when aliases repeat them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def data(self, node: Node, depth: int = 0) -> Any:
        content = node.content
        if not isinstance(content, dict | list):
            return content
        self._count += len(content)
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            place = Place(self._file, node.line, node.column, "")
            raise ConfigError([problem(place, "aliases (*name) repeat this too often or too deep")])
        if isinstance(content, list):
            return [self.data(item, depth + 1) for item in content]
        return {name: self.data(value, depth + 1) for name, (_, value) in content.items()}

"""YAML text as plain data of which every part knows its line and column.

The tree is built from PyYAML's events rather than by `yaml.compose`: that recurses in C without a limit (a file of
200 000 `- ` crashes the process) and takes longer. Depth and number of values are bounded, counting what aliases and
merge keys (`<<`) repeat. What comes from an alias has the position of its anchor: that is where the mistake is written.
Booleans and numbers follow YAML 1.2 (see `scalars`). A key is always text, as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from gateway.config.problems import ConfigError, KeyPath, Place, Problem, dotted, problem
from gateway.config.tree import NO_ANCHOR, TOO_DEEP, Builder, Node, Plain

MAX_BYTES = 16 * 2**20

_SECTIONS = "sections: gateway:, destinations:, devices:"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINTS = (
    ("mapping values are not allowed", 'a ":" does not belong here; text that contains ": " needs quotes'),
    ("found character that cannot start any token", "text cannot start with this character unless it is in quotes"),
    ("could not find expected ':'", 'a ":" is missing; each line of a mapping is "key: value"'),
    ("did not find expected key", "the indentation does not fit, or a comma or bracket is missing above"),
    ("did not find expected '-' indicator", "the indentation does not fit the list above"),
    ("did not find expected node content", "something is missing here, or there is a comma too many"),
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("undefined alias", NO_ANCHOR),
    ("exceeded maximum nesting depth", TOO_DEEP),
)


class Source:
    """A config file's text as `data`, with the way back to its lines. `problems` are keys that stand twice."""

    def __init__(self, file: str, root: Node, problems: list[Problem]) -> None:
        self._file = file
        self._root = root
        self.problems = problems
        self.data: dict[str, Any] = Plain(file).data(root)

    def place(self, path: KeyPath) -> Place:
        """Where the value at `path` starts, or the innermost part of `path` that exists."""
        node = self._root
        for _, _, node in self._walk(path):  # noqa: B007 - the last one counts
            pass
        return Place(self._file, node.line, node.column, dotted(path))

    def key_place(self, path: KeyPath) -> Place:
        """Where the last key of `path` stands, or the innermost part of `path` that exists."""
        node = self._root
        for _, node, _ in self._walk(path):  # noqa: B007 - the last one counts
            pass
        return Place(self._file, node.line, node.column, dotted(path))

    def _walk(self, path: KeyPath) -> Iterator[tuple[str | int, Node, Node]]:
        node = self._root
        for part in path:
            content = node.content
            if isinstance(content, dict) and part in content:
                key, node = content[str(part)]
            elif isinstance(content, list) and isinstance(part, int) and part < len(content):
                key = node = content[part]
            else:
                return
            yield part, key, node


def parse(raw: bytes, *, file: str, sections: str = _SECTIONS) -> Source:
    """Read YAML in UTF-8. Raises `ConfigError` for what is no YAML, beyond the bounds above, or not of `sections`."""
    text = _text(raw, file)
    builder = Builder(file)
    try:
        for event in yaml.parse(text, _Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([*builder.problems, problem(_place_of(error, file), _reason(error, text))]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError([problem(Place(file, 1, 1, ""), f"this is not YAML: {error}")]) from error
    root = builder.root
    if root is None or root.content is None:
        raise ConfigError([problem(Place(file, 1, 1, ""), "the file is empty")])
    if not isinstance(root.content, dict):
        place = Place(file, root.line, root.column, "")
        raise ConfigError([problem(place, f"the file must consist of {sections} …")])
    return Source(file, root, builder.problems)


def _text(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise ConfigError([problem(Place(file, 0, 0, ""), f"is larger than {MAX_BYTES // 2**20} MiB")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8-sig", "replace"))
        message = "the file is not UTF-8 text; save it in the encoding UTF-8"
        raise ConfigError([problem(Place(file, line, column, ""), message)]) from error
    strange = _NOT_YAML.search(text)
    if strange:
        line, column = _position(text[: strange.start()])
        message = f"the character U+{ord(strange[0]):04X} cannot stand in a config file"
        raise ConfigError([problem(Place(file, line, column, ""), message)])
    return text


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _place_of(error: yaml.MarkedYAMLError, file: str) -> Place:
    mark = error.problem_mark or error.context_mark
    return Place(file, mark.line + 1, mark.column + 1, "") if mark else Place(file, 1, 1, "")


def _reason(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.split("\n")
    if mark is not None and mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
        return "a tab stands in the indentation; use spaces"
    reason = f"{error.problem or error.context}"
    for phrase, hint in _HINTS:
        if phrase in reason:
            return hint
    return f"this is not YAML: {reason}"

"""What is wrong with a config file, and where: the one exception of this room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of the document: `("devices", 2, "points", 0, "type")`."""

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person has to look. `line` and `column` count from 1; 0 means the file as a whole.

    In a points file, `column` counts the characters of the line and `path` is the heading of the column.
    """

    file: str
    line: int
    column: int
    path: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, written `hub.yaml:31:14: devices[2].points[0].type: "flot32" is not a type; …`."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (position, self.path, self.message) if part)


class ConfigError(Exception):
    """The config cannot be used. `problems` has every mistake that was found, top to bottom; at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def problem(place: Place, message: str) -> Problem:
    """`message` at `place`, with what a terminal cannot show written as escapes."""
    return Problem(place.file, place.line, place.column, printable(place.path), printable(message))


def dotted(path: KeyPath) -> str:
    """`("devices", 2, "name")` as `devices[2].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean "…"?` for the choice that looks most like `word`; empty when none does."""
    known = {choice.lower(): choice for choice in choices}
    close = get_close_matches(word.lower()[:_LONGEST_SHOWN], known, n=1)
    return f'; did you mean "{known[close[0]]}"?' if close else ""


def quoted(text: str) -> str:
    """`text` in quotes, cut when it is long."""
    return f'"{text}"' if len(text) <= _LONGEST_SHOWN else f'"{text[:_LONGEST_SHOWN]}…"'


def printable(text: str) -> str:
    """`text` with control characters and half surrogates as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

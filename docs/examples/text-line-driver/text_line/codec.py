"""Lines of text ↔ values. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.model import Value

LONGEST_BYTES = 256
_LINE = re.compile(r"(?P<key>[A-Za-z0-9_]+)=(?P<text>[^\r\n]*)\r?\n", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_SWITCHES = {"on": True, "off": False}


def question(key: str) -> bytes:
    """Asks for a value."""
    return f"{key}?\n".encode("ascii")


def order(key: str, value: Value) -> bytes:
    """Tells the device to hold a value. Raises ValueError, in words for the sender, for one that it cannot hold."""
    if isinstance(value, bool):
        text = "on" if value else "off"
    elif isinstance(value, int | float | Decimal):
        text = f"{Decimal(str(value)):f}"
    else:
        text = ""
    if text not in {"on", "off"} and not _NUMBER.fullmatch(text):
        raise ValueError(f"{key} takes true, false or a number of at most 30 digits on each side of its point")
    return f"{key}={text}\n".encode("ascii")


def parse(line: bytes) -> tuple[str, str]:
    """The key and the text of a line. Raises ValueError for what is none."""
    match = _LINE.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        raise ValueError(f"{line[:40]!r} is no line of the form key=value")
    return match["key"], match["text"]


def value(text: str) -> Value:
    """The value that a text means, with the digits that it has. Raises ValueError."""
    if text in _SWITCHES:
        return _SWITCHES[text]
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is neither a number nor on or off")
    return Decimal(text)

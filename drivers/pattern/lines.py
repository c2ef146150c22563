"""Lines out of a stream of bytes."""

from __future__ import annotations

import re
from enum import Enum

LONGEST_LINE_BYTES = 256

_ENDS = re.compile(rb"[\r\n\x02\x03]+")
"""CR, LF, STX and ETX each end a line; devices use them alone and together, around a line and after it."""


class _Inside(Enum):
    LINE = "a line from its start"
    UNKNOWN = "something whose start was not seen"
    OVERLONG = "a line that is too long"


class LineSplitter:
    """Cuts a stream into lines, however it is cut into pieces. Keeps at most `longest` bytes.

    `joined`: the stream may have been joined in the middle of a line, so that what comes before the first end of a line
    is dropped. Half a line can look like a whole one with a smaller number in it.
    """

    def __init__(self, *, longest: int = LONGEST_LINE_BYTES, joined: bool = False) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._inside = _Inside.UNKNOWN if joined else _Inside.LINE

    @property
    def is_between(self) -> bool:
        """Whether the next byte is the first of a line, as far as can be known."""
        return self._inside is _Inside.LINE and not self._rest

    def feed(self, data: bytes) -> list[str | None]:
        """The lines that `data` completes, as Latin-1 and without their ends. Empty ones are left out.

        None stands for a line that was longer than `longest`; its text is gone.
        """
        lines: list[str | None] = []
        start = 0
        for end in _ENDS.finditer(data):
            self._keep(data[start : end.start()])
            self._finish(lines)
            start = end.end()
        self._keep(data[start:])
        return lines

    def drop_line(self) -> None:
        """Drop what has come of an unfinished line, and the rest of it when that comes."""
        if not self.is_between:
            self._rest.clear()
            self._inside = _Inside.UNKNOWN

    def _keep(self, data: bytes) -> None:
        if self._inside is not _Inside.LINE:
            return
        if len(self._rest) + len(data) > self._longest:
            self._rest.clear()
            self._inside = _Inside.OVERLONG
        else:
            self._rest += data

    def _finish(self, lines: list[str | None]) -> None:
        if self._inside is _Inside.OVERLONG:
            lines.append(None)
        elif self._rest:
            lines.append(self._rest.decode("latin-1"))
        self._rest.clear()
        self._inside = _Inside.LINE

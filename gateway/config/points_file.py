"""Points from a CSV file: a row of headings, which are the keys of a point, then one point in each row.

Commas or semicolons separate the cells (what the headings use), quotes may enclose one, `""` is a quote inside quotes.
Blank rows and rows that start with `#` are skipped; an empty cell is an absent key. Every cell is text, which the
point's own settings turn into numbers. The column of a mistake is where the cell starts in its line, in characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config import files
from gateway.config.problems import ConfigError, Place, problem

MAX_BYTES = 16 * 2**20

_CELL = {
    delimiter: re.compile(
        rf'[ \t]*(?:"(?P<quoted>(?:[^"]|"")*)"[ \t]*|(?P<bare>[^{delimiter}"]*))(?P<end>{delimiter}|$)'
    )
    for delimiter in ",;"
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell's text and its column, counted in characters from 1."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Row:
    """One point. `cells` has a heading for each column, empty cells too."""

    file: str
    line: int
    headings: dict[str, Place]
    cells: dict[str, Cell]

    @property
    def data(self) -> dict[str, str]:
        """The keys of the point that the row gives."""
        return {heading: cell.text for heading, cell in self.cells.items() if cell.text}

    def place(self, key: str | None = None) -> Place:
        """Where the value of `key` stands. The headings when there is no such column; the row as a whole for None."""
        if key is None:
            return Place(self.file, self.line, 1, "")
        if key in self.headings:
            return Place(self.file, self.line, self.cells[key].column if key in self.cells else 1, key)
        first = next(iter(self.headings.values()))
        return Place(self.file, first.line, 1, key)


def read(path: Path, *, file: str) -> list[Row]:
    """The points of `path`, which messages call `file`. Raises `ConfigError`, whose places are in the points file."""
    lines = list(_lines(_text(path, file)))
    if not lines:
        raise ConfigError([problem(Place(file, 1, 1, ""), "has no row of headings: name,address,type …")])
    header_line, header = lines[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    found = []
    headings: dict[str, Place] = {}
    for cell in _cells(header, delimiter, Place(file, header_line, 1, "")):
        place = Place(file, header_line, cell.column, cell.text)
        if not cell.text:
            continue
        if cell.text in headings:
            found.append(problem(place, "this heading stands twice"))
        headings.setdefault(cell.text, place)
    order = [cell.text for cell in _cells(header, delimiter, Place(file, header_line, 1, ""))]
    rows = []
    for line, text in lines[1:]:
        try:
            cells = _cells(text, delimiter, Place(file, line, 1, ""))
        except ConfigError as error:
            found.extend(error.problems)
            continue
        if not any(cell.text for cell in cells):
            continue
        stray = next((cell for cell, heading in _paired(cells, order) if cell.text and not heading), None)
        if stray is not None:
            found.append(problem(Place(file, line, stray.column, ""), "this cell has no heading above it"))
        rows.append(
            Row(file, line, headings, {heading: cell for cell, heading in reversed(_paired(cells, order)) if heading})
        )
    if found:
        raise ConfigError(found)
    return rows


def _paired(cells: list[Cell], order: list[str]) -> list[tuple[Cell, str]]:
    return [(cell, order[index] if index < len(order) else "") for index, cell in enumerate(cells)]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip(" \t,;") and not line.lstrip().startswith("#"):
            yield number, line


def _cells(line: str, delimiter: str, place: Place) -> list[Cell]:
    cells = []
    position = 0
    while True:
        match = _CELL[delimiter].match(line, position)
        if match is None:
            message = 'a quote (") is not closed in this line, or text stands beside it'
            raise ConfigError([problem(Place(place.file, place.line, position + 1, ""), message)])
        quoted = match["quoted"]
        text = match["bare"].strip() if quoted is None else quoted.replace('""', '"')
        start = match.start("bare") if quoted is None else match.start("quoted") - 1
        cells.append(Cell(text, start + 1))
        if not match["end"]:
            return cells
        position = match.end()


def _text(path: Path, file: str) -> str:
    try:
        raw = files.read(path, most_bytes=MAX_BYTES + 1)
    except files.UnreadableFile as error:
        raise ConfigError([problem(Place(file, 0, 0, ""), str(error))]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([problem(Place(file, 0, 0, ""), f"is larger than {MAX_BYTES // 2**20} MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = 'the file is not UTF-8 text; in Excel, save it as "CSV UTF-8"'
        raise ConfigError([problem(Place(file, line, 1, ""), message)]) from error

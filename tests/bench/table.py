"""What a measurement prints: rows of what was measured, the figure, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable

Row = tuple[str, str, str]


def show(rows: Iterable[Row]) -> None:
    for what, figure, beside in rows:
        print(f"{what:<30} {figure:<44} {beside}".rstrip())

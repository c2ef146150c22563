"""A wall clock that a test sets, for processes that it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class WallClock:
    """The wall clock that a process sees: the real one and an offset. Everybody else's is left alone."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "clock"
        self._library = folder / "wall_clock.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self._library, source], check=True)
        self._offset.write_bytes(bytes(8))

    def jump(self, offset_s: int) -> None:
        """The offset from the real time, from now on."""
        with self._offset.open("r+b", buffering=0) as file:
            file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))

    def environment(self) -> dict[str, str]:
        """What a process needs in order to see it."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._offset)}

"""Files that a config names: what is in them, or why that cannot be had."""

from __future__ import annotations

import stat
from pathlib import Path


class UnreadableFile(Exception):
    """The message says why, in words that follow the name of the file and a colon."""


def read(path: Path, *, most_bytes: int) -> bytes:
    """The first `most_bytes` of a file, or all of it. Raises `UnreadableFile`, and nothing else.

    What is there but is no regular file, such as a device without an end, is not opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableFile("is not a file")
        with path.open("rb") as file:
            return file.read(most_bytes)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableFile("there is no such file") from error
    except PermissionError as error:
        raise UnreadableFile(
            f"cannot be read: {error.strerror}; let the gateway's user read it and enter its folder"
        ) from error
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror}") from error

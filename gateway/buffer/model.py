"""What the buffer hands out and what it raises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.model import Reading


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A committed reading and its position, which only grows and is never used twice within an epoch."""

    position: int
    reading: Reading


class BufferUnavailable(Exception):
    """The buffer cannot be opened. `message` says what was attempted and what came back, `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class UnknownDestination(Exception):
    """Something was asked of the buffer for a destination that it, or the config, does not have; `known` are those that
    there are."""

    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f'{where} knows no destination "{name}"; it knows {", ".join(known) or "none"}')


class StoreFailed(Exception):
    """An operation on the open database failed. Nothing of it was committed; it may succeed later.

    `damaged`: the file does not hold what was written to it. `io_error`: the disk did not do what it was asked to.
    `disk_full`: it has no room for this.
    """

    def __init__(
        self, message: str, *, hint: str, damaged: bool = False, io_error: bool = False, disk_full: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.damaged = damaged
        self.io_error = io_error
        self.disk_full = disk_full

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class RowsMissing(StoreFailed):
    """There are fewer readings than somebody waits for, though the database can be read: a damaged page may lead past
    others."""

    def __init__(self) -> None:
        super().__init__(
            "readings that are waited for are missing in the buffer",
            hint="it is moved aside and salvaged; check the disk that it is on",
            damaged=True,
        )


class StoreClosed(StoreFailed):
    """The database is being repaired, or could not be opened again."""

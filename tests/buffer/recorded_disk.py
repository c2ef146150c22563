"""What a recorded disk (`disk.c`) holds after a power cut at any point.

The model is harsher than file systems are. What was written to a file since its last sync may be there or not, sector
by sector; a truncation likewise. Of what has happened to the directory since its last sync, any first part may be
there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    """create, write, truncate, sync, unlink, rename"""
    name: str
    inode: int
    offset: int
    data: bytes


class Unsynced(Enum):
    """What becomes of it in a power cut."""

    GONE = "gone"
    THERE = "there"
    ANY = "any"


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    since: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        for event in self.since:
            _apply(self.synced, event)
        self.since.clear()

    def after_cut(self, unsynced: Unsynced, draw: random.Random) -> bytes:
        content = bytearray(self.synced)
        for event in self.since:
            if unsynced is Unsynced.THERE:
                _apply(content, event)
            elif unsynced is Unsynced.ANY:
                for part in _sectors(event):
                    if draw.random() < 0.5:
                        _apply(content, part)
        return bytes(content)


class RecordedDisk:
    """The disk while the record goes on."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._synced: dict[str, int] = {}
        self._since: list[Event] = []

    def happens(self, event: Event) -> None:
        if event.kind in ("create", "unlink", "rename"):
            if event.kind == "create":
                self._files[event.inode] = _File()
            self._since.append(event)
        elif event.kind == "sync" and event.name == ".":
            for one in self._since:
                _enter(self._synced, one)
            self._since.clear()
        elif event.kind == "sync":
            self._files[event.inode].sync()
        else:
            self._files[event.inode].since.append(event)

    @staticmethod
    def holding(folder: Path) -> RecordedDisk:
        """Everything in `folder` has been there for long."""
        disk = RecordedDisk()
        for path in folder.iterdir():
            inode = path.stat().st_ino
            disk._files[inode] = _File(bytearray(path.read_bytes()))
            disk._synced[path.name] = inode
        return disk

    def cut(self, folder: Path, unsynced: Unsynced, draw: random.Random) -> None:
        """Let `folder` hold what is left, and nothing else."""
        for path in folder.iterdir():
            path.unlink()
        names = dict(self._synced)
        for event in self._since:
            if unsynced is Unsynced.THERE or (unsynced is Unsynced.ANY and draw.random() < 0.5):
                _enter(names, event)
        for name, inode in names.items():
            if not name.endswith("-shm"):  # shared memory, which nobody reads after a start of the machine
                (folder / name).write_bytes(self._files[inode].after_cut(unsynced, draw))


def read_record(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        while header := file.readline():
            kind, name, inode, offset, length = header.decode().split()
            yield Event(kind, name, int(inode), int(offset), file.read(int(length)))


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
    else:
        content.extend(bytes(max(0, event.offset - len(content))))
        content[event.offset : event.offset + len(event.data)] = event.data


def _sectors(event: Event) -> Iterator[Event]:
    if event.kind == "truncate":
        yield event
        return
    start, end = event.offset, event.offset + len(event.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield Event("write", event.name, event.inode, start, event.data[start - event.offset : stop - event.offset])
        start = stop


def _enter(names: dict[str, int], event: Event) -> None:
    if event.kind == "create":
        names[event.name] = event.inode
    elif event.kind == "rename":
        if event.name in names:
            names[event.data.decode()] = names.pop(event.name)
    else:
        names.pop(event.name, None)

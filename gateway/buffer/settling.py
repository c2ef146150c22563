"""What destinations have done with readings, made durable: acknowledged, set aside, dropped, and then deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gateway.buffer.backlogs import Backlogs
from gateway.buffer.bounds import PAGE_BYTES
from gateway.buffer.drops import DropReason, Drops, Loss
from gateway.buffer.facts import NOTE
from gateway.buffer.model import StoreFailed
from gateway.buffer.places import PlaceRow, encode_place
from gateway.buffer.schema import ORPHANED
from gateway.buffer.settlement import CrowdedOut, SetAside, Settlement
from gateway.buffer.store import Store
from gateway.buffer.timekeeping import Timekeeper


class Returning(NamedTuple):
    """A reading that was set aside and is to be sent again: its id there, its position, and whether it is still held
    for another destination."""

    id: int
    position: int
    exists: bool


class Settler:
    """Writes the backlogs down. Runs inside the writer's task."""

    def __init__(self, *, store: Store, backlogs: Backlogs, drops: Drops, timekeeper: Timekeeper) -> None:
        self.settled = backlogs.changes
        """The `changes` of the backlogs that are durable."""
        self._store = store
        self._backlogs = backlogs
        self._drops = drops
        self._timekeeper = timekeeper
        self._set_aside: list[SetAside] = []
        self._crowded_out: list[CrowdedOut] = []  # counted as lost, still to be deleted
        self._orphaned = bool(backlogs.orphaned)  # whether the database may have a row of that name
        self._doubtful: tuple[str, Sequence[Returning]] | None = None
        self._noted = False
        self.came_back: Callable[[str, Sequence[Returning]], None] = lambda *_: None
        """Called when a destination waits again for what was set aside."""

    @property
    def finished(self) -> bool:
        """Whether everything that has happened is durable."""
        return self.settled == self._backlogs.changes and not self._drops.unsaved

    @property
    def asked(self) -> int:
        """How many readings wait to be set aside. All of them move in one transaction."""
        return len(self._set_aside)

    def add(self, request: SetAside) -> None:
        """Move this reading out of the way of its destination with the next `settle`."""
        self._set_aside.append(request)
        self._backlogs.acknowledge(request.destination, (request.position,))

    @property
    def needed(self) -> list[int]:
        """Positions whose rows are still of use though nobody may wait for them."""
        moving = self._doubtful[1] if self._doubtful is not None else ()
        return [one.position for one in self._set_aside] + [one.position for one in moving]

    def places(self, through: int) -> list[PlaceRow]:
        """Rows of `destination` for a database that takes the place of this one."""
        self._orphaned = self._orphaned or bool(self._backlogs.orphaned)
        return _places_of(self._backlogs, through)

    def forget_note(self) -> None:
        """What a salvage has noted in the database is counted: both become durable together."""
        self._noted = True

    def waits(self, request: SetAside) -> bool:
        """Whether `request` is not durable yet."""
        return request in self._set_aside

    async def settle(
        self, *, through: int, most_rows: int, row_bytes: int, facts: Mapping[str, str], crowded_out: int
    ) -> None:
        """Make it all durable in one transaction; `through` is the highest position committed.

        Up to `most_rows` rows that everybody has acknowledged are deleted with it: the rest stays in `backlogs.done`.
        `row_bytes` is about what a row takes; `facts` are rows of `state`; `crowded_out` set-aside readings
        have to leave.
        """
        await self._dispel_doubt()
        await self._make_room(at_least=crowded_out)
        done = self._backlogs.done.head(most_rows)
        await self._write(
            self._backlogs, through=through, facts=facts, done=done, rows_per_page=PAGE_BYTES // row_bytes
        )
        for first, last in done:
            self._backlogs.done.remove(first, last)

    async def take_back(self, destination: str, returning: Sequence[Returning], *, through: int) -> None:
        """Let `destination` wait again for what was set aside, durable when this returns.

        The database goes first: a `peek` that looked for a row before it is there would take it for dropped.
        """
        await self._dispel_doubt()
        ids = [one.id for one in returning]
        await self._make_room(besides=ids)
        preview = self._backlogs.copy()
        preview.put_back(destination, [(one.position, one.exists) for one in returning])
        self._doubtful = destination, returning
        await self._write(preview, through=through, taken_back=ids)
        self._put_back()

    async def _make_room(self, *, at_least: int = 0, besides: Sequence[int] = ()) -> None:
        """Count as lost what has to leave the set-aside table, besides these ids, which go anyhow. It is deleted in the
        transaction that writes the loss down."""
        if self._crowded_out or not (self.asked or at_least):
            return
        found: list[CrowdedOut] = []
        coming = -1
        while coming != self.asked:  # more may come meanwhile
            coming = self.asked
            found = await self._store.crowded_out(coming=coming, going=besides, at_least=at_least)
        if found:
            self._crowded_out = found
            self._drops.count(DropReason.SET_ASIDE_FULL, _loss_of(found))

    async def _write(
        self,
        backlogs: Backlogs,
        *,
        through: int,
        facts: Mapping[str, str] = MappingProxyType({}),
        done: Sequence[tuple[int, int]] = (),
        rows_per_page: int = 1,
        taken_back: Sequence[int] = (),
    ) -> None:
        """Everything that has happened so far, as these `backlogs` show it: all or nothing, for one part without the
        other would be a silent loss if the gateway ended here."""
        changes = self._backlogs.changes
        set_aside, crowded_out, episodes = list(self._set_aside), self._crowded_out, list(self._drops.unsaved.values())
        dropped, left, orphaned = sorted(backlogs.dropping), set(backlogs.left), bool(backlogs.orphaned)
        gone = {*left, ORPHANED} if self._orphaned and not orphaned else left
        self._orphaned = self._orphaned or orphaned
        note = {NOTE: ""} if self._noted else {}
        await self._store.settle(
            Settlement(
                destinations=_places_of(backlogs, through),
                left=tuple(gone),
                through=through,
                held=backlogs.held,
                set_aside=set_aside,
                episodes=episodes,
                done=done,
                dropped=dropped,
                facts={**facts, **note, "newest_ns": str(self._timekeeper.newest_ns)},
                crowded_out=[one.id for one in crowded_out],
                rows_per_page=rows_per_page,
                taken_back=taken_back,
            )
        )
        del self._set_aside[: len(set_aside)]
        self._crowded_out = []
        self._backlogs.deleted(dropped)
        self._backlogs.left -= left
        self._orphaned = orphaned
        self._noted = self._noted and not note
        self._drops.saved(episodes)
        self.settled = changes

    async def _dispel_doubt(self) -> None:
        """After an error nobody knows whether a commit reached the disk; the table tells."""
        if self._doubtful is None:
            return
        try:
            if await self._store.is_set_aside(self._doubtful[1][0].id):
                self._doubtful = None
        except StoreFailed as failure:
            if not failure.damaged:
                raise
            self._doubtful = None  # what cannot be read was not moved either
        self._put_back()

    def _put_back(self) -> None:
        if self._doubtful is not None:
            destination, returning = self._doubtful
            self._doubtful = None
            self._backlogs.put_back(destination, [(one.position, one.exists) for one in returning])
            self.came_back(destination, returning)


def _loss_of(crowded_out: Sequence[CrowdedOut]) -> Loss:
    refused: dict[str, list[int]] = {}
    for one in crowded_out:
        refused.setdefault(one.destination, []).append(one.position)
    return Loss.at([(one.position, one.observed_at_ns) for one in crowded_out], refused)


def _places_of(backlogs: Backlogs, through: int) -> list[PlaceRow]:
    rows = [encode_place(name, through, one.pending, one.waiting) for name, one in backlogs]
    return [*rows, encode_place(ORPHANED, through, backlogs.orphaned, 0)] if backlogs.orphaned else rows

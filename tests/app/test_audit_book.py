"""What did not arrive is looked up in the buffer: every position has a fate, or is named as unaccounted."""

from __future__ import annotations

import math
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import orjson
import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.audit import Ledger
from gateway.audit.book import Fates, look_up, read_book
from gateway.audit_command import Outcome, accounts_of, outcome
from gateway.buffer import Buffer, BufferUnavailable, UnknownDestination
from gateway.buffer.ranges import Ranges
from gateway.clock import Clock
from gateway.config import BufferSettings, Durability
from gateway.health import BufferHealth
from tests.app.test_audit import message

GROUP = PointGroup("infeed", 1.0, (Point("n"),))
NOW_NS = 1_800_000_000_000_000_000


async def test_every_position_is_waiting_set_aside_skipped_dropped_or_unaccounted(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    settings = BufferSettings(path=path, min_free_disk=0, durability=Durability.PROCESS_CRASH)

    def opened() -> AbstractAsyncContextManager[Buffer]:
        return Buffer.open(
            settings,
            destinations=["a", "b"],
            health=BufferHealth(),
            clock=Clock(wall_ns=lambda: NOW_NS, boot_ns=lambda: 0),
        )

    async def append(buffer: Buffer, count: int) -> None:
        for number in range(count):
            buffer.append(Reading(GROUP, NOW_NS, (number,)))
        await buffer.flush()

    async with opened() as buffer:
        await append(buffer, 6)
        await buffer.set_aside("a", 2, "refused")
        buffer.acknowledge("a", [1, 3])
        buffer.acknowledge("b", range(1, 7))
        await buffer.flush()
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE state SET value = 'another boot' WHERE key = 'running'")
        database.execute(
            "INSERT INTO dropped (reason, readings, first_observed_ns, last_observed_ns, since_ns, until_ns, "
            "first_position, last_position) "
            "VALUES ('max-bytes', 2, 0, 0, 0, 0, 1, 6), ('memory', 9, 0, 0, 0, 0, NULL, NULL)"
        )
        database.commit()
    async with opened() as buffer:
        await append(buffer, 1)
    book = read_book(path, "a")
    assert (book.last_position, list(book.pending)) == (1_000_007, [(4, 6), (1_000_007, 1_000_007)])
    found = look_up(path, "a").account([(1, 1_000_007)])
    assert (found.waiting, found.set_aside, found.skipped, found.dropped) == (4, 1, 1_000_000, 2)
    assert found.unaccounted_count == 0
    assert look_up(path, "b").account([(1, 6)]).unaccounted == ((3, 6),)
    assert look_up(path, "b").account([(1_000_008, 1_000_009)]).unaccounted == (), "taken later"
    with pytest.raises(UnknownDestination, match='knows no destination "c"'):
        look_up(path, "c").account([(1, 1)])


async def test_what_was_dropped_for_another_destination_accounts_for_nothing(tmp_path: Path) -> None:
    path, now_ns = tmp_path / "buffer.db", NOW_NS

    def opened() -> AbstractAsyncContextManager[Buffer]:
        return Buffer.open(
            BufferSettings(path=path, min_free_disk=0, max_age=100.0),
            destinations=["a", "b"],
            health=BufferHealth(),
            clock=Clock(wall_ns=lambda: now_ns, boot_ns=lambda: now_ns),
        )

    async with opened() as buffer:
        for number in range(6):
            buffer.append(Reading(GROUP, now_ns, (number,)))
        await buffer.flush()
        buffer.acknowledge("a", [1, 2, 3, 5, 6])  # and 3 has never arrived
    now_ns += 101 * 10**9
    async with opened() as buffer:
        buffer.append(Reading(GROUP, now_ns, (6,)))
        await buffer.flush()
    assert look_up(path, "b").account([(1, 6)]).dropped == 6
    found = look_up(path, "a").account([(3, 4)])
    assert (found.dropped, found.unaccounted_count) == (1, 1)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT destination, readings, first_position, last_position FROM dropped_for")
        assert sorted(rows) == [("a", 1, 4, 4), ("b", 6, 1, 6)]
        database.execute("DELETE FROM dropped_for")  # as an older gateway has left it
        database.commit()
    assert look_up(path, "a").account([(3, 4)]).dropped == 2


@pytest.mark.parametrize(
    ("waiting", "patience_s", "found"),
    [
        ([(2, 3)], 0.0, Outcome.COMPLETE),
        ([(2, 3)], math.inf, Outcome.COMPLETE),
        ([(2, 2)], 0.0, Outcome.UNPROVEN),
        ([(2, 2)], math.inf, Outcome.INCOMPLETE),
    ],
)
def test_what_is_not_accounted_for_proves_nothing_while_it_may_come_and_a_loss_after_that(
    waiting: list[tuple[int, int]], patience_s: float, found: Outcome
) -> None:
    ledger = Ledger(clock_s=lambda: 0.0)
    for position in (1, 4):
        ledger.note("hub/lgg/sort-01/infeed", orjson.dumps(message(position)))
    verdict = ledger.verdict(now_s=patience_s)
    fates = Fates("0a1b2c3d", 4, Ranges(waiting), Ranges(), Ranges(), ())
    assert outcome(verdict, ledger, accounts_of(fates, verdict)) is found
    assert outcome(verdict, ledger, {}) is (Outcome.INCOMPLETE if patience_s else Outcome.UNPROVEN)


def test_a_buffer_that_the_system_does_not_reach_is_told_as_such() -> None:
    with pytest.raises(BufferUnavailable, match=r"cannot open the buffer long.*: File name too long"):
        read_book(Path("long" * 100), "broker")

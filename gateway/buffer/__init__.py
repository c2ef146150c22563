"""Store and forward: every reading is committed here before anything else happens to it.

    acquire ─ append ─► intake ─ writer ─► SQLite (WAL) ─ peek ─► forward ─ acknowledge ─► backlogs ─ writer ─► deleted
                       (memory)    │                       ▲
                                   └───► tail (memory) ────┘ what was committed last

Promises
    A position is given when a reading is committed, in order of `append`; it only grows and is never used twice within
    an epoch, whatever is deleted, lost or restarted in between. A reading leaves when every destination has
    acknowledged it, or set it aside, or when it is dropped, which is counted, logged and remembered (`drops`).

Committed means
    `durability: power-loss`: the write-ahead log has been synced (`synchronous=FULL`), so a commit survives a power
    cut as far as the disk tells the truth about its cache. `process-crash`: the kernel has it (`synchronous=NORMAL`),
    so a commit survives SIGKILL; a power cut may take the last seconds, and positions then skip ahead so that none is
    used twice. Acknowledgements may be lost with the last two seconds: that means duplicates with the same id,
    never loss.

One writer
    The writer's task owns the writing connection: group commits, acknowledgements, deletions and bounds follow one
    another and need no lock. What others do between its awaits (`peek` drops a row that is damaged, a destination
    acknowledges) is in memory at once, and the next settlement writes down all of it or nothing. `peek` reads older
    rows through a second, read-only connection, so history never holds up a commit. While the database does not accept
    commits (full disk, I/O error, locked) readings gather in the intake, bounded; the commit is retried with back-off.
    `gateway.buffer.inspect` serves other processes.

Damage
    A database that cannot be used is moved aside, and what can be read of it is copied into a new one, at start as well
    as while the gateway runs. A mark beside it says how far positions have come: none is used twice, and what has
    vanished is counted. `docs/decisions/0013-damage.md` argues it.

Modules
    pure     ranges, encoding, intake, tail (weight: of both), groups, places, backlogs, bounds, batch, eras, thinning
    at open  lock, schema, facts, opening, standing (synchronous, in a thread)
    damage   damage (recognised), mark, readable, salvage (copied) and reckoning (what was lost), replacing (of files),
             repair (while running)
    running  connections, store, settlement (SQL), writer (the task) and its parts: committer, settling (what became of
             readings), retries (set aside, sent again), leaving (of a destination), retention (max_bytes,
             min_free_disk, max_age), milestones (how old readings are), timekeeping (the wall clock), drops, episodes
             (as rows), trouble, full_disk; progress (who waits), buffer (as others see it)
"""

from gateway.buffer.buffer import Buffer
from gateway.buffer.drops import DropReason
from gateway.buffer.model import BufferUnavailable, StoredReading, UnknownDestination

__all__ = ["Buffer", "BufferUnavailable", "DropReason", "StoredReading", "UnknownDestination"]

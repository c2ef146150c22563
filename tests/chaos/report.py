"""The verdict over a whole run, and the table that says what it was worth."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from tests.chaos.config import GUEST, REFUSED, REGISTERS
from tests.chaos.faults import Stage
from tests.chaos.judge import Arrivals, Owed, arrivals, contradictions, missing
from tests.chaos.second_opinion import disagreements
from tests.chaos.witness import Witness, read_only

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Episode:
    """A row of the table `dropped`. Positions are None when the readings had none yet."""

    reason: str
    readings: int
    first_ms: int
    last_ms: int
    first_position: int | None
    last_position: int | None
    shares: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Rows of `dropped_for`, by destination: readings, first and last position. Without any, it counts for all."""

    def lost_by(self, destination: str) -> tuple[int, int, int] | None:
        """How many committed readings the destination has lost, and between which positions; None: none."""
        if self.first_position is None or self.last_position is None:
            return None
        return self.shares.get(destination) if self.shares else (self.readings, self.first_position, self.last_position)

    def covers(self, destination: str, position: int, times_ms: set[int]) -> bool:
        """Whether a reading at this position, taken at one of these times if that was seen, can be one of those that
        the destination has lost."""
        lost = self.lost_by(destination)
        of_the_time = not times_ms or any(self.first_ms <= one <= self.last_ms for one in times_ms)
        return lost is not None and lost[1] <= position <= lost[2] and of_the_time


@dataclass(frozen=True, slots=True)
class Result:
    """What was found at the end of a run."""

    stage: Stage
    committed: int
    expected: int
    """About how many readings there would be in so much time, if nothing happened."""
    left: int
    """Readings that the gateway still held after its end."""
    set_aside: dict[str, set[int]]
    episodes: list[Episode]
    arrived: dict[str, Arrivals]
    lost: dict[str, set[int]]
    """Ids that a destination should have and has not."""
    disagreements: list[str]
    """Where `hub-gateway audit` would have said something else."""

    @property
    def lost_somewhere(self) -> set[int]:
        return set().union(*self.lost.values())

    @property
    def dropped(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for episode in self.episodes:
            found[episode.reason] += episode.readings
        return found

    @property
    def dropped_with_position(self) -> int:
        return sum(episode.readings for episode in self.episodes if episode.first_position is not None)


def result(stage: Stage, *, path: Path, expected: int) -> Result:
    """Judge, after the gateway has ended."""
    with closing(read_only(path)) as database:
        set_aside: dict[str, set[int]] = {}
        for destination, position in database.execute("SELECT destination, position FROM set_aside"):
            set_aside.setdefault(destination, set()).add(position)
        shares: dict[int, dict[str, tuple[int, int, int]]] = {}
        for episode, destination, *share in database.execute("SELECT * FROM dropped_for"):
            shares.setdefault(episode, {})[destination] = (share[0], share[1], share[2])
        episodes = [
            Episode(reason, readings, first_ns // 1_000_000, last_ns // 1_000_000, first, last, shares.get(row_id, {}))
            for row_id, reason, readings, first_ns, last_ns, first, last in database.execute(
                "SELECT id, reason, readings, first_observed_ns, last_observed_ns, first_position, last_position "
                "FROM dropped"
            )
        ]
        committed = _one(database, "SELECT max(through) FROM destination")
        left = _one(database, "SELECT sum(waiting) FROM destination")  # rows that all have may outlive the process
    arrived = {}
    for broker in (*stage.brokers, stage.guest):
        with broker.received.open("rb") as lines:
            arrived[broker.name] = arrivals(lines, refused=[] if broker.refuses is None else [REFUSED])
    everything = set(range(1, committed + 1))
    lost = {
        broker.name: missing(Owed(everything, set_aside.get(broker.name, set())), arrived[broker.name])
        for broker in stage.brokers
    }
    seen = set().union(*(stay.acknowledged() for stay in stage.witness.stays.get(GUEST, [])))
    disputed = [
        f"{broker.name}: {one}"
        for broker in stage.brokers
        for one in _second_opinion(broker.received, arrived[broker.name], everything)
    ]
    lost[GUEST] = missing(Owed(seen, set_aside.get(GUEST, set())), arrived[GUEST])
    return Result(stage, committed, expected, left, set_aside, episodes, arrived, lost, disputed)


def failures(found: Result) -> list[str]:
    """What is not as it is promised; nothing, if all is well."""
    said = [*found.stage.gateway.surprises, *_of_the_losses(found), *_of_the_buffer(found)]
    if tracebacks := found.stage.gateway.said("Traceback"):
        said.append(f"{tracebacks} tracebacks in the log of the gateway")
    for name, arrived in found.arrived.items():
        said += [f"{name}: {fault}" for fault in _of_what_arrived(found, arrived, found.set_aside.get(name, set()))]
    said += found.disagreements
    for broker in (*found.stage.brokers, found.stage.guest):
        if broker.subscriber.interruptions != broker.ended:
            said.append(
                f"the judge itself was cut off from {broker.name}: {broker.subscriber.interruptions} times, "
                f"and the broker ended {broker.ended} times"
            )
    return said


def _of_the_losses(found: Result) -> Iterator[str]:
    taken = found.committed + sum(found.dropped.values()) - found.dropped_with_position
    if taken < found.expected // 2:
        yield f"only {taken} readings were taken, of about {found.expected}: did it read at all?"
    yield from unexplained(found.lost, found.episodes, found.stage.witness)
    for reason in found.dropped:
        if not found.stage.gateway.said(f"dropping readings from the buffer ({reason})"):
            yield f"readings were dropped for {reason}, and the log says nothing"
    if found.dropped["max-age"]:
        yield f"{found.dropped['max-age']} readings were too old, in a run of minutes"


def unexplained(lost: dict[str, set[int]], episodes: list[Episode], witness: Witness) -> Iterator[str]:
    """What each destination misses beyond what was dropped for it, in number, position and time."""
    for name, ids in lost.items():
        dropped = dropped_for(name, episodes)
        if len(ids) > dropped:
            yield f"{name}: {len(ids)} readings are missing and {dropped} were dropped, such as {sorted(ids)[:_SHOWN]}"
        strangers = sorted(
            position
            for position in ids
            if not any(
                episode.covers(name, position, witness.times_ms(position) if position in witness.rows else set())
                for episode in episodes
            )
        )
        if strangers:
            yield f"{name}: no drop covers {len(strangers)} missing readings, such as {strangers[:_SHOWN]}"


def dropped_for(destination: str, episodes: list[Episode]) -> int:
    """How many committed readings this destination has lost, by the book."""
    return sum(lost[0] for one in episodes if (lost := one.lost_by(destination)) is not None)


def _of_the_buffer(found: Result) -> Iterator[str]:
    witness = found.stage.witness
    if witness.largest_bytes > found.stage.config.buffer["max_bytes"]:
        yield f"database and log took {witness.largest_bytes} bytes of {found.stage.config.buffer['max_bytes']}"
    if found.left:
        yield f"{found.left} readings were left in the buffer"
    if found.committed < witness.highest:
        yield f"position {witness.highest} was seen, and the last is {found.committed}"
    if len(witness.epochs) != 1:
        yield f"not one epoch: {witness.epochs}"


def _of_what_arrived(found: Result, arrived: Arrivals, set_aside: set[int]) -> Iterator[str]:
    witness = found.stage.witness
    refused = [one for one in set_aside if one in witness.rows and witness.rows[one][0] not in arrived.refused]
    if refused:
        yield f"{len(refused)} readings were set aside that it would have taken, such as {sorted(refused)[:_SHOWN]}"
    for faults in (arrived.faults, contradictions(witness.rows, arrived), _torn(arrived)):
        yield from islice(faults, _SHOWN)
    beyond = [one for one in arrived.contents if one > found.committed]
    if beyond:
        yield f"{beyond[:_SHOWN]} were never committed"
    if arrived.epochs - witness.epochs:
        yield f"strange epochs {arrived.epochs}"


def table(found: Result) -> str:
    """For people, and for whoever compares runs."""
    stage, witness = found.stage, found.stage.witness
    rows: list[tuple[str, object]] = [(kind.value, times) for kind, times in sorted(stage.injected.items())]
    rows += [
        ("faults injected", sum(stage.injected.values())),
        ("gateway processes", stage.gateway.starts),
        ("  ended by a full disk", stage.gateway.for_want_of_space),
        ("longest broker outage", f"{max(s for one in stage.brokers for s in one.down_s):.1f} s"),
        ("buffer", " ".join(f"{key}={value}" for key, value in stage.config.buffer.items() if key != "path")),
        ("  most bytes on disk", witness.largest_bytes),
        ("readings committed", found.committed),
        ("  seen in the database", len(witness.rows)),
    ]
    for name, arrived in found.arrived.items():
        rows += [
            (f"{name}: delivered", len(arrived.contents)),
            ("  in connections", arrived.connections),
            ("  delivered again", arrived.duplicates),
            ("  of those with the time corrected", arrived.corrected),
            ("  set aside", len(found.set_aside.get(name, ()))),
            ("  missing", len(found.lost[name])),
            ("  dropped for it", dropped_for(name, found.episodes)),
        ]
        if arrived.refused:
            taken = sum(device in arrived.refused for device, *_ in arrived.contents.values())
            rows.append(("  taken although refused at first", taken))
    rows += [(f"dropped: {reason}", readings) for reason, readings in sorted(found.dropped.items())]
    rows += [
        ("missing anywhere", len(found.lost_somewhere)),
        ("dropped after they were committed", found.dropped_with_position),
        ("left in the buffer", found.left),
    ]
    return "\n".join(f"{what:<36} {figure}" for what, figure in rows)


def _second_opinion(received: Path, arrived: Arrivals, everything: set[int]) -> list[str]:
    with received.open("rb") as lines:
        return [*disagreements(lines, arrived, gaps=everything - arrived.contents.keys())]


def _torn(arrived: Arrivals) -> Iterator[str]:
    """Readings of libmodbus devices that no device ever gave: each answers with one new number in all registers."""
    for position, (device, _, encoded, _) in arrived.contents.items():
        if b'"r0"' in encoded:
            values = orjson.loads(encoded)
            if any(values.get(f"r{n}") != (values["r0"] + n) % 65536 for n in range(REGISTERS)):
                yield f"{position} of {device} is torn: {values}"


def _one(database: sqlite3.Connection, question: str) -> int:
    (answer,) = database.execute(question).fetchone()
    return int(answer)

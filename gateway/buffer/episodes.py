"""Episodes of loss as rows of `dropped` and `dropped_for`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.buffer.drops import Episode

_KEPT = 1_000


def statements(episodes: Sequence[Episode]) -> Iterator[tuple[str, Sequence[tuple[object, ...]]]]:
    """What writes them down, for `executemany`: a statement and its rows. The oldest of too many go."""
    yield (
        "INSERT OR REPLACE INTO dropped VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one.id, one.reason, one.readings, one.first_observed_ns, one.last_observed_ns, one.since_ns,
                one.until_ns, one.first_position, one.last_position,
            )
            for one in episodes
        ],
    )  # fmt: skip
    yield (
        "INSERT OR REPLACE INTO dropped_for VALUES (?, ?, ?, ?, ?)",
        [
            (episode.id, name, share.readings, share.first_position, share.last_position)
            for episode in episodes
            for name, share in episode.shares.items()
        ],
    )
    yield "DELETE FROM dropped WHERE id <= (SELECT max(id) FROM dropped) - ?", [(_KEPT,)]
    yield "DELETE FROM dropped_for WHERE episode < (SELECT min(id) FROM dropped)", [()]

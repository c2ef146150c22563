"""The same records before the judge that ships with the gateway, `hub-gateway audit`: both must say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gateway.audit import Ledger
from tests.chaos.judge import Arrivals


def disagreements(lines: Iterable[bytes], arrived: Arrivals, *, gaps: set[int]) -> Iterator[str]:
    """What the two say differently of one subscriber's record; `gaps` are the positions that are not in it."""
    ledger = Ledger(remembered=len(arrived.contents) + 1)
    for epoch in arrived.epochs:
        ledger.expect(epoch, (), after=0)
    for line in lines:
        _, topic, payload = line.rstrip(b"\n").split(b" ", 2)
        ledger.note(topic.decode(), payload)
    last = max(arrived.contents, default=0)
    said = ledger.verdict(now_s=math.inf).epochs
    ours = {
        "readings": len(arrived.contents),
        "duplicates": arrived.duplicates,
        "corrected": arrived.corrected,
        "missing": sum(position <= last for position in gaps),
        "connections": arrived.connections if said else 0,
        "contradicting or out of order": len(arrived.faults) + arrived.late,
    }
    theirs = {
        "readings": sum(one.readings for one in said),
        "duplicates": sum(one.duplicates for one in said),
        "corrected": sum(one.corrected for one in said),
        "missing": sum(one.missing_count for one in said),
        "connections": sum(one.connections for one in said),
        "contradicting or out of order": sum(one.contradicting + one.out_of_order for one in said),
    }
    for what, count in ours.items():
        if theirs[what] != count:
            yield f"{what}: {count} by the judge of this run, {theirs[what]} by the audit of the gateway"

"""Which requests fetch a set of points. Pure.

Points are sorted by address and taken into the running request while it stays within every limit. That is optimal: a
request that starts later reaches at least as far as one that starts earlier, so closing the earlier one as late as
possible never costs a request (the interval-covering argument; `tests/drivers/modbus/test_plan.py` checks it against
every partition of small inputs).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from drivers.modbus.point import MAX_BITS, MAX_REGISTERS, ModbusPoint, Range, Table

_BITS_PER_REGISTER = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be. `max_gap` is in registers; for bits it is 16 times as many, the same bytes."""

    max_gap: int = 16
    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    forbidden: tuple[Range, ...] = ()
    start_only: tuple[Range, ...] = ()
    """Ranges of which a request must ask from the first address on, and for nothing else. They do not overlap."""


@dataclass(slots=True)
class Cuts:
    """Where requests must not reach across, learned from a device: a cut at n parts address n - 1 from n."""

    _sorted: dict[Table, list[int]] = field(default_factory=dict)

    def add(self, table: Table, address: int) -> None:
        known = self._sorted.setdefault(table, [])
        if address not in known:
            known.append(address)
            known.sort()

    def between(self, table: Table, start: int, later: int) -> bool:
        """Whether a request from `start` would have to cross a cut to take in a point that starts at `later`."""
        known = self._sorted.get(table, ())
        return bisect_right(known, later) > bisect_right(known, start)


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `span` is what it asks for, `points` (in the order in which they were given) what it is for."""

    span: Range
    points: tuple[ModbusPoint, ...]
    start_only: bool = False
    """Whether every part of it must be asked for from its first address on."""

    @property
    def count(self) -> int:
        return self.span.end - self.span.start


def plan(points: Collection[ModbusPoint], limits: Limits, cuts: Cuts | None = None) -> tuple[Block, ...]:
    """The fewest requests that fetch `points`, by table and address. Every point is in exactly one block, whole."""
    rank = {point: index for index, point in enumerate(points)}

    def home(point: ModbusPoint) -> tuple[Table, Range | None]:
        return point.address.table, next((one for one in limits.start_only if one.overlaps(point.span)), None)

    blocks: list[Block] = []
    # Sorted by place, the points of a start-only range stand together, between those before and after it.
    for (_, whole), group in groupby(sorted(points, key=_place), key=home):
        members = list(group)
        for run in [members] if whole else _runs(members, limits, cuts or Cuts()):
            block = Block(_hull(run), tuple(sorted(run, key=rank.__getitem__)))
            blocks.append(_from_first(block, whole) if whole else block)
    return tuple(blocks)


def halves(block: Block) -> tuple[Block, Block]:
    """The block in two, each without the addresses that no point wants at its ends. Needs two points or more."""
    ordered = sorted(block.points, key=_place)
    middle = len(ordered) // 2
    left, right = (Block(_hull(half), tuple(half)) for half in (ordered[:middle], ordered[middle:]))
    if block.start_only:
        return _from_first(left, block.span), _from_first(right, block.span)
    return left, right


def _from_first(block: Block, whole: Range) -> Block:
    return Block(replace(block.span, start=whole.start), block.points, start_only=True)


def _place(point: ModbusPoint) -> tuple[int, int, int]:
    span = point.span
    return span.table.function, span.start, span.end


def _hull(points: Sequence[ModbusPoint]) -> Range:
    spans = [point.span for point in points]
    return Range(spans[0].table, min(span.start for span in spans), max(span.end for span in spans))


def _runs(ordered: Sequence[ModbusPoint], limits: Limits, cuts: Cuts) -> list[list[ModbusPoint]]:
    table = ordered[0].address.table
    most, gap = limits.max_registers, limits.max_gap
    if table.holds_bits:
        most, gap = limits.max_bits, limits.max_gap * _BITS_PER_REGISTER
    forbidden = [banned for banned in (*limits.forbidden, *limits.start_only) if banned.table is table]
    runs: list[list[ModbusPoint]] = []
    start = end = 0
    for point in ordered:
        span = point.span
        fits = (
            bool(runs)
            and span.start - end <= gap
            and max(end, span.end) - start <= most
            and not cuts.between(table, start, span.start)
            and not any(banned.start < span.start and end < banned.end for banned in forbidden)
        )
        if fits:
            runs[-1].append(point)
            end = max(end, span.end)
        else:
            runs.append([point])
            start, end = span.start, span.end
    return runs

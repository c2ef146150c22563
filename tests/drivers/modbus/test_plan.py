"""The planner: whole, legal and few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.plan import Block, Cuts, Limits, halves, plan
from drivers.modbus.point import BOOL, Address, ModbusPoint, Range, Table, parse_range, parse_type

TYPES = [parse_type(name) for name in ("uint16", "int32", "float64", "string(9)")]


@st.composite
def points(draw: st.DrawFn, most: int = 40, highest: int = 400) -> list[ModbusPoint]:
    places = draw(
        st.lists(st.tuples(st.sampled_from(Table), st.integers(0, highest), st.sampled_from(TYPES)), max_size=most)
    )
    return [
        ModbusPoint(name=f"p{i}", address=Address(table, number), type=BOOL if table.holds_bits else kind)
        for i, (table, number, kind) in enumerate(places)
    ]


ranges = st.builds(
    lambda table, start, count: Range(table, start, start + count),
    st.sampled_from(Table),
    st.integers(0, 400),
    st.integers(1, 20),
)
limits = st.builds(
    Limits,
    max_gap=st.integers(0, 20),
    max_registers=st.integers(5, 125),
    max_bits=st.integers(1, 2000),
    forbidden=st.lists(ranges, max_size=4).map(tuple),
)


def overlap(a: Range, b: Range) -> bool:
    return a.table is b.table and a.start < b.end and b.start < a.end


def allowed(wanted: Sequence[ModbusPoint], limit: Limits) -> list[ModbusPoint]:
    return [point for point in wanted if not any(overlap(point.span, banned) for banned in limit.forbidden)]


@given(points(), limits)
def test_every_point_is_in_exactly_one_block_and_whole(wanted: list[ModbusPoint], limit: Limits) -> None:
    blocks = plan(wanted, limit)
    assert sorted(p.name for block in blocks for p in block.points) == sorted(p.name for p in wanted)
    for block in blocks:
        for point in block.points:
            assert point.span.table is block.span.table
            assert block.span.start <= point.span.start < point.span.end <= block.span.end


@given(points(), limits)
def test_no_block_is_longer_than_allowed_or_asks_for_a_forbidden_address(
    wanted: list[ModbusPoint], limit: Limits
) -> None:
    for block in plan(allowed(wanted, limit), limit):
        assert block.count <= (limit.max_bits if block.span.table.holds_bits else limit.max_registers)
        assert not any(overlap(block.span, banned) for banned in limit.forbidden)


@given(points(), limits)
def test_no_block_bridges_more_than_the_gap(wanted: list[ModbusPoint], limit: Limits) -> None:
    for block in plan(wanted, limit):
        gap = limit.max_gap * (16 if block.span.table.holds_bits else 1)
        covered = {a for point in block.points for a in range(point.span.start, point.span.end)}
        run = longest = 0
        for address in range(block.span.start, block.span.end):
            run = 0 if address in covered else run + 1
            longest = max(longest, run)
        assert longest <= gap


@given(points(), limits, st.lists(st.tuples(st.sampled_from(Table), st.integers(0, 400)), max_size=6))
def test_no_block_takes_in_points_from_both_sides_of_a_cut(
    wanted: list[ModbusPoint], limit: Limits, places: list[tuple[Table, int]]
) -> None:
    cuts = Cuts()
    for table, address in places:
        cuts.add(table, address)
    for block in plan(wanted, limit, cuts):
        starts = [point.span.start for point in block.points]
        assert not any(t is block.span.table and min(starts) < a <= max(starts) for t, a in places)


@given(points(most=6, highest=30), st.builds(Limits, max_gap=st.integers(0, 4), max_registers=st.integers(5, 12)))
def test_no_plan_needs_fewer_requests(wanted: list[ModbusPoint], limit: Limits) -> None:
    blocks = plan(wanted, limit)
    assert len(blocks) <= len(wanted)
    assert len(blocks) == min(len(parts) for parts in partitions(wanted) if all(legal(part, limit) for part in parts))


@given(points(most=10))
def test_halves_share_the_points_and_want_nothing_at_their_ends(wanted: list[ModbusPoint]) -> None:
    for block in plan(wanted, Limits()):
        if len(block.points) < 2:
            continue
        left, right = halves(block)
        assert sorted(p.name for p in (*left.points, *right.points)) == sorted(p.name for p in block.points)
        for half in (left, right):
            assert half.span.start == min(p.span.start for p in half.points)
            assert half.span.end == max(p.span.end for p in half.points)


@given(points(), limits, st.lists(ranges, max_size=4))
def test_a_block_in_a_start_only_range_starts_with_it_and_stays_inside(
    wanted: list[ModbusPoint], limit: Limits, wholes: list[Range]
) -> None:
    apart = [one for i, one in enumerate(wholes) if not any(overlap(one, other) for other in wholes[:i])]
    inside = [
        point
        for point in wanted
        if all(one.start <= point.span.start and point.span.end <= one.end for one in apart if overlap(one, point.span))
    ]
    blocks = plan(inside, replace(limit, start_only=tuple(apart)))
    assert sorted(p.name for block in blocks for p in block.points) == sorted(p.name for p in inside)
    for block in blocks:
        touched = [one for one in apart if overlap(one, block.span)]
        assert block.start_only is bool(touched)
        for one in touched:
            assert block.span.start == one.start
            assert block.span.end == max(point.span.end for point in block.points) <= one.end
        for half in halves(block) if len(block.points) > 1 else ():
            assert half.start_only is block.start_only
            assert half.span.start == block.span.start or not half.start_only


def test_points_keep_the_order_of_the_file_inside_a_block() -> None:
    wanted = [ModbusPoint(name=f"p{n}", address=Address(Table.INPUT, n), type=TYPES[0]) for n in (3, 1, 2)]
    (block,) = plan(wanted, Limits())
    assert block == Block(Range(Table.INPUT, 1, 4), tuple(wanted))


def test_a_forbidden_register_in_a_gap_parts_two_requests() -> None:
    wanted = [ModbusPoint(name=f"p{n}", address=Address(Table.HOLDING, n), type=TYPES[0]) for n in (0, 4)]
    blocks = plan(wanted, Limits(forbidden=(parse_range("holding:2"),)))
    assert [str(block.span) for block in blocks] == ["holding:0", "holding:4"]


def legal(part: list[ModbusPoint], limit: Limits) -> bool:
    if len({point.span.table for point in part}) > 1:
        return False
    bits = part[0].span.table.holds_bits
    ordered = sorted(part, key=lambda point: point.span.start)
    start, end = ordered[0].span.start, ordered[0].span.end
    for point in ordered[1:]:
        if point.span.start - end > limit.max_gap * (16 if bits else 1):
            return False
        end = max(end, point.span.end)
    return end - start <= (limit.max_bits if bits else limit.max_registers)


def partitions(items: list[ModbusPoint]) -> Iterator[list[list[ModbusPoint]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for parts in partitions(rest):
        yield [[first], *parts]
        for i, part in enumerate(parts):
            yield [*parts[:i], [first, *part], *parts[i + 1 :]]

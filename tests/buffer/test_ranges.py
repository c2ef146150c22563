"""A set of positions kept as ranges, against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.buffer.ranges import Ranges

positions = st.integers(0, 40)
steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "discard"]), positions, st.integers(-1, 12)), max_size=40)


@given(steps)
def test_behaves_like_a_set_under_any_sequence_of_changes(steps: list[tuple[str, int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for step, first, length in steps:
        span = set(range(first, first + length + 1))
        if step == "add":
            assert ranges.add(first, first + length) == len(span - model)
            model |= span
        elif step == "remove":
            assert ranges.remove(first, first + length) == len(span & model)
            model -= span
        else:
            assert ranges.discard(first) == (first in model)
            model.discard(first)
        assert {one for low, high in ranges for one in range(low, high + 1)} == model
        assert ranges.count == len(model)
        assert bool(ranges) == bool(model)
        assert ranges.first == min(model, default=None)
        assert all((one in ranges) == (one in model) for one in range(-2, 60))


@given(steps)
def test_never_holds_two_ranges_that_touch(steps: list[tuple[str, int, int]]) -> None:
    ranges = Ranges()
    for step, first, length in steps:
        if step == "add":
            ranges.add(first, first + length)
        else:
            ranges.remove(first, first + length)
        pairs = list(ranges)
        assert all(low <= high for low, high in pairs)
        assert all(left[1] + 1 < right[0] for left, right in pairwise(pairs))


@given(st.sets(positions), positions, positions)
def test_within_cuts_at_both_ends(members: set[int], first: int, last: int) -> None:
    ranges = Ranges((one, one) for one in members)
    pairs = list(ranges.within(first, last))
    assert all(low <= high for low, high in pairs)
    inside = [one for low, high in pairs for one in range(low, high + 1)]
    assert inside == sorted(one for one in members if first <= one <= last)
    assert ranges.count_within(first, last) == len(inside)


@given(st.sets(positions), st.sets(positions))
def test_what_two_have_in_common_is_counted(members: set[int], others: set[int]) -> None:
    one, other = (Ranges((member, member) for member in chosen) for chosen in (members, others))
    assert one.count_common(other) == len(members & others)


def test_a_copy_is_independent() -> None:
    ranges = Ranges([(1, 5)])
    twin = ranges.copy()
    twin.discard(3)
    assert list(ranges) == [(1, 5)]
    assert list(twin) == [(1, 2), (4, 5)]

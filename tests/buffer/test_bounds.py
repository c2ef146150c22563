"""How full is full."""

from __future__ import annotations

import pytest

from gateway.buffer.bounds import PAGE_BYTES, Bounds, Budget, Forecast, Measured
from gateway.buffer.drops import DropReason

MIB = 2**20
DISK = 10**12
BUDGET = Budget.of(64 * MIB, disk_bytes=DISK)


def measured(used_bytes: int, *, free_bytes: int = 0, disk_free_bytes: int = DISK) -> Measured:
    free_pages = free_bytes // PAGE_BYTES
    return Measured(
        file_bytes=used_bytes + free_bytes,
        wal_bytes=0,
        pages=used_bytes // PAGE_BYTES + free_pages,
        free_pages=free_pages,
        disk_free_bytes=disk_free_bytes,
        first_position=1,
        first_observed_ns=0,
    )


@pytest.mark.parametrize("max_bytes", [512 * 2**10, 1_000_000, 2 * MIB, 3_333_333, 64 * MIB, 2**31, 2**62])
def test_log_and_pages_share_max_bytes_and_neither_can_pass_its_share(max_bytes: int) -> None:
    budget = Budget.of(max_bytes, disk_bytes=DISK)
    overhead = 20 * PAGE_BYTES
    assert budget.wal + budget.file == max_bytes
    assert budget.truncate_wal + 2 * max(budget.transaction, budget.largest_reading) + overhead <= budget.wal
    assert budget.checkpoint + 2 * budget.transaction + overhead <= budget.wal
    assert budget.ceiling + 4 * budget.transaction + overhead <= budget.file
    assert budget.ceiling > 2 * overhead
    assert budget.checkpoint >= PAGE_BYTES


def test_what_is_beyond_the_ceiling_has_to_go_and_a_little_more() -> None:
    bounds, ceiling = Bounds(BUDGET, min_free_disk=0), BUDGET.ceiling
    assert bounds.judge(measured(ceiling)).reason is None
    verdict = bounds.judge(measured(ceiling + MIB))
    assert verdict.reason is DropReason.MAX_BYTES
    assert verdict.surplus_bytes > 2 * MIB


def test_free_pages_do_not_count_as_used() -> None:
    assert Bounds(BUDGET, min_free_disk=0).judge(measured(10 * MIB, free_bytes=60 * MIB)).reason is None


def test_below_the_free_disk_floor_the_buffer_stops_growing_but_does_not_shrink() -> None:
    bounds = Bounds(BUDGET, min_free_disk=100 * MIB)
    assert not bounds.judge(measured(20 * MIB, disk_free_bytes=100 * MIB)).disk_is_low
    first = bounds.judge(measured(20 * MIB, disk_free_bytes=99 * MIB))
    assert first.disk_is_low
    assert first.reason is DropReason.MIN_FREE_DISK
    assert first.surplus_bytes < 2 * MIB
    in_place = measured(20 * MIB - first.surplus_bytes, free_bytes=first.surplus_bytes, disk_free_bytes=99 * MIB)
    assert bounds.judge(in_place).reason is None


def test_the_floor_is_forgotten_when_the_disk_has_room_again() -> None:
    bounds = Bounds(BUDGET, min_free_disk=MIB)
    assert bounds.judge(measured(20 * MIB, disk_free_bytes=0)).reason is DropReason.MIN_FREE_DISK
    room = BUDGET.growth + BUDGET.checkpoint + 10 * MIB
    assert bounds.judge(measured(20 * MIB, disk_free_bytes=room)).reason is None


def test_space_beyond_a_reserve_is_given_back() -> None:
    bounds = Bounds(BUDGET, min_free_disk=0)
    assert bounds.judge(measured(20 * MIB, free_bytes=4 * MIB)).spare_pages == 0
    assert bounds.judge(measured(4 * MIB, free_bytes=20 * MIB)).spare_pages == 19 * MIB // PAGE_BYTES


def test_a_file_beyond_a_lowered_limit_is_shrunk_to_it() -> None:
    verdict = Bounds(Budget.of(16 * MIB, disk_bytes=DISK), min_free_disk=0).judge(
        measured(13 * MIB, free_bytes=2 * MIB)
    )
    assert verdict.spare_pages == MIB // PAGE_BYTES


def filling(forecast: Forecast, *, seconds: int, used_per_s: int = 0, disk_per_s: int = 0) -> float:
    for second in range(seconds):
        now = measured(20 * MIB + second * used_per_s, disk_free_bytes=10**9 - second * disk_per_s)
        predicted = forecast.seconds_until_full(now, now_s=float(second))
    return predicted


def test_seconds_until_full_follow_the_net_growth() -> None:
    forecast = Forecast(BUDGET, min_free_disk=0)
    room = BUDGET.ceiling - 20 * MIB
    assert filling(forecast, seconds=5, used_per_s=PAGE_BYTES) == pytest.approx(room / PAGE_BYTES - 4)
    assert filling(forecast, seconds=1000, used_per_s=2 * PAGE_BYTES) == pytest.approx(
        room / PAGE_BYTES / 2 - 1000, rel=0.01
    )


def test_a_buffer_that_stands_still_or_shrinks_is_never_full() -> None:
    assert filling(Forecast(BUDGET, min_free_disk=0), seconds=9) == float("inf")
    assert filling(Forecast(BUDGET, min_free_disk=0), seconds=9, used_per_s=-PAGE_BYTES) == float("inf")


def test_the_first_bound_counts_also_if_others_fill_the_disk() -> None:
    floor = 10**9 - 1000 * MIB // 2
    ours = Forecast(Budget.of(2**40, disk_bytes=DISK), min_free_disk=floor)
    assert filling(ours, seconds=9, used_per_s=MIB, disk_per_s=MIB) == pytest.approx(500 - 8, rel=0.001)
    others = Forecast(BUDGET, min_free_disk=floor)
    assert filling(others, seconds=9, disk_per_s=10 * MIB) == pytest.approx(50 - 8, rel=0.001)


def test_a_bound_that_is_reached_is_no_time_away() -> None:
    assert (
        Forecast(Budget.of(MIB, disk_bytes=DISK), min_free_disk=0).seconds_until_full(measured(MIB), now_s=0.0) == 0.0
    )
    below = Forecast(Budget.of(2**40, disk_bytes=DISK), min_free_disk=MIB).seconds_until_full(
        measured(MIB, disk_free_bytes=0), now_s=0.0
    )
    assert below == 0.0

"""How full is full."""

from __future__ import annotations

from gateway.buffer.bounds import PAGE_BYTES, Bounds, FillRate, Measured, wal_budget_bytes
from gateway.buffer.drops import DropReason

MIB = 2**20


def measured(used_bytes: int, *, free_bytes: int = 0, disk_free_bytes: int = 10**12) -> Measured:
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


def test_the_log_and_the_pages_share_max_bytes() -> None:
    bounds = Bounds(max_bytes=64 * MIB, min_free_disk=0)
    assert wal_budget_bytes(64 * MIB) == 8 * MIB
    assert bounds.judge(measured(56 * MIB)).reason is None
    verdict = bounds.judge(measured(57 * MIB))
    assert verdict.reason is DropReason.MAX_BYTES
    assert verdict.surplus_bytes > MIB


def test_free_pages_do_not_count_as_used() -> None:
    assert Bounds(max_bytes=64 * MIB, min_free_disk=0).judge(measured(10 * MIB, free_bytes=60 * MIB)).reason is None


def test_below_the_free_disk_floor_the_buffer_stops_growing_but_does_not_shrink() -> None:
    bounds = Bounds(max_bytes=64 * MIB, min_free_disk=MIB)
    bounds.judge(measured(20 * MIB, disk_free_bytes=2 * MIB))
    first = bounds.judge(measured(20 * MIB, disk_free_bytes=MIB // 2))
    assert first.reason is DropReason.MIN_FREE_DISK
    assert first.surplus_bytes < 2 * MIB
    in_place = measured(20 * MIB - first.surplus_bytes, free_bytes=first.surplus_bytes, disk_free_bytes=MIB // 2)
    assert bounds.judge(in_place).reason is None


def test_the_floor_is_forgotten_when_the_disk_has_room_again() -> None:
    bounds = Bounds(max_bytes=64 * MIB, min_free_disk=MIB)
    assert bounds.judge(measured(20 * MIB, disk_free_bytes=0)).reason is DropReason.MIN_FREE_DISK
    assert bounds.judge(measured(20 * MIB, disk_free_bytes=2 * MIB)).reason is None


def test_space_beyond_a_reserve_is_given_back() -> None:
    bounds = Bounds(max_bytes=64 * MIB, min_free_disk=0)
    assert bounds.judge(measured(20 * MIB, free_bytes=4 * MIB)).spare_pages == 0
    assert bounds.judge(measured(4 * MIB, free_bytes=20 * MIB)).spare_pages == 19 * MIB // PAGE_BYTES


def test_a_file_beyond_a_lowered_limit_is_shrunk_to_it() -> None:
    verdict = Bounds(max_bytes=16 * MIB, min_free_disk=0).judge(measured(13 * MIB, free_bytes=2 * MIB))
    assert verdict.spare_pages == MIB // PAGE_BYTES


def test_seconds_until_full_follow_the_net_growth() -> None:
    rate = FillRate()
    for second in range(600):
        rate.observe(float(second), used_bytes=second * 1000)
    assert 95 < rate.seconds_until(100_000) < 105
    for second in range(600, 1800):
        rate.observe(float(second), used_bytes=600_000)
    assert rate.seconds_until(100_000) > 10**6


def test_a_shrinking_buffer_is_never_full() -> None:
    rate = FillRate()
    rate.observe(0.0, used_bytes=1000)
    rate.observe(1.0, used_bytes=0)
    assert rate.seconds_until(100) == float("inf")

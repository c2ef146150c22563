"""What data values mean (Part 4, 7.11 and 7.39; Part 6, 5.1 and 5.2)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Level
from drivers.opcua.settings import Timestamp
from drivers.opcua.value import has_lost_some, judge, observed_at_ns, quality

NOW_NS = 1_700_000_000_000_000_000


@dataclass
class Axis:
    """As asyncua makes them from the definitions of a server."""

    Position: float = 4.5
    Steps: list[int] = field(default_factory=lambda: [7, 8])


def data(value: Any, kind: ua.VariantType | None = None, status: int = 0) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value, kind), StatusCode=ua.StatusCode(status))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, None, True),
        (7, ua.VariantType.UInt16, 7),
        (1.5, None, 1.5),
        (struct.unpack("<f", struct.pack("<f", 1.42))[0], ua.VariantType.Float, 1.42),
        ("parcel", None, "parcel"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None, "2026-01-02T03:04:05Z"),
        (b"\x01\xff", None, "01ff"),
        (UUID(int=1), None, "00000000-0000-0000-0000-000000000001"),
        (ua.LocalizedText("Höhe"), None, "Höhe"),
        (ua.NodeId("a", 2), None, "ns=2;s=a"),  # type: ignore[arg-type]
        (ua.StatusCode(0x80340000), None, "BadNodeIdUnknown"),
        (ua.ServerState.Running, ua.VariantType.Int32, 0),
    ],
)
def test_every_scalar_has_a_value(value: Any, kind: ua.VariantType | None, expected: object) -> None:
    found, judged = judge(data(value, kind), ())
    assert (found, judged) == (expected, None)
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "part", "expected"),
    [
        ([1, 2, 3], (1,), 2),
        ([[1, 2], [3, 4]], (1, 0), 3),
        (Axis(), ("Position",), 4.5),
        (Axis(), ("Steps", 1), 8),
        ([Axis(), Axis(1.0)], (1, "Position"), 1.0),
    ],
)
def test_parts_are_taken_out(value: Any, part: tuple[int | str, ...], expected: object) -> None:
    assert judge(data(value, ua.VariantType.Variant), part) == (expected, None)


@pytest.mark.parametrize(
    ("value", "part", "reason"),
    [
        ([1, 2, 3], (), "not-a-scalar"),
        (Axis(), (), "not-a-scalar"),
        ([1, 2, 3], (3,), "BadIndexRangeNoData"),
        (5, (0,), "no-such-part"),
        (Axis(), ("Speed",), "no-such-part"),
        (Axis(), ("__class__",), "no-such-part"),
        (None, (), "no-value"),
        (math.nan, (), "not-a-number"),
        (math.inf, (), "not-a-number"),
        (datetime(1601, 1, 1), (), "no-value"),  # noqa: DTZ001  as asyncua has it
        ("Fl\udce4che", (), "bad-response"),
        (ua.LocalizedText("Fl\udce4che"), (), "bad-response"),
    ],
)
def test_what_is_no_value_is_bad_and_says_why(value: Any, part: tuple[int | str, ...], reason: str) -> None:
    kind = ua.VariantType.Variant if isinstance(value, list | Axis) else None
    found, judged = judge(data(value, kind), part)
    assert (found, str(judged)) == (None, f"bad:{reason}")


def test_a_bad_value_is_none_and_an_uncertain_one_is_kept() -> None:
    bad, bad_quality = judge(data(1.5, status=0x80340000), ())
    assert (bad, str(bad_quality)) == (None, "bad:BadNodeIdUnknown")
    uncertain, uncertain_quality = judge(data(1.5, status=0x40900000), ())
    assert (uncertain, str(uncertain_quality)) == (1.5, "uncertain:UncertainLastUsableValue")


def test_flags_in_the_lower_half_do_not_change_the_name() -> None:
    assert str(quality(0x80340000 | 0x0480)) == "bad:BadNodeIdUnknown"
    assert has_lost_some(data(1, status=0x0480))
    assert not has_lost_some(data(1, status=0x0400))


@given(st.integers(0, 2**32 - 1))
def test_any_status_has_a_level_by_its_two_highest_bits_and_a_name(status: int) -> None:
    found = quality(status)
    assert found.level is [Level.GOOD, Level.UNCERTAIN, Level.BAD, Level.BAD][status >> 30]
    assert found.reason


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_keeps_all_its_bits_in_fewer_digits(value: float) -> None:
    found, judged = judge(data(value, ua.VariantType.Float), ())
    assert judged is None
    assert isinstance(found, float)
    assert struct.pack("<f", found) == struct.pack("<f", value)


def test_the_clock_that_was_asked_for_counts_and_then_the_next_best() -> None:
    source, server = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    both = ua.DataValue(ua.Variant(1), SourceTimestamp=source, ServerTimestamp=server)  # type: ignore[arg-type]
    late = ua.DataValue(ua.Variant(1), ServerTimestamp=server)  # type: ignore[arg-type]
    source_ns, server_ns = 1_767_225_600_000_000_000, 1_767_312_000_000_000_000
    assert observed_at_ns(both, Timestamp.SOURCE, now_ns=NOW_NS) == source_ns
    assert observed_at_ns(both, Timestamp.SERVER, now_ns=NOW_NS) == server_ns
    assert observed_at_ns(both, Timestamp.GATEWAY, now_ns=NOW_NS) == NOW_NS
    assert observed_at_ns(late, Timestamp.SOURCE, now_ns=NOW_NS) == server_ns
    assert observed_at_ns(ua.DataValue(ua.Variant(1)), Timestamp.SOURCE, now_ns=NOW_NS) == NOW_NS


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_time_fits_where_readings_are_stored(time: datetime) -> None:
    at = observed_at_ns(
        ua.DataValue(ua.Variant(1), SourceTimestamp=time),  # type: ignore[arg-type]
        Timestamp.SOURCE,
        now_ns=NOW_NS,
    )
    assert 0 < at < 2**63

"""What becomes of the changes in a notification."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from asyncua import ua

from drivers.model import Value
from drivers.opcua import gather
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.items import items_of
from drivers.opcua.settings import OpcuaDeviceSettings, Timestamp
from drivers.opcua.value import quality

NOT_CONNECTED = ua.StatusCodes.BadNotConnected
DEVICE = OpcuaDeviceSettings.model_validate(
    {
        "name": "sorter",
        "driver": "opcua",
        "url": "opc.tcp://127.0.0.1:4840",
        "points": [{"name": name, "address": f"ns=1;s={name}"} for name in ("speed", "load")],
    }
)
SPEED, LOAD = 0, 1


def change(point: int, value: Value, second: int, status: int = 0) -> ua.MonitoredItemNotification:
    at = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    data = ua.DataValue(ua.Variant(value), ua.StatusCode(ua.UInt32(status)), at)  # type: ignore[arg-type]
    return ua.MonitoredItemNotification(ua.UInt32(point), data)


def gathered(*changes: ua.MonitoredItemNotification) -> list[tuple[int, tuple[Value, ...], dict[int, str]]]:
    """Second, values and quality of each reading."""
    items = items_of(DEVICE, OpcuaDriver([DEVICE], state_folder=Path()).groups)
    found = gather.readings(items, changes, Timestamp.SOURCE, now_ns=1, lost_some=lambda *_: None)
    first_ns = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    return [
        ((each.observed_at_ns - first_ns) // 10**9, each.values, {i: str(q) for i, q in each.quality.items()})
        for each in found
    ]


def test_what_changed_at_one_instant_is_one_reading() -> None:
    assert gathered(change(SPEED, 1.0, 1), change(SPEED, 2.0, 2), change(LOAD, 10.0, 1), change(LOAD, 20.0, 2)) == [
        (1, (1.0, 10.0), {}),
        (2, (2.0, 20.0), {}),
    ]


def test_changes_of_a_point_keep_the_order_of_the_server_whatever_the_clock_says() -> None:
    assert gathered(change(SPEED, 1.0, 3), change(SPEED, 2.0, 1), change(SPEED, 3.0, 2)) == [
        (3, (1.0, None), {}),
        (1, (2.0, None), {}),
        (2, (3.0, None), {}),
    ]


def test_a_value_that_is_good_again_comes_after_the_bad_one_whose_clock_is_ahead() -> None:
    assert gathered(change(SPEED, None, 9, NOT_CONNECTED), change(SPEED, 42.0, 7)) == [
        (9, (None, None), {SPEED: str(quality(NOT_CONNECTED))}),
        (7, (42.0, None), {}),
    ]


def test_a_point_that_changed_twice_at_one_instant_has_two_readings() -> None:
    assert gathered(change(SPEED, 1.0, 1), change(SPEED, 2.0, 1), change(LOAD, 10.0, 1)) == [
        (1, (1.0, None), {}),
        (1, (2.0, 10.0), {}),
    ]


def test_a_clock_that_was_set_back_does_not_join_a_change_to_the_reading_before_another_of_its_point() -> None:
    assert gathered(change(LOAD, 10.0, 1), change(SPEED, 1.0, 2), change(SPEED, 2.0, 1)) == [
        (1, (None, 10.0), {}),
        (2, (1.0, None), {}),
        (1, (2.0, None), {}),
    ]

"""What the config may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.opcua import FAMILY
from drivers.opcua.certificates import CertificateFolder, ClockNotSet
from drivers.opcua.settings import OpcuaDeviceSettings

URL = "opc.tcp://10.0.0.9:4840"
SPEED = {"name": "speed", "address": "ns=2;s=Speed"}


def device(**more: Any) -> OpcuaDeviceSettings:
    return OpcuaDeviceSettings.model_validate(
        {"name": "sorter", "driver": "opcua", "url": URL, "points": [SPEED], **more}
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"url": "tcp://10.0.0.9"}, "not the url of an OPC UA server"),
        ({"url": "opc.tcp://gw:secret@10.0.0.9"}, "belong below security"),
        ({"url": "opc.tcp://:4840"}, "names no host"),
        ({"url": "opc.tcp://10.0.0.9:70000"}, "no valid port"),
        ({"security": {"mode": "Sign"}}, "mode has no effect without a policy"),
        ({"security": {"password": "x"}}, "no effect without a user"),
        ({"security": {"policy": "Basic128"}}, "Input should be"),
        ({"security": {"policy": "Basic256Sha256", "user_key": "k.pem"}}, "go together"),
        ({"subscribe": False, "queue_size": 2}, "queue_size: no effect with subscribe: false"),
        ({"silence": "100ms"}, "silence must be longer"),
        ({"points": [SPEED, SPEED]}, 'two points are called "speed"'),
        ({"points": [{**SPEED, "part": "[0]", "writable": True}]}, "a part of a value cannot be written"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        device(**more)


def test_devices_share_a_session_when_server_and_security_are_the_same() -> None:
    one, other = device(), device(name="other", url="opc.tcp://10.0.0.9")
    assert FAMILY.link(one) == FAMILY.link(other)
    assert FAMILY.link(one) != FAMILY.link(device(subscribe=False))
    assert FAMILY.link(one) != FAMILY.link(device(security={"policy": "Basic256Sha256"}))
    driver = FAMILY.driver([one, other], state_folder=Path())
    assert [group.device for group in driver.groups] == ["sorter", "other"]


def test_one_user_has_one_password_and_it_is_never_in_the_link() -> None:
    secured = [device(security={"user": "gw", "password": password}) for password in ("hunter2", "swordfish")]
    assert "hunter2" not in FAMILY.link(secured[0])
    with pytest.raises(ValueError, match="not one security"):
        FAMILY.driver(secured, state_folder=Path())


def test_points_are_sampled_on_their_period_with_a_queue_for_what_comes_meanwhile() -> None:
    fast = device(period="1s", points=[{**SPEED, "period": "50ms"}, {**SPEED, "name": "slow"}])
    assert [point.sampling_s for point in fast.sampled_points()] == [0.05, 1.0]
    assert [fast.queue_for(sampling_s) for sampling_s in (0.05, 1.0)] == [6, 2]


def test_large_devices_are_read_in_small_readings() -> None:
    points = [{"name": f"p{i}", "address": f"ns=2;i={i}"} for i in range(250)]
    driver = FAMILY.driver([device(points=points)], state_folder=Path())
    assert [len(group.points) for group in driver.groups] == [100, 100, 50]


def test_no_certificate_is_made_before_the_clock_is_set(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    with pytest.raises(ClockNotSet):
        CertificateFolder(tmp_path).identity(now=datetime(1970, 1, 1, tzinfo=UTC))
    assert not list(tmp_path.iterdir())

"""What a good file becomes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from drivers.settings import Report
from gateway.config import ConfigError, Durability, ReplayOrder, Settings, WhenFull, load

Document = Callable[[str], str]
Load = Callable[..., Settings]

ONE_POINT = "points: [{name: speed, address: 0}]"


def test_a_short_file_gets_the_defaults(loaded: Load, belt: Document) -> None:
    settings = loaded(belt(ONE_POINT))
    assert settings.buffer.path == Path("/var/lib/hub-gateway/buffer.db")
    assert settings.buffer.max_bytes == 2 * 2**30
    assert settings.buffer.when_full is WhenFull.DROP_OLDEST
    assert settings.buffer.durability is Durability.POWER_LOSS
    assert settings.http.listen == "127.0.0.1:9464"
    destination = settings.destinations[0]
    assert destination.topic == "hub/{site}/{gateway}/{device}"
    assert destination.replay.order is ReplayOrder.LIVE_FIRST
    assert (destination.qos, destination.batch, destination.keepalive) == (1, 1, 30.0)
    assert settings.devices[0].period == 1.0


def test_units_are_gone_after_loading(loaded: Load, belt: Document) -> None:
    text = (
        belt("period: 250ms\ntimeout: 2m\n" + ONE_POINT)
        + "buffer: {max_bytes: 500MB, max_age: 1.5h, min_free_disk: 0}\n"
    )
    settings = loaded(text)
    assert (settings.devices[0].period, settings.devices[0].timeout) == (0.25, 120.0)
    assert (settings.buffer.max_bytes, settings.buffer.max_age, settings.buffer.min_free_disk) == (
        500 * 10**6,
        5400.0,
        0,
    )


def test_devices_are_validated_by_their_family(loaded: Load, belt: Document) -> None:
    device = loaded(belt("lanes: 3\n" + ONE_POINT)).devices[0]
    assert type(device).__name__ == "BeltSettings"
    assert device.points[0].name == "speed"


def test_defaults_fill_what_a_device_leaves_open(loaded: Load, belt: Document) -> None:
    defaults = "defaults: {period: 5s, timeout: 3s, report: every-read, heartbeat: 2m}\n"
    device = loaded(defaults + belt("period: 1s\n" + ONE_POINT)).devices[0]
    assert (device.period, device.timeout, device.report, device.heartbeat) == (1.0, 3.0, Report.EVERY_READ, 120.0)


def test_a_point_has_a_period_and_deadband_of_its_own(loaded: Load, belt: Document) -> None:
    point = loaded(belt("points: [{name: speed, address: 0, period: 100ms, deadband: 0.5}]")).devices[0].points[0]
    assert (point.period, point.deadband) == (0.1, 0.5)


def test_settings_cannot_be_changed(loaded: Load, belt: Document) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        loaded(belt(ONE_POINT)).gateway.site = "other"  # type: ignore[misc]


def test_the_same_file_gives_equal_settings(loaded: Load, belt: Document) -> None:
    assert loaded(belt(ONE_POINT)) == loaded(belt(ONE_POINT))


def test_relative_paths_start_at_the_folder_of_the_file(folder: Path, belt: Document) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "ca.pem").touch()
    text = belt(ONE_POINT).replace("url: mqtt://broker.example", "url: mqtts://broker.example, tls: {ca: ca.pem}")
    (folder / "etc" / "hub.yaml").write_text(text + "buffer: {path: data/buffer.db}\n")
    settings = load(Path("etc/hub.yaml"))
    assert settings.buffer.path == folder / "etc" / "data" / "buffer.db"
    assert settings.destinations[0].tls is not None
    assert settings.destinations[0].tls.ca == folder / "etc" / "ca.pem"


def test_a_missing_config_file_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^hub\.yaml: the config file cannot be read: No such file or directory$"):
        load(Path("hub.yaml"))


def test_a_folder_is_no_config_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"the config file cannot be read: Is a directory"):
        load(folder)


def test_a_path_with_a_nul_is_no_config_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"the config file cannot be read"):
        load(Path("hub\0.yaml"))

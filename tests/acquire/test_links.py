from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import Driver
from drivers.settings import DeviceSettings
from gateway.links import links


class _Family:
    settings = DeviceSettings

    def link(self, device: DeviceSettings) -> str:
        return device.url.partition("?")[0]

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "family", lambda _name: _Family())


def device(name: str, url: str) -> DeviceSettings:
    return DeviceSettings(name=name, driver="toy", url=url)


def test_devices_on_one_line_share_one_driver_and_others_do_not() -> None:
    first, second = device("a", "rtu:///dev/ttyUSB0?unit=1"), device("b", "rtu:///dev/ttyUSB0?unit=2")
    other = device("c", "tcp://10.0.0.5:502")
    found = links([first, other, second])
    assert [(link.link, link.devices) for link in found] == [
        ("rtu:///dev/ttyUSB0", (first, second)),
        ("tcp://10.0.0.5:502", (other,)),
    ]


def test_equal_settings_are_equal_links_and_a_changed_device_is_another() -> None:
    before = links([device("a", "tcp://10.0.0.5:502")])
    assert links([device("a", "tcp://10.0.0.5:502")]) == before
    assert links([device("b", "tcp://10.0.0.5:502")]) != before


def test_an_unknown_driver_is_named_with_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(registry.UnknownDriver, match=r'no driver "modbsu"; known are modbus'):
        registry.family("modbsu")

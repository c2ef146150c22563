"""`config/hub.yaml`: complete, correct as it is, and with every optional line switched on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from drivers.modbus.settings import ModbusDeviceSettings
from drivers.scale.settings import ScaleSettings
from gateway.config import ConfigError, Settings, load, source
from gateway.config.settings import DefaultSettings

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def copied(folder: Path) -> Path:
    for name in ("hub.yaml", "infeed.csv"):
        shutil.copy(CONFIG / name, folder)
    return Path("hub.yaml")


def test_the_example_loads_without_any_preparation() -> None:
    settings = load(CONFIG / "hub.yaml", environment={})
    assert [device.name for device in settings.devices] == [
        "infeed-conveyor",
        "merge-drive-1",
        "merge-drive-2",
        "accumulation-3",
        "sorter-exit",
        "palletiser",
        "singulator-card",
        "weigh-1",
        "weigh-2",
        "bench-scale",
        "portal-1",
        "portal-2",
        "sorter",
    ]
    assert [len(device.points) for device in settings.devices] == [9, 4, 4, 34, 2, 1, 3, 8, 7, 7, 7, 7, 3]


def test_the_optional_lines_of_the_example_are_correct_too(copied: Path, folder: Path) -> None:
    text, switched_on = re.subn(r"^(\s+)# (\w+: )", r"\1\2", copied.read_text(), flags=re.MULTILINE)
    text, notes = re.subn(r"^ +(address|type|order): .*\n", "", text, flags=re.MULTILINE)
    assert (switched_on, notes) == (9, 4)
    copied.write_text(text)
    for name in ("ca.pem", "gateway.pem", "gateway.key", "mqtt"):
        (folder / name).write_text("hunter2\n")
    (destination,) = load(copied, environment={"CREDENTIALS_DIRECTORY": str(folder)}).destinations
    assert (destination.username, destination.client_id) == ("sort-01", "sort-01")
    assert destination.password is not None
    assert destination.password.get_secret_value() == "hunter2"
    assert destination.tls is not None
    assert destination.tls.key == folder / "gateway.key"


def test_the_example_names_every_key_of_the_gateway() -> None:
    text = (CONFIG / "hub.yaml").read_text()
    models = [
        *(Settings.model_fields[name].annotation for name in ("gateway", "buffer", "http", "commands")),
        DefaultSettings,
        type(load(CONFIG / "hub.yaml", environment={}).destinations[0]),
        ModbusDeviceSettings,
        ScaleSettings,
    ]
    for model in models:
        assert model is not None
        assert [key for key in model.model_fields if f"{key}:" not in text] == []


def test_the_mistake_of_the_contract_is_told_in_its_words(copied: Path) -> None:
    copied.write_text(copied.read_text().replace("type: float32, order", "type: flot32, order"))
    line = next(number for number, text in enumerate(copied.read_text().splitlines(), 1) if "flot32" in text)
    with pytest.raises(ConfigError) as caught:
        load(copied, environment={})
    assert str(caught.value) == (
        f'hub.yaml:{line}:49: devices[0].points[1].type: "flot32" is not a type; did you mean "float32"?'
    )


def test_a_mistake_in_the_points_file_has_its_place_there(copied: Path, folder: Path) -> None:
    csv = folder / "infeed.csv"
    csv.write_text(csv.read_text().replace("int16", "intt16"))
    with pytest.raises(ConfigError) as caught:
        load(copied, environment={})
    assert str(caught.value) == 'infeed.csv:3:26: type: "intt16" is not a type; did you mean "int16"?'


def test_mistakes_of_several_devices_are_told_together(copied: Path) -> None:
    text = copied.read_text()
    for right, wrong in [
        ("address: coil:0", "address: coll:0"),
        ("unit: 11", "unit: 1100"),
        ("rtu:///dev/ttyUSB0?baudrate=19200&parity=E\n    unit: 12", "rtu:///dev/ttyUSB0?baudrat=19200\n    unit: 12"),
        ('["holding:100-119"]', '["holding:100-119", "x"]'),
        ("type: string(16)", "typ: string(16)"),
    ]:
        assert right in text
        text = text.replace(right, wrong)
    copied.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(copied, environment={})
    assert [problem.path for problem in caught.value.problems] == [
        "devices[0].points[2].address",
        "devices[1].unit",
        "devices[2].url",
        "devices[4].forbidden",
        "devices[4].points[1].type",
        "devices[4].points[1].typ",
    ]


def test_the_example_has_no_key_twice() -> None:
    assert source.parse((CONFIG / "hub.yaml").read_bytes(), file="hub.yaml").problems == []

"""`docs/rfid.md` names every key with its default and every point, and its examples load."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.rfid.portal import POINTS
from drivers.rfid.settings import RfidDeviceSettings
from drivers.settings import DeviceSettings
from drivers.tls import DeviceTlsSettings
from gateway.config import load
from tests.plugins.documents import REPOSITORY, Document, code

PAGE = Document(REPOSITORY / "docs" / "rfid.md")


def test_every_key_is_explained() -> None:
    own = RfidDeviceSettings.model_fields.keys() - DeviceSettings.model_fields.keys() - {"tls"} | {"timeout"}
    known = own | {f"tls.{key}" for key in DeviceTlsSettings.model_fields}
    assert {code(row[0])[0] for row in PAGE.table("Keys")} == known


def test_every_default_is_the_real_one() -> None:
    for key, default, _ in PAGE.table("Keys"):
        name = code(key)[0]
        if "." in name or name in {"pattern", "channel"}:
            continue
        real = RfidDeviceSettings.model_fields[name].default
        if default in {"none", "all", "as it is"}:
            assert real in (None, ()), name
        elif isinstance(real, float):
            assert code(default) == [f"{real:g}s"], name
        else:
            assert code(default) == [str(real).lower()], name


def test_every_point_is_explained() -> None:
    assert [code(row[0])[0] for row in PAGE.table("Readings")] == [point.name for point in POINTS]


@pytest.mark.parametrize("example", PAGE.blocks("yaml"))
def test_the_examples_load(example: str, tmp_path: Path) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text(
        f"gateway: {{site: lgg, id: sort-01}}\ndestinations: [{{name: b, url: 'mqtt://127.0.0.1'}}]\n{example}"
    )
    assert load(config).devices

"""A family that the config does not name costs nothing: neither it nor its libraries are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drivers import registry
from tests.bench.idle import ONE_OF_EACH

LIBRARIES = {"modbus": "pymodbus", "opcua": "asyncua", "rfid": "epcpy", "scale": "serial"}
"""What each family stands on; a config is checked without it."""

LOAD = """
import json, sys
from pathlib import Path
from gateway.config import load
from gateway.links import links
for link in links(load(Path(sys.argv[1])).devices):
    link.open_driver(state_folder=Path()).plan()
print(json.dumps(sorted(sys.modules)))
"""


def test_every_family_is_tried() -> None:
    assert set(ONE_OF_EACH) == set(LIBRARIES) == set(registry.names())


@pytest.mark.parametrize("family", LIBRARIES)
def test_a_config_loads_its_own_family_and_no_library(family: str, tmp_path: Path) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text(
        "gateway: {site: lgg, id: sort-01}\n"
        "destinations: [{name: broker, url: 'mqtt://127.0.0.1'}]\n"
        f"devices:\n{ONE_OF_EACH[family]}"
    )
    ran = subprocess.run([sys.executable, "-c", LOAD, str(config)], capture_output=True, text=True, check=True)
    imported = set(json.loads(ran.stdout))
    assert f"drivers.{family}" in imported
    others = {f"drivers.{other}" for other in LIBRARIES if other != family}
    assert not imported & (others | set(LIBRARIES.values()))

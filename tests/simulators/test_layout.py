"""Layout files: the one that is shipped, and the mistakes people make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulators.layout import DEFAULT_LAYOUT, LayoutError, ModbusRtuSettings, load_layout

GOOD: dict[str, Any] = {
    "line": {"conveyors": [{"name": "infeed", "length_m": 3.0, "speed_mm_s": 800}]},
    "endpoints": [{"name": "plc", "kind": "modbus-tcp", "units": {1: "infeed"}}],
}


def test_the_shipped_layout_has_conveyors_on_tcp_and_two_units_on_one_serial_line() -> None:
    layout = load_layout(DEFAULT_LAYOUT)
    lines = [endpoint for endpoint in layout.endpoints if isinstance(endpoint, ModbusRtuSettings)]
    assert [len(line.units) for line in lines] == [2]
    assert 3 <= len(layout.endpoints) - len(lines) <= 5
    served = {name for endpoint in layout.endpoints for name in endpoint.units.values()}
    assert served == {conveyor.name for conveyor in layout.line.conveyors}


def load(tmp_path: Path, text: str) -> str:
    path = tmp_path / "layout.yaml"
    path.write_text(text)
    with pytest.raises(LayoutError) as caught:
        load_layout(path)
    return str(caught.value).replace(str(path), "layout.yaml")


def test_a_small_layout_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "layout.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert load_layout(path).control == "127.0.0.1:0"


def test_every_mistake_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    wrong = {
        "line": {"conveyors": [{"name": "infeed", "length_m": 0.5, "speed_mm_s": "fast"}], "parcels": 3},
        "endpoints": [{"name": "plc", "kind": "modbus-tcp", "listen": "nowhere", "units": {300: "infeed"}}],
        "control": "0.0.0.0:80",
    }
    message = load(tmp_path, yaml.safe_dump(wrong))
    for place in (
        "layout.yaml: line.conveyors[0].length_m: ",
        "layout.yaml: line.conveyors[0].speed_mm_s: ",
        "layout.yaml: line.parcels: ",
        "listen: 'nowhere' is not host:port",
        "layout.yaml: control: the control port has no password and must stay on loopback",
    ):
        assert place in message
    assert "less than or equal to 247" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"endpoints": [{**GOOD["endpoints"][0], "units": {1: "outfeed"}}]}, 'there is no conveyor "outfeed"'),
        ({"endpoints": GOOD["endpoints"] * 2}, "endpoints have the same name: plc"),
        ({"endpoints": []}, "endpoints: "),
        ({"endpoints": [{"name": "x", "kind": "profibus"}]}, "'modbus-tcp', 'modbus-rtu'"),
    ],
)
def test_names_and_kinds_must_fit(tmp_path: Path, change: dict[str, object], says: str) -> None:
    assert says in load(tmp_path, yaml.safe_dump({**GOOD, **change}))


@pytest.mark.parametrize(
    ("text", "says"), [("line: [", "is not YAML"), ("", "valid dictionary"), ("- 1", "valid dictionary")]
)
def test_what_is_no_layout_at_all_is_reported(tmp_path: Path, text: str, says: str) -> None:
    assert says in load(tmp_path, text)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be read: No such file"):
        load_layout(tmp_path / "none.yaml")

"""Layout files: those that are shipped, how much is said with little, and the mistakes people make."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulators.hub import Hub
from simulators.layout import DEFAULT_LAYOUT, LAYOUTS, LayoutError, load_layout, parse_layout
from simulators.layout_endpoints import ModbusRtuSettings, ModbusTcpSettings

INFEED = {"kind": "conveyor", "name": "infeed", "length_m": 3.0, "speed_mm_s": 800}
SCALE = {"kind": "scale", "name": "weigher", "length_m": 2.0, "speed_mm_s": 800}
SORTER = {"kind": "sorter", "name": "sorter", "chutes": ["A", "B"]}
PLC = {"name": "plc", "kind": "modbus-tcp", "units": {1: "infeed"}}
GOOD: dict[str, Any] = {"lines": [{"name": "line", "machines": [INFEED]}], "endpoints": [PLC]}


def with_machines(*machines: dict[str, Any]) -> dict[str, Any]:
    return {**GOOD, "lines": [{"name": "line", "machines": [INFEED, *machines]}]}


def test_the_default_layout_has_conveyors_on_tcp_and_two_units_on_one_serial_line() -> None:
    layout = load_layout(DEFAULT_LAYOUT)
    units = {e.name: e.units for e in layout.endpoints if isinstance(e, ModbusTcpSettings | ModbusRtuSettings)}
    assert list(units) == ["infeed", "metering", "incline", "transfer", "serial-1"]
    served = [name for names in units.values() for name in names.values()]
    assert served == [machine.name for machine in layout.lines[0].machines]
    assert len(units["serial-1"]) == 2


def test_the_small_hub_has_every_kind_of_machine_and_every_kind_of_endpoint() -> None:
    layout = load_layout(LAYOUTS / "small-hub.yaml")
    kinds = {machine.kind for machine in layout.lines[0].machines}
    assert kinds == {"conveyor", "singulator", "scale", "portal", "sorter"}
    assert layout.platforms
    assert layout.doors
    assert {endpoint.kind for endpoint in layout.endpoints} == {
        *("modbus-tcp", "modbus-rtu", "scale-tcp", "scale-serial", "llrp", "opcua")
    }


@pytest.mark.parametrize(
    ("fraction", "modbus", "scales", "readers", "servers"), [(None, 120, 48, 64, 20), (0.1, 12, 5, 7, 2)]
)
def test_the_airport_hub_is_as_large_as_it_says(
    fraction: float | None, modbus: int, scales: int, readers: int, servers: int
) -> None:
    layout = load_layout(LAYOUTS / "airport-hub.yaml", fraction=fraction)
    kinds = Counter(endpoint.kind for endpoint in layout.endpoints)
    assert kinds == {"modbus-tcp": modbus, "scale-tcp": scales, "llrp": readers, "opcua": servers}
    twin = Hub(layout.spec(), seed=1)
    assert (len(twin.scales), len(twin.portals), len(twin.sorters)) == (scales, readers, servers)


def test_a_small_layout_is_enough() -> None:
    assert parse_layout(GOOD).control == "127.0.0.1:0"


def test_intervals_are_what_was_written() -> None:
    layout = parse_layout({**GOOD, "platforms": [{"name": "p", "capacity_kg": 6, "interval_kg": 0.001}]})
    assert layout.spec().platforms[0].cell.interval_kg == Decimal("0.001")


class TestRepeating:
    def test_an_entry_is_repeated_with_its_number_in_every_name(self) -> None:
        entry = {"repeat": {"n": 3}, "name": "p-{n:02}"}
        layout = parse_layout({**GOOD, "platforms": [entry]})
        assert [platform.name for platform in layout.platforms] == ["p-01", "p-02", "p-03"]

    def test_repeats_within_a_repeat_know_both_numbers(self) -> None:
        belt = {**INFEED, "repeat": {"belt": 2}, "name": "b{line}-{belt}"}
        line = {"repeat": {"line": 2}, "name": "line-{line}", "machines": [belt]}
        layout = parse_layout({"lines": [line], "endpoints": [{**PLC, "units": {1: "b2-1"}}]})
        assert [m.name for line in layout.lines for m in line.machines] == ["b1-1", "b1-2", "b2-1", "b2-2"]

    def test_a_fraction_takes_fewer_of_the_outer_entries_and_at_least_one(self) -> None:
        belt = {**INFEED, "repeat": {"belt": 2}, "name": "b{line}-{belt}"}
        line = {"repeat": {"line": 5}, "name": "line-{line}", "machines": [belt]}
        document = {"lines": [line], "endpoints": [{**PLC, "units": {1: "b1-1"}}]}
        for fraction, lines in ((0.01, 1), (0.2, 1), (0.21, 2), (1.0, 5)):
            layout = parse_layout(document, fraction=fraction)
            assert [len(line.machines) for line in layout.lines] == [2] * lines

    def test_a_fraction_of_what_does_not_repeat_is_refused(self) -> None:
        with pytest.raises(LayoutError, match="no entry has a repeat"):
            parse_layout(GOOD, fraction=0.5)

    def test_an_endpoint_beside_its_machine_has_its_name_and_speaks_for_it(self) -> None:
        belt = {**INFEED, "endpoints": [{"kind": "modbus-tcp"}, {"kind": "modbus-rtu", "name": "second"}]}
        layout = parse_layout({"lines": [{"name": "line", "machines": [belt]}]})
        found = [(e.name, e.units) for e in layout.endpoints if isinstance(e, ModbusTcpSettings | ModbusRtuSettings)]
        assert found == [("infeed", {1: "infeed"}), ("second", {1: "infeed"})]

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ({"repeat": {"n": 0}, "name": "p"}, "with numbers from 1 to"),
            ({"repeat": 3, "name": "p"}, "must be like {line: 20}"),
            ({"repeat": {"n": 3}, "name": "p{m}"}, '"p{m}": nothing called "m" is repeated here; there is {n}'),
            ({"repeat": {"n": 3}, "name": "p"}, "machines have the same name: p"),
        ],
    )
    def test_what_cannot_be_repeated_is_refused(self, entry: dict[str, Any], says: str) -> None:
        with pytest.raises(LayoutError) as caught:
            parse_layout({**GOOD, "platforms": [entry]})
        assert says in str(caught.value)

    def test_a_mistake_in_an_entry_that_repeats_is_told_once(self) -> None:
        with pytest.raises(LayoutError) as caught:
            parse_layout({**GOOD, "platforms": [{"repeat": {"n": 50}, "name": "p{n}", "loads_per_hour": 0}]})
        assert str(caught.value) == 'platforms[0].loads_per_hour: Input should be greater than 0 (in "p1")'


def load(tmp_path: Path, text: str) -> str:
    path = tmp_path / "layout.yaml"
    path.write_text(text)
    with pytest.raises(LayoutError) as caught:
        load_layout(path)
    return str(caught.value).replace(str(path), "layout.yaml")


def test_every_mistake_is_reported_at_once_with_its_place_and_the_name_of_its_entry(tmp_path: Path) -> None:
    wrong = {
        "lines": [{"name": "a", "machines": [{**INFEED, "length_m": 0.5, "speed_mm_s": "fast"}], "parcels": 3}],
        "endpoints": [{"name": "plc", "kind": "modbus-tcp", "listen": "nowhere", "units": {300: "infeed"}}],
        "control": "0.0.0.0:80",
    }
    message = load(tmp_path, yaml.safe_dump(wrong))
    for place in (
        "layout.yaml: lines[0].machines[0].conveyor.length_m: ",
        "layout.yaml: lines[0].machines[0].conveyor.speed_mm_s: ",
        'layout.yaml: lines[0].parcels: Extra inputs are not permitted (in "a")',
        "listen: 'nowhere' is not host:port, for example 127.0.0.1:0 (in \"plc\")",
        "layout.yaml: control: the control port has no password and must stay on loopback",
    ):
        assert place in message
    assert 'greater than or equal to 1.2 (in "infeed")' in message
    assert "less than or equal to 247" in message


def test_everything_that_does_not_fit_together_is_reported_at_once(tmp_path: Path) -> None:
    endpoints = [
        PLC,
        {**PLC, "units": {1: "outfeed", 2: "nowhere"}},
        {"name": "s", "kind": "scale-tcp", "protocol": "sma", "machine": "plc"},
        {"name": "r", "kind": "llrp", "machine": "weigher"},
        {"name": "o", "kind": "opcua", "machine": "weigher"},
    ]
    document = {**with_machines(SCALE, {**SCALE, "name": "infeed"}), "endpoints": endpoints}
    assert load(tmp_path, yaml.safe_dump(document)).splitlines() == [
        "layout.yaml: machines have the same name: infeed",
        "layout.yaml: endpoints have the same name: plc",
        'layout.yaml: endpoint "plc" unit 1: there is no conveyor "outfeed"; there are infeed, weigher, infeed',
        'layout.yaml: endpoint "plc" unit 2: there is no conveyor "nowhere"; there are infeed, weigher, infeed',
        'layout.yaml: endpoint "s": there is no scale "plc"; there are weigher, infeed',
        'layout.yaml: endpoint "r": there is no portal "weigher"; there is none at all',
        'layout.yaml: endpoint "o": there is no sorter "weigher"; there is none at all',
    ]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({**GOOD, "endpoints": []}, "endpoints: "),
        ({**GOOD, "endpoints": [{"name": "x", "kind": "profibus"}]}, "'modbus-tcp', 'modbus-rtu'"),
        (with_machines(SORTER, SCALE), "a sorter must be the last machine of its line"),
        ({**GOOD, "lines": [{"name": "line", "machines": [SORTER]}]}, "a line needs a belt before its sorter"),
        (with_machines({**SORTER, "chutes": ["A", "A"]}), "chutes must have different names"),
        (with_machines({**SORTER, "speed_m_s": 2.5}), "speed_m_s is more than design_speed_m_s, which is 2"),
        (
            with_machines({**SCALE, "interval_kg": 0.007}),
            "interval_kg must be 1, 2 or 5 times a power of ten, not 0.007",
        ),
        (with_machines({**SCALE, "interval_kg": 1.0}), "100 to 100000 whole intervals of 1.0 kg, not 60"),
        (with_machines({**SCALE, "capacity_kg": 60.003}), "100 to 100000 whole intervals of 0.005 kg, not 60.003"),
        (with_machines({**SCALE, "interval_kg": 0.0001}), "100 to 100000 whole intervals of 0.0001 kg, not 60"),
    ],
)
def test_values_must_make_sense(document: dict[str, Any], says: str) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(document)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("lines: [", "is not YAML"), ("", "valid dictionary"), ("- 1", "valid dictionary")]
)
def test_what_is_no_layout_at_all_is_reported(tmp_path: Path, text: str, says: str) -> None:
    assert says in load(tmp_path, text)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be read: No such file"):
        load_layout(tmp_path / "none.yaml")

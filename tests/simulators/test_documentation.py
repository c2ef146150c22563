"""docs/simulators.md says what is: options, exit codes, kinds, faults and events."""

from __future__ import annotations

import argparse
import re
from random import Random
from typing import Any, get_args

import pytest

from simulators import cli, control, faults, ledger, twin_commands
from simulators.conveyor_map import conveyor_table
from simulators.dialects import CLASSES, build
from simulators.endpoint import Endpoint
from simulators.faults import FaultKind
from simulators.hub import Hub
from simulators.layout import LAYOUTS, parse_layout
from simulators.layout_endpoints import ModbusSettings, ScaleEndpointSettings
from simulators.ledger import Event
from tests.plugins.documents import REPOSITORY, Document, code

GUIDE = Document(REPOSITORY / "docs" / "simulators.md")


MACHINES = [
    {"kind": "conveyor", "name": "belt", "length_m": 3.0, "speed_mm_s": 1000},
    {"kind": "scale", "name": "weigher", "length_m": 3.0, "speed_mm_s": 1000},
    {"kind": "portal", "name": "portal", "length_m": 3.0, "speed_mm_s": 1000},
    {"kind": "sorter", "name": "sorter", "chutes": ["A", "rest"]},
]
BEHIND: dict[str, dict[str, Any]] = {
    "modbus-tcp": {"units": {1: "belt"}},
    "modbus-rtu": {"units": {1: "belt"}},
    "scale-tcp": {"machine": "weigher", "protocol": "toledo-continuous"},
    "scale-serial": {"machine": "weigher", "protocol": "toledo-continuous"},
    "llrp": {"machine": "portal"},
    "opcua": {"machine": "sorter"},
}


def made(kind: str) -> Endpoint:
    """An endpoint of this kind; a scale's speaks the dialect with the most that can be wrong."""
    document = {
        "lines": [{"name": "line", "machines": MACHINES}],
        "endpoints": [{"name": "here", "kind": kind, **BEHIND[kind]}],
    }
    layout = parse_layout(document)
    twin = Hub(layout.spec(), seed=1)
    tables = {name: conveyor_table(belt) for name, belt in twin.conveyors.items()}
    return build(layout.endpoints[0], twin, tables, random=Random(1))


def first_column(heading: str) -> list[str]:
    return [name for row in GUIDE.table(heading) for name in code(row[0])]


def test_every_event_of_the_ledger_is_explained_in_both_places() -> None:
    assert first_column("Ledger") == [event.value for event in Event]
    docstring = re.findall(r"^\| `([a-z]+)`", ledger.__doc__ or "", re.M)
    assert docstring == [event.value for event in Event]


def test_every_fault_is_explained_in_both_places() -> None:
    rows = [row for row in GUIDE.table("Faults") if len(row) == 2 and code(row[0])[0] not in CLASSES]
    assert [code(row[0])[0] for row in rows] == [kind.value for kind in FaultKind]
    docstring = re.findall(r"^\| `([a-z-]+)` ", faults.__doc__ or "", re.M)
    assert docstring == [kind.value for kind in FaultKind]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_guide_lists_the_faults_that_an_endpoint_can_have(kind: str) -> None:
    (listed,) = [code(row[1]) for row in GUIDE.table("Faults") if code(row[0])[0] == kind]
    possible = made(kind).possible_faults
    assert listed == [fault.value for fault in FaultKind if fault in possible and fault is not FaultKind.NONE]


def test_every_fault_is_possible_somewhere() -> None:
    possible = frozenset[FaultKind]().union(*(made(kind).possible_faults for kind in CLASSES))
    assert possible == frozenset(FaultKind)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_kind_is_spoken_by_a_class_that_says_so_and_is_in_the_guide(kind: str) -> None:
    assert made(kind).kind == kind
    assert kind in first_column("Layouts")
    assert {FaultKind.REFUSE, FaultKind.HANG} & made(kind).possible_faults


def test_machines_and_their_commands_are_in_the_guide_and_the_docstring() -> None:
    for row in GUIDE.table("Control port"):
        model = twin_commands.MODELS[code(row[0])[0]]
        keys = {name for name in model.model_fields if name != code(row[0])[0]}
        assert keys <= set(code(row[1])), row
        assert all(f"`{key}`" in (twin_commands.__doc__ or "") for key in keys)
    assert len(GUIDE.table("Control port")) == len(twin_commands.MODELS)


def test_every_layout_and_option_is_in_the_guide() -> None:
    for path in LAYOUTS.glob("*.yaml"):
        assert path.stem in GUIDE.text
    commands = cli._parser()._subparsers
    assert commands is not None
    (choices,) = [action.choices for action in commands._actions if isinstance(action, argparse._SubParsersAction)]
    for name in ("run", "ledger"):
        for action in choices[name]._actions:
            for option in action.option_strings:
                assert option in GUIDE.text or option in {"-h", "--help"}


def test_the_docstring_of_the_control_port_names_what_a_fault_needs() -> None:
    for kind, parameter in control.PARAMETERS.items():
        assert f"`{kind}`" in (control.__doc__ or "") or f"`fault: {kind}`" in (control.__doc__ or "")
        assert f"`{parameter}`" in (control.__doc__ or "")
        assert f"`{parameter}`" in GUIDE.section("Faults")


def test_every_kind_of_settings_has_a_class() -> None:
    kinds = [get_args(model.model_fields["kind"].annotation)[0] for model in get_args(ModbusSettings)]
    kinds += [get_args(model.model_fields["kind"].annotation)[0] for model in get_args(ScaleEndpointSettings)]
    assert [*kinds, "llrp", "opcua"] == list(CLASSES)

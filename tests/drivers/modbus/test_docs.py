"""`docs/modbus.md` says what the driver does: its keys, its examples, its numbers."""

from __future__ import annotations

import pytest
import yaml

from drivers.modbus.encode import encode_registers
from drivers.modbus.endpoint import parse_endpoint
from drivers.modbus.point import ModbusPoint, Order, Range, Table, parse_address, parse_type
from drivers.modbus.probe_table import Sweep, lines
from drivers.modbus.settings import ModbusDeviceSettings
from tests.plugins.documents import REPOSITORY, Document, code

PAGE = Document(REPOSITORY / "docs" / "modbus.md")


def test_the_urls_are_urls_and_their_defaults_are_those_shown() -> None:
    for url, _, default in PAGE.table("Links"):
        endpoint = parse_endpoint(code(url)[0])
        assert type(endpoint) is type(parse_endpoint(code(url)[0].partition("?")[0]))
        if default == "these settings":
            assert endpoint == parse_endpoint(code(url)[0].partition("?")[0])
        else:
            assert parse_endpoint(code(url)[0].rpartition(":")[0]).port == int(default)  # type: ignore[union-attr]


def test_the_examples_are_devices() -> None:
    for block in PAGE.blocks("yaml"):
        for device in yaml.safe_load(block)["devices"]:
            ModbusDeviceSettings.model_validate(device)


@pytest.mark.parametrize(("column", "kind", "number"), [(1, "uint32", 123456789), (2, "float32", 12.34)])
def test_the_orders_are_those_of_the_codec(column: int, kind: str, number: float) -> None:
    rows = [row for row in PAGE.table("Addresses and types") if code(row[0])[0] in list(Order)]
    assert len(rows) == len(Order)
    for row in rows:
        point = ModbusPoint(
            name="x", address=parse_address("holding:0"), type=parse_type(kind), order=Order(code(row[0])[0])
        )
        assert encode_registers(point, number) == bytes.fromhex(code(row[column])[0])


def test_the_probe_prints_what_the_page_shows() -> None:
    sweep = Sweep(refused=dict.fromkeys((2, 3), "exception 02 (illegal data address)"))
    sweep.add(Range(Table.HOLDING, 0, 2), bytes.fromhex("4145 70A4"))
    sweep.add(Range(Table.HOLDING, 4, 6), bytes.fromhex("075B CD15"))
    (shown,) = PAGE.blocks("text")
    assert shown.splitlines()[1:] == list(lines(Range(Table.HOLDING, 0, 6), sweep))


def test_the_options_of_the_probe_are_explained() -> None:
    import argparse

    from drivers.modbus.probe import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    for_tls = {"--ca", "--certificate", "--key", "--server-name", "--no-verify"}
    assert {code(row[0])[0] for row in PAGE.table("Probing")} == options - {"--help"} - for_tls

"""What the documentation says is what the program does: commands are run, tables are compared, links lead somewhere.

In the README, ```` ```console ```` blocks are run as they stand (see `tests.plugins.documents`). Commands in
```` ```sh ```` blocks change the machine or take long: their targets, files, units and options must exist.
"""

from __future__ import annotations

import argparse
import re
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.modbus.codec import compile_decoder
from drivers.modbus.plan import Limits, plan
from drivers.modbus.point import ModbusPoint, Order, parse_address, parse_type
from drivers.model import Reason
from gateway import cli
from gateway.cli import Exit
from gateway.config import json_schema, load
from simulators import cli as simulators_cli
from tests.plugins.documents import REPOSITORY, Document, code, transcript

README = Document(REPOSITORY / "README.md")
DECISIONS = REPOSITORY / "docs" / "decisions"
DOCUMENTS = [
    Document(path)
    for path in sorted(
        [
            README.path,
            REPOSITORY / "CHANGELOG.md",
            REPOSITORY / "systemd" / "README.md",
            *REPOSITORY.glob("docs/**/*.md"),
        ]
    )
]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.path.relative_to(REPOSITORY)))

SCHEMA: dict[str, Any] = json_schema()


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path: Path) -> None:
    with transcript(
        tmp_path,
        ports=["5020", "18830", "9464"],
        listening={"hub-simulators": "5020", "/usr/sbin/mosquitto": "18830"},
    ) as session:
        session.write_files(README)
        for block in README.blocks("console"):
            session.run(block)


@every_document
def test_commands_that_are_only_shown_refer_to_what_exists(document: Document) -> None:
    for command in _shown_commands(document):
        words = shlex.split(command, comments=True)
        program = Path(words[0]).name if words else ""
        if program == "make":
            targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert words[1] in targets, command
        if program == "hub-gateway":
            _accepts(cli._parser(), words[1:], command)
        if program == "hub-simulators":
            _accepts(simulators_cli._parser(), words[1:], command)
        if program == "systemctl" and words[-1].startswith("hub-"):
            assert (REPOSITORY / "systemd" / f"{words[-1]}.service").exists(), command
        for word in words:
            if re.match(r"(config|systemd|requirements|tests|docs|simulators)/", word):
                assert (REPOSITORY / word).exists(), command


def test_the_readme_installs_as_the_readme_of_the_service_does() -> None:
    of_the_service = Document(REPOSITORY / "systemd" / "README.md").blocks("sh")[0]
    assert of_the_service in README.blocks("sh")


def test_the_command_line_table_names_every_command() -> None:
    named = [code(cell)[0].split()[1] for cell, _ in README.table("Command line") if "hub-gateway" in cell]
    assert set(named) == set(_commands(cli._parser()))


def test_the_exit_codes_are_those_of_the_program() -> None:
    codes = {int(cell) for cell, _ in README.table("Command line") if cell.isdigit()}
    assert codes == {code.value for code in Exit} | {1, 2}  # a traceback and bad usage are Python's own


@every_document
def test_links_lead_to_files_and_headings_that_exist(document: Document) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.text):
        if target.startswith("#"):
            headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", document.text, re.M)]
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (document.path.parent / target).exists(), target


def test_every_decision_is_in_the_index() -> None:
    indexed = re.findall(r"\]\((\d{4}-[^)]+)\)", (DECISIONS / "README.md").read_text("utf-8"))
    assert indexed == sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml")))
def test_every_config_file_loads(name: str, tmp_path: Path) -> None:
    environment = {
        "DEMO_FOLDER": str(tmp_path),
        "DEMO_BROKER": "mqtt://127.0.0.1",
        "DEMO_LISTEN": "127.0.0.1:0",
        "DEMO_SERIAL_1": "rtu:///dev/ttyUSB0",
        **{f"DEMO_{device}": f"tcp://{device.lower()}" for device in ("INFEED", "METERING", "INCLINE", "TRANSFER")},
    }
    assert load(REPOSITORY / "config" / name, environment=environment).devices


def test_the_config_tables_have_the_keys_and_defaults_of_the_schema() -> None:
    models = {
        "`gateway`": "GatewaySettings",
        "`buffer`": "BufferSettings",
        "`destinations`": "DestinationSettings",
        "`http`": "HttpSettings",
        "`defaults`": "DefaultSettings",
        "`devices`": "modbus_device",
        "`points`": "ModbusPointSettings",
    }
    for heading, model in models.items():
        documented = {code(row[0])[0]: _default_in_table(row[1]) for row in README.table(heading)}
        assert documented == dict(_keys(SCHEMA["$defs"][model])), heading


def test_the_section_table_has_the_sections_of_the_schema() -> None:
    documented = {code(row[0])[0]: row[1] == "required" for row in README.table("Configuration")}
    assert documented == {key: key in SCHEMA["required"] for key in SCHEMA["properties"]}


def test_the_orders_of_bytes_are_those_of_the_worked_example() -> None:
    number, rows = 123456789, [row for row in README.table("Modbus") if code(row[0])[0] in list(Order)]
    assert len(rows) == len(Order)
    for row in rows:
        registers = [int(word, 16) for word in row[1:3]]
        point = ModbusPoint(
            name="x", address=parse_address("holding:0"), type=parse_type("uint32"), order=Order(code(row[0])[0])
        )
        (block,) = plan([point], Limits())
        assert compile_decoder(block)(struct.pack(">HH", *registers))[0] == (number,), row


def test_the_reasons_of_bad_quality_are_those_of_the_model() -> None:
    (sentence,) = re.findall(r"^Reasons: (.*?)\. ", README.section("MQTT"), re.DOTALL | re.MULTILINE)
    assert set(code(sentence)) == set(Reason)


def _shown_commands(document: Document) -> Iterator[str]:
    for block in document.blocks("sh"):
        for line in block.splitlines():
            yield from re.split(r" \| | -- ", line.removesuffix(" &"))


def _accepts(parser: argparse.ArgumentParser, arguments: list[str], command: str) -> None:
    redirected = [number for number, word in enumerate(arguments) if word == ">"]
    try:
        parser.parse_args(arguments[: redirected[0]] if redirected else arguments)
    except SystemExit:
        pytest.fail(f"not accepted: {command}")


def _commands(parser: argparse.ArgumentParser) -> list[str]:
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return list(choices)


def _keys(model: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key below a model of the schema, dotted, with its default: "required", None, or the value."""
    for key, node in model["properties"].items():
        inner = _object(node)
        if inner is not None:
            yield from _keys(inner, f"{prefix}{key}.")
        elif key in model.get("required", ()):
            yield prefix + key, "required"
        else:
            default = node.get("default")
            yield prefix + key, None if default in ("", []) else default


def _object(node: dict[str, Any]) -> dict[str, Any] | None:
    """The model that a property leads to, when it is one with keys of its own."""
    for one in (node, *node.get("anyOf", ())):
        name = one.get("$ref", "").removeprefix("#/$defs/")
        if "properties" in SCHEMA["$defs"].get(name, {}):
            found: dict[str, Any] = SCHEMA["$defs"][name]
            return found
    return None


def _default_in_table(cell: str) -> object:
    if cell in {"required", "none"}:
        return None if cell == "none" else cell
    (text,) = code(cell)
    return yaml.safe_load(text)

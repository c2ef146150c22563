"""What the documentation says is what the program does: commands are run, tables are compared, links lead somewhere.

In the README, ```` ```console ```` blocks are run as they stand (see `tests.plugins.documents`). Commands in
```` ```sh ```` blocks change the machine or take long: their targets, files, units and options must exist.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.model import Reason
from drivers.settings import DeviceSettings, PointSettings
from gateway import cli
from gateway.cli import Exit
from gateway.config import json_schema, load
from simulators import cli as simulators_cli
from tests.plugins.documents import REPOSITORY, Document, code, keys_in_table, keys_of, transcript

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
PAGES = {"modbus": "modbus.md", "opcua": "opcua.md", "scale": "scales.md", "rfid": "rfid.md"}


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
            headings = re.findall(r"^#+ (.+)$", document.text, re.MULTILINE)
            assert target[1:] in [_anchor(heading) for heading in headings], target
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
        "DEMO_COUNTER": "serial:///dev/ttyUSB1",
        "DEMO_PALLET_SCALE": "serial:///dev/ttyUSB2",
        "DEMO_WEIGHER": "tcp://weigher:4001",
        "DEMO_SORTER": "opc.tcp://sorter",
        **{f"DEMO_{device}": f"tcp://{device.lower()}" for device in ("INFEED", "SINGULATOR", "WEIGHER_DRIVE")},
        **{f"DEMO_{device}": f"llrp://{device.lower()}" for device in ("PORTAL", "DOOR")},
    }
    assert load(REPOSITORY / "config" / name, environment=environment).devices


def test_the_config_tables_have_the_keys_and_defaults_of_the_schema() -> None:
    models = {
        "`gateway`": "GatewaySettings",
        "`buffer`": "BufferSettings",
        "`destinations`": "DestinationSettings",
        "`http`": "HttpSettings",
        "`defaults`": "DefaultSettings",
    }
    for heading, model in models.items():
        assert keys_in_table(README.table(heading)) == keys_of(SCHEMA, model), heading


def test_the_tables_of_devices_and_points_have_the_keys_of_every_family() -> None:
    devices = [keys_of(SCHEMA, f"{family}_device") for family in registry.names()]
    common = {key: default for key, default in devices[0].items() if all(key in other for other in devices)}
    documented = keys_in_table(README.table("`devices`"))
    assert documented.keys() == common.keys()
    assert {key: documented[key] for key in DeviceSettings.model_fields} == {
        key: common[key] for key in DeviceSettings.model_fields
    }
    assert set(keys_in_table(README.table("`points`"))) == set(PointSettings.model_fields)


@pytest.mark.parametrize(("family", "page"), PAGES.items())
def test_the_page_of_a_family_has_the_keys_that_are_its_own(family: str, page: str) -> None:
    points = SCHEMA["$defs"][f"{family}_device"]["properties"]["points"]["items"]["$ref"].removeprefix("#/$defs/")
    own = keys_of(SCHEMA, f"{family}_device").keys() - keys_in_table(README.table("`devices`")).keys()
    own |= keys_of(SCHEMA, points).keys() - PointSettings.model_fields.keys()
    text = Document(REPOSITORY / "docs" / page).text
    documented = {name for cell in re.findall(r"^\| (.+?) \|", text, re.MULTILINE) for name in code(cell)}
    assert own - documented == set()


def test_every_family_has_a_page() -> None:
    assert set(PAGES) == set(registry.names())


def test_the_section_table_has_the_sections_of_the_schema() -> None:
    documented = {code(row[0])[0]: row[1] == "required" for row in README.table("Configuration")}
    assert documented == {key: key in SCHEMA["required"] for key in SCHEMA["properties"]}


def test_the_reasons_of_bad_quality_are_those_of_the_model() -> None:
    (sentence,) = re.findall(r"^Reasons: (.*?)\. ", README.section("MQTT"), re.DOTALL | re.MULTILINE)
    assert set(code(sentence)) == set(Reason)


def _anchor(heading: str) -> str:
    """What a link to a heading is called: lower case, hyphens for blanks, no punctuation."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


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

"""The page about commands says what there is."""

from __future__ import annotations

import json

import pytest

from gateway.commands.commands import MOST_AT_ONCE
from gateway.commands.message import LARGEST_BYTES, answered, parse, refused
from gateway.commands.repeats import REMEMBERED_S
from gateway.config import CommandsSettings
from gateway.health import CommandOutcome
from tests.plugins.documents import REPOSITORY, Document, code

PAGE = Document(REPOSITORY / "docs" / "commands.md")


def test_the_keys_and_defaults_are_those_of_the_settings() -> None:
    rows = PAGE.table("Writing to devices by MQTT")
    shown = {code(key)[0]: code(default)[0] for key, default, _ in rows}
    defaults = CommandsSettings()
    assert shown == {
        "enabled": str(defaults.enabled).lower(),
        "timeout": f"{defaults.timeout:g}s",
        "per_minute": str(defaults.per_minute),
    }
    assert shown.keys() == CommandsSettings.model_fields.keys()


def test_the_outcomes_are_those_that_are_counted() -> None:
    assert {code(row[0])[0] for row in PAGE.table("Who did what")} == set(CommandOutcome)


def test_the_answers_are_those_that_are_sent() -> None:
    (block,) = PAGE.blocks("json")
    good, bad = map(json.loads, block.splitlines())
    assert json.loads(answered(parse(b'{"value": 1.2}'))) == good
    assert json.loads(refused(bad["error"])) == bad


@pytest.mark.parametrize(
    "words", [f"at most {LARGEST_BYTES} bytes", "within five minutes", f"{MOST_AT_ONCE} of one broker"]
)
def test_its_limits_are_those_of_the_program(words: str) -> None:
    assert words in PAGE.text
    assert REMEMBERED_S == 5 * 60

"""What the person on call reads is complete: every metric, every alert, every error and warning of the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from gateway import metrics
from gateway.buffer.drops import DropReason
from gateway.health import DestinationHealth, DeviceHealth, Health
from tests.plugins.documents import REPOSITORY, Document, code

README = Document(REPOSITORY / "README.md")
OPERATIONS = Document(REPOSITORY / "docs" / "operations.md")
PREFIX = "hub_gateway_"


def test_the_reasons_of_drops_are_those_of_the_buffer() -> None:
    assert {code(row[0])[0] for row in OPERATIONS.table("Why readings are dropped")} == set(DropReason)


def test_the_metrics_table_of_the_readme_is_what_a_scrape_gives() -> None:
    documented = {
        PREFIX + code(name)[0]: (kind, tuple(code(labels))) for name, kind, labels, _ in README.table("Metrics")
    }
    assert documented == {name: about for name, about in _scraped().items() if name.startswith(PREFIX)}


def test_operations_explains_every_metric() -> None:
    sections = ["Devices", "Buffer", "Destinations", "Process"]
    explained = [code(row[0])[0] for section in sections for row in OPERATIONS.table(section)]
    assert sorted(explained) == sorted(_scraped())


def test_the_alert_rules_watch_every_metric_and_no_other() -> None:
    rules = [
        rule
        for block in OPERATIONS.blocks("yaml")
        for group in yaml.safe_load(block)["groups"]
        for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    watched = {
        name.removesuffix("_bucket")
        for rule in rules
        for name in re.findall(r"\b(?:hub_gateway|process)_\w+", rule["expr"])
    }
    scraped = set(_scraped())
    assert watched <= scraped
    assert {name for name in scraped if name.startswith(PREFIX)} <= watched


@pytest.mark.parametrize(
    ("heading", "levels"), [("Errors in the log", {"error", "log"}), ("Warnings in the log", {"warning", "log"})]
)
def test_operations_explains_every_message_of_the_log(heading: str, levels: set[str]) -> None:
    logged = {message for level, message in _logged() if level in levels}
    explained = [code(row[0].replace("`sqlite3", "sqlite3"))[0] for row in OPERATIONS.table(heading)]
    for message in logged:
        assert any(_is_beginning(each, message) for each in explained), f"not explained: {message}"
    for each in explained:
        assert any(_is_beginning(each, message) for message in logged), f"not logged: {each}"


def _scraped() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Metric → type and labels, as one scrape of a gateway with one of everything gives them."""
    health = Health()
    health.devices["infeed"] = DeviceHealth("infeed", "modbus")
    health.destinations["broker"] = DestinationHealth("broker")
    health.buffer.dropped["max-bytes"] = 1
    found = {}
    for family in metrics.registry(health).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        found[name] = (family.type, tuple(labels))
    return found


def _logged() -> Iterator[tuple[str, str]]:
    """(level, message with `…` for what differs) of every warning and error that the code can log."""
    for folder in ("gateway", "drivers"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    level, logger = call.func.attr, call.func.value
                    if (
                        isinstance(logger, ast.Name)
                        and logger.id in {"log", "_log"}
                        and level in {"warning", "error", "log"}
                    ):
                        message = ast.literal_eval(call.args[1 if level == "log" else 0])
                        yield level, re.sub(r"%[-.0-9]*[a-z]", "…", message).replace("`", "")


def _is_beginning(explained: str, message: str) -> bool:
    if not explained.strip("… :"):  # `…` and `…: …` would begin everything
        return explained == message
    return message.startswith(explained)

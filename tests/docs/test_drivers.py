"""What the guide for drivers shows is the example, and what it says of the registry is so."""

from __future__ import annotations

import tomllib

import pytest

from drivers import registry
from tests.drivers.text_line.rig import PACKAGE
from tests.plugins.documents import REPOSITORY, Document

GUIDE = Document(REPOSITORY / "docs" / "drivers.md")
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("block", GUIDE.blocks("python"), ids=lambda block: block.split("(")[0].split(":")[0].strip())
def test_the_code_of_the_guide_stands_in_the_example(block: str) -> None:
    sources = [path.read_text("utf-8") for path in (PACKAGE / "text_line").glob("*.py")]
    assert any(block.strip("\n") in source for source in sources)


def test_the_entry_point_of_the_guide_is_that_of_the_example() -> None:
    (block,) = GUIDE.blocks("toml")
    shown = tomllib.loads(block)["project"]["entry-points"]
    assert shown == PROJECT["project"]["entry-points"]
    assert list(shown) == [registry.ENTRY_POINT_GROUP]


def test_the_table_of_the_example_names_its_modules() -> None:
    text = (PACKAGE / "README.md").read_text("utf-8")
    modules = {path.name for path in (PACKAGE / "text_line").glob("*.py")}
    assert {name for name in modules if f"`text_line/{name}`" not in text} == set()

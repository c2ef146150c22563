"""Whatever the bytes: settings or `ConfigError`, never another exception, and never a secret in a message."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import ConfigError, load, source

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLE = (CONFIG / "hub.yaml").read_text()
DOCUMENT = source.parse(EXAMPLE.encode(), file="hub.yaml").data
POINTS = (CONFIG / "infeed.csv").read_bytes()
SECRET = "hunter2"
PARTS = [
    *(
        "devices",
        "gateway",
        "destinations",
        "defaults",
        "buffer",
        "http",
        "points",
        "points_file",
        "name",
        "url",
        "tls",
    ),
    *(
        "driver",
        "modbus",
        "belt",
        "period",
        "address",
        "holding:0",
        "type",
        "float32",
        "string(4)",
        "forbidden",
        "unit",
    ),
    *(
        "tcp://h:502",
        "rtu:///dev/x?parity=E",
        "mqtts://h",
        "1s",
        "${env:S}",
        "${file:infeed.csv}",
        "${",
        "$${",
        "..",
        ".",
    ),
    *(
        "infeed.csv",
        "9" * 400,
        "\0",
        "\ud800",
        "{device}",
        "{",
        "127.0.0.1:0",
        "2GiB",
        "replay",
        "password",
        "username",
    ),
]


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory, _belt_family_is_installed: None) -> Callable[..., None]:
    folder = tmp_path_factory.mktemp("fuzz")

    def attempt_to_load(document: bytes, *, points: bytes = POINTS) -> None:
        (folder / "hub.yaml").write_bytes(document)
        (folder / "infeed.csv").write_bytes(points)
        told = ""
        try:
            load(folder / "hub.yaml", environment={"S": SECRET})
        except ConfigError as error:
            told = "\n".join(map(str, error.problems)) or "nothing"
        assert told != "nothing"
        assert SECRET not in told
        told.encode("utf-8")  # it can be printed

    return attempt_to_load


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], scope="module")
def _both_parsers(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_Loader", getattr(yaml, request.param))
        yield


@settings(max_examples=60, deadline=None, database=None)
@given(document=st.binary(max_size=300))
@pytest.mark.usefixtures("_both_parsers")
def test_any_bytes(document: bytes, attempt: Callable[..., None]) -> None:
    attempt(document)


@settings(max_examples=120, deadline=None, database=None)
@given(
    words=st.lists(
        st.sampled_from([*":,[]{}-?&*!|>'\"%@`#~<=\n\t \\", "\n  ", ": ", "- ", "&a", "*a", "<<", "---", *PARTS])
    )
)
@pytest.mark.usefixtures("_both_parsers")
def test_any_yaml_signs(words: list[str], attempt: Callable[..., None]) -> None:
    attempt("".join(words).encode("utf-8", "replace"))


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(PARTS), st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(PARTS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


def as_yaml(value: Any) -> bytes:
    """JSON is YAML, and quick to write."""
    return json.dumps(value).encode()


@settings(max_examples=60, deadline=None, database=None)
@given(sections=st.dictionaries(st.sampled_from(PARTS[:6]), values))
def test_any_sections(sections: dict[str, Any], attempt: Callable[..., None]) -> None:
    attempt(as_yaml(sections))


@settings(max_examples=120, deadline=None, database=None)
@given(data=st.data())
def test_the_example_with_any_value_changed(data: st.DataObject, attempt: Callable[..., None]) -> None:
    document = copy.deepcopy(DOCUMENT)
    for _ in range(data.draw(st.integers(1, 3))):
        inner = document
        while True:
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
                inner = inner[key]
                continue
            if data.draw(st.booleans()):
                inner[key] = data.draw(values)
            else:
                del inner[key]
                if isinstance(inner, dict):
                    inner[data.draw(st.sampled_from(PARTS))] = data.draw(values)
            break
    attempt(as_yaml(document))


@settings(max_examples=60, deadline=None, database=None)
@given(start=st.integers(0, len(EXAMPLE)), length=st.integers(0, 30), text=st.sampled_from(PARTS) | st.text(max_size=5))
def test_the_example_with_any_text_changed(start: int, length: int, text: str, attempt: Callable[..., None]) -> None:
    attempt((EXAMPLE[:start] + text + EXAMPLE[start + length :]).encode("utf-8", "replace"))


@settings(max_examples=60, deadline=None, database=None)
@given(
    points=st.binary(max_size=200)
    | st.lists(
        st.sampled_from([*',;"\n\r #', "name", "address", "type", "float32", "holding:0", "a", "1"]), max_size=60
    ).map(lambda words: "".join(words).encode())
)
def test_any_points_file(points: bytes, attempt: Callable[..., None]) -> None:
    attempt(EXAMPLE.encode(), points=points)

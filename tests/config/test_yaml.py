"""YAML's own pitfalls, and files that are no YAML at all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import yaml

from gateway.config import ConfigError, source

Document = Callable[[str], str]
Told = Callable[..., list[str]]

ONE_POINT = "points: [{name: speed, address: 0}]"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML has a parser in C and one in Python, for machines without the first."""
    monkeypatch.setattr(source, "_Loader", getattr(yaml, request.param))


def data(text: str) -> Any:
    return source.parse(text.encode(), file="hub.yaml").data


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "NO", "y", "12:30", "2024-01-01", "0b1", "1_000", "=", "0x", "."]
)
def test_words_that_old_yaml_would_change_stay_text(word: str) -> None:
    assert data(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("holding:12.3", "holding:12.3"),
        ("coil:0", "coil:0"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert data(f"a: {text}")["a"] == value
    assert type(data(f"a: {text}")["a"]) is type(value)


def test_keys_are_text_as_they_are_written() -> None:
    assert data("on: 1\n12: 2\n~: 3") == {"on": 1, "12": 2, "~": 3}


def test_a_byte_order_mark_is_skipped() -> None:
    assert source.parse(b"\xef\xbb\xbfa: 1", file="hub.yaml").data == {"a": 1}


def test_aliases_and_merge_keys_are_filled_in() -> None:
    text = "base: &base {a: 1, b: 2}\none: *base\ntwo: {<<: *base, b: 3}\nthree: {<<: [{b: 9}, *base]}\n"
    assert data(text) == {
        "base": {"a": 1, "b": 2},
        "one": {"a": 1, "b": 2},
        "two": {"a": 1, "b": 3},
        "three": {"a": 1, "b": 9},
    }


def test_a_mistake_behind_an_alias_is_told_where_it_is_written(told: Told, belt: Document) -> None:
    text = belt("points:\n- &point {name: a, address: x}\n- {<<: *point, name: b}\n- *point")
    twice = (
        'hub.yaml:9:21: devices[0].points[2].name: "a" is taken already, '
        "by devices[0].points[0].name, whose text an alias (*name) repeats here"
    )
    assert told(text) == [
        twice,
        'hub.yaml:9:33: devices[0].points[0].address: "x" is not a whole number',
        'hub.yaml:9:33: devices[0].points[1].address: "x" is not a whole number',
        'hub.yaml:9:33: devices[0].points[2].address: "x" is not a whole number',
    ]


def test_keys_that_stand_twice_are_all_told(told: Told, belt: Document) -> None:
    text = belt("lanes: 1\nlanes: 2\npoints: [{name: a, address: 0, name: b}]") + "http: {}\nhttp: {}\n"
    assert told(text) == [
        "hub.yaml:9:5: devices[0].lanes: stands twice; the first is in line 8",
        "hub.yaml:10:36: devices[0].points[0].name: stands twice; the first is in line 10",
        "hub.yaml:12:1: http: stands twice; the first is in line 11",
    ]


def _laughs(levels: str = "abcdefghij") -> str:
    lines = ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"{name}: &{name} [{','.join([f'*{last}'] * 10)}]" for last, name in pairwise(levels)]
    return "\n".join(lines)


REFUSED = {
    "nothing": ("", "hub.yaml:1:1: the file is empty"),
    "a comment alone": ("# nothing\n", "hub.yaml:1:1: the file is empty"),
    "a list": ("- a", "hub.yaml:1:1: the file must consist of sections: gateway:"),
    "text": ("hello", "hub.yaml:1:1: the file must consist of sections"),
    "two documents": ("a: 1\n---\nb: 2\n", "hub.yaml:2:1: a config file is one document; remove this ---"),
    "a tab": ("a:\n\tb: 1\n", "hub.yaml:2:1: a tab stands in the indentation; use spaces"),
    "a colon too many": ("a: b: c\n", 'hub.yaml:1:5: a ":" does not belong here; text that contains ": " needs quotes'),
    "an open bracket": ("a: [1,\n", "hub.yaml:"),
    "an open quote": ("a: 'x\n", "a quote is opened and never closed"),
    "a percent sign": ("a: %x\n", "hub.yaml:1:4: "),
    "wrong indentation": ("a:\n  - b\n c: d\n", "hub.yaml:3:2: "),
    "an alias of nothing": ("a: *hunter2\n", "hub.yaml:1:4: nothing above is marked with & and this name"),
    "an alias of itself": ("a: &a [*a]\n", "hub.yaml:1:8: nothing above is marked with & and this name"),
    "a tag": ("a: !hunter2 x\n", "hub.yaml:1:4: tags are not understood; text that starts with ! needs quotes"),
    "a Python object": ("a: !!python/object/apply:os.system [x]\n", "hub.yaml:1:4: tags are not understood"),
    "a key that is a list": ("? [a]\n: b\n", "hub.yaml:1:3: a key must be text"),
    "a key that is an alias of a list": ("a: &a [1]\n*a : b\n", "hub.yaml:2:1: a key must be text"),
    "a merge of text": ("<<: x\n", "hub.yaml:1:1: << takes a mapping that stands above: <<: *name"),
    "a control character": ("a: \x01\n", "hub.yaml:1:4: the character U+0001 cannot stand in a config file"),
    "a wrong encoding": ("a: 1\nb: °\n".encode("latin-1"), "hub.yaml:2:4: the file is not UTF-8 text"),
    "another encoding": ("a: 1\n".encode("utf-16"), "hub.yaml:1:1: the file is not UTF-8 text"),
    "deep brackets": ("[" * 100_000, "1: lists and mappings are nested more than 50 deep"),
    "deep dashes": ("- " * 100_000, "hub.yaml:1:101: lists and mappings are nested more than 50 deep"),
    "a billion laughs": (_laughs(), "aliases (*name) repeat this too often or too deep"),
    "an escape beyond Unicode": ('a: "\\UFFFFFFFF"\n', "hub.yaml:1:"),
    "half a character": ('a: "\\uD800"\n', "hub.yaml:1:"),
    "a key with half a character": ('"\\uD800": 1\n', "hub.yaml:1:"),
    "a version of the future": ("%YAML 9.9\n---\na: 1\n", "hub.yaml:1:1: "),
}


@pytest.mark.parametrize(("text", "line"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_config_file_is_refused_with_its_place(text: str | bytes, line: str, told: Told) -> None:
    (found,) = told(text)
    assert line in found
    assert "hunter2" not in found
    assert "Traceback" not in found


def test_deep_aliases_are_bounded_too() -> None:
    levels = [f"k{n}: &k{n} {'[' * 20}{f'*k{n - 1}' if n else '1'}{']' * 20}" for n in range(5)]
    with pytest.raises(ConfigError, match="too often or too deep"):
        data("\n".join(levels))


def test_merging_again_and_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.config.tree.MAX_VALUES", 1000)
    base = ", ".join(f"k{n}: 1" for n in range(100))
    with pytest.raises(ConfigError, match="more than 1000 values"):
        data(f"base: &base {{{base}}}\nall: [" + ", ".join(["{<<: *base}"] * 20) + "]")


def test_a_huge_file_is_refused_before_it_is_read_as_yaml() -> None:
    with pytest.raises(ConfigError, match=r"hub\.yaml: is larger than 16 MiB"):
        source.parse(b"#" * (source.MAX_BYTES + 1), file="hub.yaml")

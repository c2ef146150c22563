"""Expressions of operators."""

from __future__ import annotations

import re

import pytest

from drivers.pattern import TooSlow, compile_pattern, parse_request

GROUPS = {"weight", "unit", "stable"}


def test_named_groups_are_found_and_those_that_took_no_part_are_left_out() -> None:
    pattern = compile_pattern(r"(?P<weight>[\d.]+) (?P<unit>kg)?(?P<stable>S)?", groups=GROUPS, needs={"weight"})
    assert pattern.match("12.340 kg") == {"weight": "12.340", "unit": "kg"}
    assert pattern.groups == GROUPS


def test_a_part_of_a_line_is_no_match() -> None:
    pattern = compile_pattern(r"(?P<weight>\d+)", groups=GROUPS, needs={"weight"})
    assert pattern.match("12 kg") is None
    assert pattern.match("x12") is None


def test_an_expression_that_backtracks_without_end_is_stopped() -> None:
    pattern = compile_pattern(r"(?:(?:a|b|ab)+)+(?<!b)(?P<weight>\d)", groups=GROUPS, needs={"weight"})
    with pytest.raises(TooSlow, match="longer than 50 ms"):
        pattern.match("ab" * 100 + "!")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"(?P<weight>\d+", "the pattern is not a regular expression: missing ) at character"),
        (
            r"(?P<wieght>\d+)",
            'the pattern has a group "wieght"; known are stable, unit, weight; did you mean "weight"?',
        ),
        (r"(?P<x>\d+)", 'the pattern has a group "x"; known are stable, unit, weight'),
        (r"\d+", "the pattern needs a group (?P<weight>…) that takes the weight"),
    ],
)
def test_a_wrong_expression_is_explained(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        compile_pattern(text, groups=GROUPS, needs={"weight"})


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"SI\r\n", b"SI\r\n"),
        ("SI\r\n", b"SI\r\n"),
        (r"\eP\r\n", b"\x1bP\r\n"),
        (r"\x1BP\x05", b"\x1bP\x05"),
        (r"a\\b\t\0", b"a\\b\t\0"),
        ("\xb0", b"\xb0"),
    ],
)
def test_a_request_may_be_written_with_escapes(text: str, data: bytes) -> None:
    assert parse_request(text) == data


@pytest.mark.parametrize("text", ["", r"\q", "\\", r"\x1", "€"])
def test_a_request_that_stands_for_no_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nothing to send|is not known|is not one byte"):
        parse_request(text)

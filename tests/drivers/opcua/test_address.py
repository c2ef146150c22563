"""How nodes are named (Part 6, 5.3.1.10 and 5.3.1.11; Part 4, annex A.2)."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.address import (
    NodeAddress,
    PathAddress,
    Step,
    parse_address,
    parse_part,
    part_text,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("i=2258", NodeAddress(0, 2258)),
        ("ns=2;s=Speed", NodeAddress(2, "Speed")),
        ('ns=3;s="DB"."arr"[1]', NodeAddress(3, '"DB"."arr"[1]')),
        ("nsu=urn:hub:conveyor;s=Sorter.Speed", NodeAddress("urn:hub:conveyor", "Sorter.Speed")),
        ("nsu=http://example.org/a%3Bb;i=1", NodeAddress("http://example.org/a;b", 1)),
        ("ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a", NodeAddress(1, UUID("09087e75-8e5e-499b-954f-f2a9603db28a"))),
        ("ns=1;b=M/RbKBsRVkePCePcx24oRA==", NodeAddress(1, bytes.fromhex("33f45b281b1156478f09e3dcc76e2844"))),
        ("/Objects/2:Machine/Speed", PathAddress((Step(0, "Objects"), Step(2, "Machine"), Step(2, "Speed")))),
        (
            "/Objects/nsu=http://opcfoundation.org/UA/PackML/;Status/0:Name",
            PathAddress((Step(0, "Objects"), Step("http://opcfoundation.org/UA/PackML/", "Status"), Step(0, "Name"))),
        ),
        ("/Objects/3:a&/b&&c", PathAddress((Step(0, "Objects"), Step(3, "a/b&c")))),
    ],
)
def test_addresses_mean_what_the_standard_says(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Speed", "is not a node"),
        ("ns=2", "is not a node"),
        ("ns=70000;i=1", "not the index of a namespace"),
        ("i=4294967296", "not a numeric node id"),
        ("g=12", "not a GUID"),
        ("b=?", "not base64"),
        ("svr=1;i=1", "another server"),
        ("/", "not a browse path"),
        ("/Objects//Speed", "not a browse path"),
        ("/Objects/", "not a browse path"),
    ],
)
def test_what_is_no_address_is_told_with_an_example(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


def test_parts_lead_into_arrays_and_structures() -> None:
    assert parse_part("") == ()
    assert parse_part("[2]") == (2,)
    assert parse_part("Axes[1].Position") == ("Axes", 1, "Position")
    assert parse_part("[0][3]") == (0, 3)


@pytest.mark.parametrize("text", ["[", "[a]", "[-1]", ".Speed", "a..b", "[1]Speed", "a.", "]"])
def test_what_is_no_part_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no part of a value"):
        parse_part(text)


@given(st.text() | st.from_regex(r"(ns=\d;|nsu=[^;]+;)?[isgb]=.+|(/(\d:|nsu=[^;]+;)?[^/]+)+", fullmatch=True))
def test_any_text_is_an_address_that_can_be_written_again_or_told(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@given(st.text() | st.text(alphabet="ab[]0123456789."))
def test_any_text_is_a_part_that_can_be_written_again_or_told(text: str) -> None:
    try:
        part = parse_part(text)
    except ValueError:
        return
    assert parse_part(part_text(part)) == part

"""Codes on tags, against the examples of the EPC Tag Data Standard and codes that two other libraries agree on."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from simulators.dock import epcs
from simulators.epc import sgtin_96, sscc_96


@pytest.mark.parametrize(
    ("prefix", "reference", "filter_value", "code"),
    [
        ("0614141", "1234567890", 0, "3114257BF4499602D2000000"),
        ("4012345", "0123456789", 6, "31D4F4E4E4075BCD15000000"),
        ("952012345678", "91234", 2, "314376A16E45396462000000"),
    ],
)
def test_an_sscc_is_packed_by_its_partition(prefix: str, reference: str, filter_value: int, code: str) -> None:
    assert sscc_96(prefix, reference, filter_value=filter_value) == bytes.fromhex(code)


@pytest.mark.parametrize(
    ("prefix", "item", "serial", "filter_value", "code"),
    [
        ("0614141", "812345", 6789, 1, "3034257BF7194E4000001A85"),
        ("4012345", "098765", 274877906943, 2, "3054F4E4E460737FFFFFFFFF"),
        ("952012345678", "9", 1, 6, "30C376A16E453A4000000001"),
    ],
)
def test_an_sgtin_is_packed_by_its_partition(prefix: str, item: str, serial: int, filter_value: int, code: str) -> None:
    assert sgtin_96(prefix, item, serial, filter_value=filter_value) == bytes.fromhex(code)


@pytest.mark.parametrize(
    ("prefix", "reference", "filter_value", "says"),
    [
        ("06141", "123456789012", 0, "6 to 12 digits"),
        ("0614141", "12345", 0, "not 17 digits together"),
        ("061414A", "1234567890", 0, "digits"),
        ("0614141", "1234567890", 8, "filter value 8"),
    ],
)
def test_what_does_not_fit_an_sscc_is_refused(prefix: str, reference: str, filter_value: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sscc_96(prefix, reference, filter_value=filter_value)


def test_a_serial_number_has_38_bits() -> None:
    with pytest.raises(ValueError, match="38 bits"):
        sgtin_96("0614141", "812345", 1 << 38)


def test_the_codes_of_a_hub_are_all_different_and_of_both_kinds() -> None:
    codes = list(islice(epcs(Random(1)), 5000))
    assert len(set(codes)) == 5000
    assert {code[0] for code in codes} == {0x30, 0x31}
    assert all(len(code) == 12 for code in codes)

"""Values as the types of OPC UA have them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from asyncua import ua

from drivers.opcua.writing import encode


@pytest.mark.parametrize(
    ("value", "kind", "encoded"),
    [
        (Decimal("1.25"), "Double", 1.25),
        (Decimal("1.25"), "Float", 1.25),
        (Decimal("7.00"), "UInt16", 7),
        (Decimal("18446744073709551615"), "UInt64", 2**64 - 1),
        (7.0, "Int32", 7),
    ],
)
def test_a_number_is_a_number_however_it_was_written(value, kind, encoded):
    found = encode(value, ua.VariantType[kind], "speed")
    assert (found, type(found)) == (encoded, type(encoded))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (Decimal("1.25"), "UInt16", "speed is a UInt16 and does not take 1.25"),
        (Decimal("9007199254740992.5"), "Int64", "does not take 9007199254740992.5"),
        (Decimal("1e300"), "Int64", "which is -9223372036854775808 to"),
        (Decimal("1e300"), "Float", "at most 3.4e38"),
        (float("inf"), "Int64", "does not take inf"),
        (Decimal(1), "Boolean", "speed is a Boolean and does not take 1"),
    ],
)
def test_what_does_not_fit_is_refused(value, kind, words):
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        encode(value, ua.VariantType[kind], "speed")

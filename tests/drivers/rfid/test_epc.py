"""From bits to pure identity: examples laid out by GS1 TDS 2.3 and read alike by two libraries, and what is no EPC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rfid.epc import pure_identity

EXAMPLES = [
    ("3114257BF4499602D2000000", "urn:epc:id:sscc:0614141.1234567890"),
    ("31D4F4E4E4075BCD15000000", "urn:epc:id:sscc:4012345.0123456789"),
    ("314376A16E45396462000000", "urn:epc:id:sscc:952012345678.91234"),
    ("3034257BF7194E4000001A85", "urn:epc:id:sgtin:0614141.812345.6789"),
    ("3054F4E4E460737FFFFFFFFF", "urn:epc:id:sgtin:4012345.098765.274877906943"),
    ("30C376A16E453A4000000001", "urn:epc:id:sgtin:952012345678.9.1"),
    ("3314257BF40C0E4000000190", "urn:epc:id:grai:0614141.12345.400"),
    ("3314F4E4E400004000BC614E", "urn:epc:id:grai:4012345.00001.12345678"),
    ("330376A16E45380000000007", "urn:epc:id:grai:952012345678..7"),
    ("3414257BF40000000000162E", "urn:epc:id:giai:0614141.5678"),
    ("3414F4E4E400000000000001", "urn:epc:id:giai:4012345.1"),
    ("2D14257BF4499602D2000000", "urn:epc:id:gsrn:0614141.1234567890"),
    ("3214257BF460720000000190", "urn:epc:id:sgln:0614141.12345.400"),
    ("3214F4E4E4000A0000000000", "urn:epc:id:sgln:4012345.00005.0"),
]

PARTITIONS = {
    # P: (bits and digits of the company prefix, {scheme: bits and digits of the reference})
    0: (40, 12, {"sscc": (18, 5), "sgtin": (4, 1), "grai": (4, 0), "sgln": (1, 0)}),
    1: (37, 11, {"sscc": (21, 6), "sgtin": (7, 2), "grai": (7, 1), "sgln": (4, 1)}),
    2: (34, 10, {"sscc": (24, 7), "sgtin": (10, 3), "grai": (10, 2), "sgln": (7, 2)}),
    3: (30, 9, {"sscc": (28, 8), "sgtin": (14, 4), "grai": (14, 3), "sgln": (11, 3)}),
    4: (27, 8, {"sscc": (31, 9), "sgtin": (17, 5), "grai": (17, 4), "sgln": (14, 4)}),
    5: (24, 7, {"sscc": (34, 10), "sgtin": (20, 6), "grai": (20, 5), "sgln": (17, 5)}),
    6: (20, 6, {"sscc": (38, 11), "sgtin": (24, 7), "grai": (24, 6), "sgln": (21, 6)}),
}
HEADERS = {"sscc": 0x31, "sgtin": 0x30, "grai": 0x33, "sgln": 0x32}
REST_BITS = {"sscc": 24, "sgtin": 38, "grai": 38, "sgln": 41}


@pytest.mark.parametrize(("epc", "uri"), EXAMPLES)
def test_an_epc_becomes_its_uri(epc: str, uri: str) -> None:
    assert pure_identity(epc) == uri


@pytest.mark.parametrize(
    ("epc", "why"),
    [
        ("000000000000000000000000", "unprogrammed"),
        ("E2005037590701270270EDAF", "the tag's own number, copied as an EPC"),
        ("FF14257BF4499602D2000000", "a header that is reserved"),
        ("F9106141412345678908AAAA", "SSCC+, which has no URI"),
        ("311C257BF4499602D2000000", "partition 7"),
        ("3114257BF4499602D2000001", "reserved bits of an SSCC that are not 0"),
        ("2D14257BF4499602D2000100", "reserved bits of a GSRN that are not 0"),
        ("3017FFFFFFFFFFC000000001", "a company prefix with more digits than it may have"),
        ("3034257BFFFFFFC000001A85", "an item reference with more digits than it may have"),
        ("330376A16E45398000000007", "bits of an asset type that has no digits"),
        ("3114257BF4499602D20000000000000000", "longer than its header says"),
        ("3114257BF4499602D200", "shorter than its header says"),
        ("3630" + "00" * 14, "the first 128 bits of 198"),
        ("31", "a header alone"),
        ("3", "half a header"),
        ("", "nothing"),
    ],
)
def test_what_is_no_valid_epc_is_raw(epc: str, why: str) -> None:
    assert pure_identity(epc) == f"urn:epc:raw:{4 * len(epc)}.x{epc}", why


def test_a_tag_that_gs1_does_not_number_is_raw_with_its_application_family() -> None:
    assert pure_identity("3114257BF4499602D2000000", afi=0xA2) == "urn:epc:raw:96.xA2.x3114257BF4499602D2000000"


def test_the_size_in_bits_counts_not_that_of_the_digits() -> None:
    assert pure_identity("3114257BF4499602D2000000", size_bits=95) == "urn:epc:raw:95.x3114257BF4499602D2000000"


def test_a_serial_number_of_letters_is_read() -> None:
    # TDS 2.3, E.3: SGTIN-198, filter 3, 0614141.712345.32a/b in 198 bits and 10 of padding
    bits = "00110110" + "011" + "101" + f"{614141:024b}" + f"{712345:020b}"
    bits += "".join(f"{ord(letter):07b}" for letter in "32a/b").ljust(140, "0")
    epc = f"{int(bits.ljust(208, '0'), 2):052X}"
    assert pure_identity(epc) == "urn:epc:id:sgtin:0614141.712345.32a%2Fb"


def test_letters_after_the_end_of_a_serial_number_make_it_raw() -> None:
    bits = "00110110" + "011" + "101" + f"{614141:024b}" + f"{712345:020b}"
    bits += "".join(f"{letter:07b}" for letter in b"32\0a").ljust(140, "0")
    epc = f"{int(bits.ljust(208, '0'), 2):052X}"
    assert pure_identity(epc) == f"urn:epc:raw:208.x{epc}"


@st.composite
def _encoded(draw: st.DrawFn) -> tuple[str, str]:
    """A 96-bit EPC as TDS 2.3, 14.6 lays it out, and its URI."""
    scheme = draw(st.sampled_from(sorted(HEADERS)))
    partition = draw(st.sampled_from(sorted(PARTITIONS)))
    prefix_bits, prefix_digits, references = PARTITIONS[partition]
    reference_bits, reference_digits = references[scheme]
    prefix = draw(st.integers(0, 10**prefix_digits - 1))
    reference = draw(st.integers(0, 10**reference_digits - 1))
    rest = 0 if scheme == "sscc" else draw(st.integers(0, 2 ** REST_BITS[scheme] - 1))
    bits = f"{HEADERS[scheme]:08b}{draw(st.integers(0, 7)):03b}{partition:03b}"
    bits += f"{prefix:0{prefix_bits}b}{reference:0{reference_bits}b}{rest:0{REST_BITS[scheme]}b}"
    assert len(bits) == 96
    parts = [f"{prefix:0{prefix_digits}d}", f"{reference:0{reference_digits}d}" if reference_digits else ""]
    if scheme != "sscc":
        parts.append(str(rest))
    return f"{int(bits, 2):024X}", f"urn:epc:id:{scheme}:{'.'.join(parts)}"


@given(_encoded())
def test_every_partition_and_every_filter_value_is_read(encoded: tuple[str, str]) -> None:
    epc, uri = encoded
    assert pure_identity(epc) == uri


@given(st.binary(max_size=62), st.sampled_from([b"", *(bytes([header]) for header in range(0x2C, 0x42))]))
def test_no_bits_make_it_fail(rest: bytes, header: bytes) -> None:
    epc = (header + rest).hex().upper()
    found = pure_identity(epc)
    assert found.startswith("urn:epc:id:") or found == f"urn:epc:raw:{4 * len(epc)}.x{epc}"

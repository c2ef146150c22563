"""RO_ACCESS_REPORT: captures of real readers, examples, and whatever else may come."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rfid.llrp.parameters import TV_SIZES, Malformed
from drivers.rfid.llrp.reports import TagReport, parse_reports
from tests.drivers.rfid.scripted_reader import SSCC, tag

TWO_TAGS = bytes.fromhex(
    "00f000368d3114257bf400b7797a000000890000000181000186cb87000382000647484622224084000647484625f2d08800078c3000"
    "00f0003f00f10016008036300000000000000000000000000000890000000181000286c387000382000647484622262884000647484622"
    "26288800018c4000"
)


def test_every_field_of_a_report_is_read() -> None:
    first, second = parse_reports(TWO_TAGS)
    epc = bytes.fromhex("3114257BF400B7797A000000")
    assert first == TagReport(epc, 96, 1, -53, 7, 1767225600123456, 1767225600373456, 0x3000, 1)
    epc = bytes.fromhex("36300000000000000000000000000000")
    assert second == TagReport(epc, 128, 2, -61, 1, 1767225600124456, 1767225600124456, 0x4000, 1)


def test_a_capture_of_a_zebra_fx9600_is_read() -> None:
    # github.com/sllurp/sllurp, issue 115; channel 24, no antenna, no signal strength, no first time
    (report,) = parse_reports(bytes.fromhex("00f000208de2005037590701270270edaf87001884000591e2f0b6d69a8814fe"))
    epc = bytes.fromhex("e2005037590701270270edaf")
    assert report == TagReport(epc, 96, None, None, 5374, None, 1567778770704026, None, None)


def test_a_capture_of_an_impinj_r420_is_read() -> None:
    # github.com/edgexfoundry/device-rfid-llrp-go, pkg/llrp/testdata
    (report,) = parse_reports(bytes.fromhex("00f0001f8d3000abcdef0000000000000381000186d0820005a9e4bef862e0"))
    epc = bytes.fromhex("3000abcdef00000000000003")
    assert report == TagReport(epc, 96, 1, -48, None, 1594174805140192, None, None, None)


@pytest.mark.parametrize("dbm", [-128, -61, -1, 0, 1, 127])
def test_a_signal_strength_has_a_sign(dbm: int) -> None:
    assert next(parse_reports(tag(rssi=dbm))).rssi_dbm == dbm


def test_a_96_bit_epc_may_come_as_epc_data() -> None:
    (report,) = parse_reports(bytes.fromhex("00f0001600f100120060") + SSCC)
    assert (report.epc, report.epc_bits) == (SSCC, 96)


def test_an_epc_of_no_bits_is_one() -> None:
    (report,) = parse_reports(bytes.fromhex("00f0000a00f100060000"))
    assert (report.epc, report.epc_bits) == (b"", 0)


def test_parameters_of_vendors_and_other_kinds_are_passed_over() -> None:
    custom = bytes.fromhex("03ff000e 0000651a 00000039 1234".replace(" ", ""))
    survey = bytes.fromhex("00f200080001ffff")
    read_result = bytes.fromhex("015d000b 00 0001 0001 1234".replace(" ", ""))
    reports = [*parse_reports(survey + tag(more=custom + read_result + b"\x81\x00\x02") + custom)]
    assert [(report.epc, report.antenna) for report in reports] == [(SSCC, 2)]


def test_after_an_unknown_fixed_parameter_nothing_of_this_tag_is_guessed_and_the_next_is_read() -> None:
    unknown = b"\xff\x81\x00\x09\x86"
    first, second = parse_reports(tag(rssi=None, more=unknown) + tag(antenna=2))
    assert (first.antenna, first.rssi_dbm, second.antenna) == (1, None, 2)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("00f0", "2 bytes where a tag report should begin"),
        ("00f00003", "of 3 bytes"),
        ("00f00011 8d3114257bf4499602d2000000", "of 17 bytes, 17 bytes before the end"),
        ("00f000108d3114257bf4499602d20000", "an EPC-96 of 11 bytes"),
        ("00f00004", "does not begin with an EPC"),
        ("00f000088100018d", "does not begin with an EPC"),
        ("00f0001600f1001200613114257bf4499602d2000000", "EPCData of 18 bytes for 97 bits"),
        ("00f0001600f10012 0068 3114257bf4499602d2000000", "EPCData of 18 bytes for 104 bits"),
        ("00f000138d3114257bf4499602d20000008100", "ends after the tag report"),
        ("00f000138d3114257bf4499602d20000000081", "2 bytes where a parameter should begin"),
        ("00f000158d3114257bf4499602d200000003ff0003", "of 3 bytes"),
        ("00f000158d3114257bf4499602d200000003ff0005", "of 5 bytes"),
        ("8d3114257bf4499602d2000000", "byte 8D where a tag report should begin"),
    ],
)
def test_a_structure_that_contradicts_itself_is_no_tag(body: str, what: str) -> None:
    data = bytes.fromhex(body)
    if what.startswith("of 17"):
        data = data[:-1]
        what = "of 17 bytes, 16 bytes before the end"
    with pytest.raises(Malformed, match=what):
        list(parse_reports(data))


def test_the_tags_before_a_contradiction_have_been_told() -> None:
    reports = parse_reports(tag() + b"\x00\xf0\x00\x04")
    assert next(reports).epc == SSCC
    with pytest.raises(Malformed):
        next(reports)


def test_a_contradiction_whose_end_is_known_costs_no_tag_behind_it() -> None:
    reports = parse_reports(tag() + bytes.fromhex("00f000078d0102") + tag(antenna=2))
    assert [next(reports).antenna, next(reports).antenna] == [1, 2]
    with pytest.raises(Malformed, match="an EPC-96 of 2 bytes"):
        next(reports)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_otherwise(body: bytes) -> None:
    _all_that_is_sound(body)


@given(st.integers(0, len(TWO_TAGS) - 1), st.integers(0, 7))
def test_a_flipped_bit_changes_a_value_or_is_told_and_never_makes_an_epc_of_other_bytes(at: int, bit: int) -> None:
    flipped = bytearray(TWO_TAGS)
    flipped[at] ^= 1 << bit
    _all_that_is_sound(bytes(flipped))


@given(st.integers(0, len(TWO_TAGS)))
def test_a_report_that_is_cut_off_is_not_taken_for_a_whole_one(end: int) -> None:
    found = _all_that_is_sound(TWO_TAGS[:end])
    assert len(found) == (end >= 54) + (end >= len(TWO_TAGS))


def _all_that_is_sound(body: bytes) -> list[TagReport]:
    """What is read, after a slower reading by other code has agreed that its structure holds."""
    found: list[TagReport] = []
    with suppress(Malformed):
        found.extend(parse_reports(body))
    assert [report.epc for report in found] == _epcs(body)[: len(found)]
    return found


def _epcs(body: bytes) -> list[bytes]:
    """The EPC of every tag report that is whole, by the letter of the standard."""
    found = []
    while len(body) >= 4:
        kind, length = struct.unpack(">HH", body[:4])
        if kind & 0x8000 or not 4 <= length <= len(body):
            break
        value, body = body[4:length], body[length:]
        if kind & 0x3FF != 240:
            continue
        if value[:1] == b"\x8d" and len(value) >= 13:
            epc, rest = value[1:13], value[13:]
        elif len(value) >= 6 and struct.unpack(">H", value[:2])[0] & 0x83FF == 241:
            size, bits = struct.unpack(">HH", value[2:6])
            if size != 6 + -(-bits // 8) or size > len(value):
                continue
            epc, rest = value[6:size], value[size:]
        else:
            continue
        if _is_whole(rest):
            found.append(epc)
    return found


def _is_whole(rest: bytes) -> bool:
    while rest:
        if rest[0] & 0x80:
            if rest[0] & 0x7F not in TV_SIZES:
                return True
            length = 1 + TV_SIZES[rest[0] & 0x7F]
        elif len(rest) < 4:
            return False
        else:
            length = int.from_bytes(rest[2:4], "big")
            if length < 4:
                return False
        if length > len(rest):
            return False
        rest = rest[length:]
    return True

"""The codecs against worked bytes of the manuals, and against bytes that are none.

Sources: Mettler-Toledo MT-SICS reference manual 11780711; Mettler-Toledo Wildcat technical manual, 6-4 and 6-5
(continuous output); SMA SCP-0499; A&D AD-4406, p. 45; Dini Argeo 3590, p. 65; Sartorius CPA, p. 57; Ohaus Defender
3000, p. 35.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.scale import mtsics, sma, text
from drivers.scale.indication import GARBLED, WITH_WEIGHT, Indication, Status, number
from drivers.scale.sma import Noise, Refusal, Response, SmaFramer
from drivers.scale.text import PRESETS, PresetName, compile_text
from drivers.scale.units import in_kilograms


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12.340", "12.340"),
        ("  -0.50", "-0.50"),
        ("-    0.50", "-0.50"),
        ("+00123.0", "123.0"),
        ("123,45", "123.45"),
        ("123.5[6]", "123.56"),
        ("12.", "12"),
        (".5", "0.5"),
    ],
)
def test_a_number_has_the_digits_of_the_display(written: str, value: str) -> None:
    assert str(number(written)) == value


@pytest.mark.parametrize("written", ["", "-", "1 2", "1.2.3", "1,2,3", "12a", "١٢", "1e5", "NaN", "- - 1", "12.34\0"])
def test_what_is_no_number_is_none(written: str) -> None:
    assert number(written) is None


def test_kilograms_are_exact() -> None:
    assert str(in_kilograms(Decimal("1.00"), "lb")) == "0.4535923700"
    assert in_kilograms(Decimal(16), "oz") == Decimal("0.45359237")
    assert str(in_kilograms(Decimal("1250"), "g")) == "1.250"
    assert in_kilograms(Decimal("1.250"), "t") == 1250
    assert in_kilograms(Decimal(1), "PCS") is None


@pytest.mark.parametrize(
    ("line", "weight", "unit", "status", "stable"),
    [
        ("S S     100.00 g", "100.00", "g", Status.OK, True),
        ("S D      12.34 kg", "12.34", "kg", Status.MOTION, False),
        ("S S      -0.50 kg", "-0.50", "kg", Status.OK, True),
        ("S +", None, "", Status.OVERLOAD, None),
        ("S -", None, "", Status.UNDERLOAD, None),
        ("S I", None, "", Status.BUSY, None),
        ("S S    Error 10b", None, "", Status.ERROR, None),
    ],
)
def test_mt_sics_weights(line: str, weight: str | None, unit: str, status: Status, stable: bool | None) -> None:
    answer = mtsics.parse(line)
    assert answer is not None
    shown = mtsics.indication(answer)
    expected = None if weight is None else Decimal(weight)
    assert (shown.weight, shown.net, shown.gross) == (expected, expected, None)
    assert (shown.unit, shown.status, shown.stable) == (unit, status, stable)


@pytest.mark.parametrize(
    "line",
    [
        "S",
        "",
        "S S",
        " S S     1.0 kg",
        "S X     1.0 kg",
        "S S     1.0 kg kg",
        "s s 1.0 kg",
        "S S     1.0",
        "S S 1.0.0 kg",
        "S S ٣ kg",
    ],
)
def test_mt_sics_lines_that_are_none(line: str) -> None:
    answer = mtsics.parse(line)
    assert answer is None or mtsics.indication(answer).weight is None


SMA_FRAME = bytes.fromhex("0A 20 31 47 20 20 20 20 20 20 20 31 2E 32 35 30 6B 67 5F 0D")
"""SCP-0499, standard response: stable gross 1.250 kg."""


def sma_one(frame: bytes) -> sma.Frame:
    (found,) = SmaFramer().feed(frame)
    return found


def sma_shown(frame: bytes) -> Indication:
    found = sma_one(frame)
    assert isinstance(found, Response)
    return found.indication


def test_an_sma_response() -> None:
    assert sma_shown(SMA_FRAME) == Indication(
        Status.OK, Decimal("1.250"), gross=Decimal("1.250"), unit="kg", stable=True
    )


@pytest.mark.parametrize(
    ("frame", "status", "weight"),
    [
        (b"\nZ1G       0.000kg_\r", Status.ZERO, "0.000"),
        (b"\n 1NM      1.250kg_\r", Status.MOTION, "1.250"),
        (b"\nZ1GM      0.000kg_\r", Status.MOTION, "0.000"),
        (b"\n 1N      -1.250lb \r", Status.OK, "-1.250"),
        (b"\nO1G      16.000kg_\r", Status.OVERLOAD, None),
        (b"\nU1G  ----------kg_\r", Status.UNDERLOAD, None),
        (b"\nE1GM ----------kg_\r", Status.ERROR, None),
        (b"\nI1G  ----------kg_\r", Status.ERROR, None),
        (b"\nT1G  ----------kg_\r", Status.ERROR, None),
        (b"\n 1G  ----------kg_\r", Status.ERROR, None),
        (b"\n 1g      1.2504kg_\r", Status.EXPANDED, None),
        (b"\n 1T       0.350kg_\r", Status.BUSY, None),
    ],
)
def test_every_letter_of_sma(frame: bytes, status: Status, weight: str | None) -> None:
    shown = sma_shown(frame)
    assert (shown.status, shown.weight) == (status, None if weight is None else Decimal(weight))


def test_an_sma_tare_is_the_tare_and_not_the_weight() -> None:
    assert sma_shown(b"\n 1T       0.350kg_\r").tare == Decimal("0.350")


def test_refusals_of_sma() -> None:
    assert sma_one(b"\n?\r") == Refusal(is_unknown=True)
    assert sma_one(b"\n!\r") == Refusal(is_unknown=False)


@pytest.mark.parametrize(
    "frame",
    [
        SMA_FRAME[:10] + SMA_FRAME[11:],
        SMA_FRAME.replace(b"G", b"X"),
        SMA_FRAME.replace(b"1.250", b"1.2\x000"),
        b"\nX1G       0.000kg_\r",
        b"\n 1GX      0.000kg_\r",
        b"\n 1G     0.0 0.0kg_\r",
        b"\nSMA:2/1.0\r",
    ],
)
def test_an_sma_frame_that_is_not_as_it_should_be_is_noise(frame: bytes) -> None:
    assert isinstance(sma_one(frame), Noise)


def test_what_stands_outside_of_an_sma_frame_is_nothing() -> None:
    assert SmaFramer().feed(b"9.999kg_\r" + SMA_FRAME + b"junk") == [sma_one(SMA_FRAME)]


def test_a_frame_that_starts_again_forgets_what_it_was() -> None:
    assert SmaFramer().feed(SMA_FRAME[:12] + SMA_FRAME) == [sma_one(SMA_FRAME)]


@given(st.binary(max_size=400), st.integers(0, 400))
def test_sma_takes_anything_without_growing(data: bytes, cut: int) -> None:
    framer = SmaFramer()
    found = framer.feed(data[:cut]) + framer.feed(data[cut:])
    assert found == SmaFramer().feed(data)
    assert len(framer._body or b"") <= sma.LONGEST_FRAME_BYTES


@given(st.text(max_size=60))
def test_mt_sics_takes_anything(line: str) -> None:
    answer = mtsics.parse(line)
    if answer is not None and answer.id == "S":
        shown = mtsics.indication(answer)
        assert shown.weight is None or shown.status in WITH_WEIGHT


def shown_by(preset: PresetName, line: str) -> Indication | None:
    known = PRESETS[preset]
    return text.indication(line, compile_text(known.pattern), known.statuses)


@pytest.mark.parametrize(
    ("preset", "line", "status", "weight", "kind_and_unit"),
    [
        ("a-d", "ST,GS,+00123.0kg", "ok", "123.0", "gross kg"),
        ("a-d", "US,NT,-0000.50kg", "motion", "-0.50", "net kg"),
        ("a-d", "OL,GS,+     .  kg", "overload", None, " kg"),
        ("a-d", "LO,GS,+     .  kg", "overload", None, " kg"),
        ("a-d", "ST,+00123.45  g", "ok", "123.45", " g"),
        ("a-d", "HD,GS,+00012.0kg", "hold", "12.0", "gross kg"),
        ("dini-argeo", "ST,GS,  123.45,kg", "ok", "123.45", "gross kg"),
        ("dini-argeo", "07US,NT,   -0.50,kg", "motion", "-0.50", "net kg"),
        ("dini-argeo", "UL,GS,--------,kg", "underload", None, " kg"),
        ("sartorius-sbi", "+   123.56 g  ", "ok", "123.56", " g"),
        ("sartorius-sbi", "-   123.56    ", "motion", "-123.56", " "),
        ("sartorius-sbi", "N     +   123.56 g  ", "ok", "123.56", "net g"),
        ("sartorius-sbi", "Stat      High ", "overload", None, " "),
        ("sartorius-sbi", "    Low     ", "underload", None, " "),
        ("sartorius-sbi", "Err 54", "error", None, " "),
        ("sartorius-sbi", "Cal.Int.", "busy", None, " "),
        ("ohaus", "-  12.340 kg    ?NET", "motion", "-12.340", "net kg"),
        ("ohaus", "   12.340 kg     G  ", "ok", "12.340", "gross kg"),
        ("ohaus", "   -123.45 g ? N", "motion", "-123.45", "net g"),
    ],
)
def test_lines_of_the_presets(preset: str, line: str, status: str, weight: str | None, kind_and_unit: str) -> None:
    kind, unit = kind_and_unit.split(" ")
    shown = shown_by(PresetName(preset), line)
    assert shown is not None
    value = None if weight is None else Decimal(weight)
    assert (shown.status, shown.weight, shown.unit) == (status, value, unit)
    assert (shown.gross, shown.net) == (value if kind == "gross" else None, value if kind == "net" else None)
    assert shown.stable is (None if value is None else status == "ok")


def test_a_preset_tare_of_a_and_d_is_the_tare_and_not_the_weight() -> None:
    shown = shown_by(PresetName.A_D, "ST,PT,+0000.35kg")
    assert shown is not None
    assert (shown.tare, shown.weight) == (Decimal("0.35"), None)


@pytest.mark.parametrize(
    ("preset", "whole"),
    [
        (PresetName.A_D, "ST,GS,-00123.0kg"),
        (PresetName.DINI_ARGEO, "ST,NT, -123.45,kg"),
        (PresetName.SARTORIUS_SBI, "-   123.56 g  "),
        (PresetName.SARTORIUS_SBI, "N     -   123.56 g  "),
    ],
)
def test_no_second_part_of_a_line_shows_another_weight(preset: PresetName, whole: str) -> None:
    whole_shown = shown_by(preset, whole)
    assert whole_shown is not None
    for start in range(1, len(whole)):
        part = shown_by(preset, whole[start:])
        assert part is None or part.weight in (None, whole_shown.weight)


@pytest.mark.parametrize(
    ("preset", "whole"),
    [
        (PresetName.A_D, "ST,GS,-00123.4kg"),
        (PresetName.DINI_ARGEO, "ST,NT, -123.45,kg"),
        (PresetName.SARTORIUS_SBI, "N     -   123.56 g  "),
        (PresetName.OHAUS, "- 123.456 kg     NET"),
    ],
)
def test_no_first_part_of_a_line_shows_another_weight(preset: PresetName, whole: str) -> None:
    whole_shown = shown_by(preset, whole)
    assert whole_shown is not None
    for end in range(1, len(whole)):
        part = shown_by(preset, whole[:end])
        assert part is None or part.weight in (None, whole_shown.weight)


@given(st.sampled_from(PresetName), st.text(st.characters(max_codepoint=255), max_size=40))
def test_presets_take_anything(preset: PresetName, line: str) -> None:
    shown = shown_by(preset, line)
    assert shown is None or shown.weight is None or shown.status in WITH_WEIGHT


@pytest.mark.parametrize(
    ("pattern", "line", "shown"),
    [
        (r"(?P<weight>.+)", "12.340", Indication(Status.OK, Decimal("12.340"))),
        (r"(?P<weight>.+)", "ERROR", GARBLED),
        (r"(?P<weight>\d+) (?P<kind>.)", "12 G", Indication(Status.OK, Decimal(12), gross=Decimal(12))),
        (r"(?P<weight>\d+) (?P<kind>.)", "12 X", GARBLED),
        (r"(?P<weight>\d+)(?P<status>.*)", "12!", Indication(Status.ERROR)),
        (r"(?P<weight>\d+)(?P<stable>S?)", "12", Indication(Status.MOTION, Decimal(12), stable=False)),
        (r"(?P<weight>\d+)(?P<stable>S?)", "12S", Indication(Status.OK, Decimal(12), stable=True)),
        (r"G(?P<gross>\d+)N(?P<net>\d+)T(?P<tare>\d+)", "G12N9T3",
         Indication(Status.OK, Decimal(9), Decimal(12), Decimal(9), Decimal(3))),
        (r"G(?P<gross>\d+)", "G12", Indication(Status.OK, Decimal(12), Decimal(12))),
        (r"(?P<weight>\d+)|Date.*", "Date: 1.1.", None),
        (r"(?P<weight>\d+)|Date.*", "Time: 1.1.", GARBLED),
    ],
)  # fmt: skip
def test_patterns_of_operators(pattern: str, line: str, shown: Indication | None) -> None:
    assert text.indication(line, compile_text(pattern)) == shown

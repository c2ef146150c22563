"""What an indicator says, byte by byte: the worked examples of the manuals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faces import Load
from simulators.scale.mtsics import STABLE_WITHIN_S, MtSics
from simulators.scale.sma import Sma
from simulators.scale.toledo import Toledo
from tests.simulators.scale.conftest import Pan


def ask(dialect: Any, command: bytes, *, now_s: float = 0.0) -> bytes:
    return b"".join(dialect.answer_to(command, now_s))


def test_the_worked_dialogue_of_mt_sics(pan: Pan) -> None:
    scale = MtSics(pan, serial="0123456789")
    assert ask(scale, b"@\r\n") == b'I4 A "0123456789"\r\n'
    pan.gross_kg, pan.is_stable = Decimal("12.31"), False
    assert ask(scale, b"SI\r\n") == b"S D      12.31 kg\r\n"
    assert ask(scale, b"S\r\n") == b""
    pan.gross_kg, pan.is_stable = Decimal("12.34"), True
    assert scale.tick(scale.next_s) == [b"S S      12.34 kg\r\n"]
    assert ask(scale, b"T\r\n") == b"T S      12.34 kg\r\n"
    assert ask(scale, b"SI\r\n") == b"S S       0.00 kg\r\n"
    assert ask(scale, b"TA\r\n") == b"TA A      12.34 kg\r\n"
    assert ask(scale, b"XYZ\r\n") == b"ES\r\n"


@pytest.mark.parametrize(
    ("gross", "answer"),
    [
        ("100.00", bytes.fromhex("53 20 53 20 20 20 20 20 31 30 30 2E 30 30 20 6B 67 0D 0A")),
        ("-0.50", b"S S      -0.50 kg\r\n"),
        ("-0.00", b"S S       0.00 kg\r\n"),
    ],
)
def test_mt_sics_shows_weights_in_ten_characters(pan: Pan, gross: str, answer: bytes) -> None:
    pan.gross_kg = Decimal(gross)
    assert ask(MtSics(pan), b"SI\r\n") == answer


def test_mt_sics_says_overload_and_underload_without_a_number(pan: Pan) -> None:
    pan.load = Load.OVER
    assert ask(MtSics(pan), b"S\r\nSI\r\n") == b"S +\r\nS +\r\n"
    pan.load = Load.UNDER
    assert ask(MtSics(pan), b"SI\r\n") == b"S -\r\n"


def test_mt_sics_gives_up_waiting_for_a_stable_weight(pan: Pan) -> None:
    pan.is_stable = False
    scale = MtSics(pan)
    assert ask(scale, b"S\r\n") == b""
    assert scale.tick(scale.next_s) == []
    assert scale.tick(STABLE_WITHIN_S) == [b"S I\r\n"]


def test_mt_sics_repeats_until_the_next_command(pan: Pan) -> None:
    scale = MtSics(pan)
    assert ask(scale, b"SIR\r\n") == b"S S      12.34 kg\r\n"
    assert scale.speaks_unasked
    pan.is_stable = False
    assert scale.tick(scale.next_s) == [b"S D      12.34 kg\r\n"]
    ask(scale, b"@\r\n")
    assert scale.tick(100.0) == []


def test_mt_sics_tells_a_change_and_then_the_stable_weight(pan: Pan) -> None:
    scale = MtSics(pan)
    assert ask(scale, b"SR\r\n") == b"S S      12.34 kg\r\n"
    assert scale.tick(1.0) == []
    pan.gross_kg, pan.is_stable = Decimal("20.00"), False
    assert scale.tick(2.0) == [b"S D      20.00 kg\r\n"]
    assert scale.tick(3.0) == []
    pan.is_stable = True
    assert scale.tick(4.0) == [b"S S      20.00 kg\r\n"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"Z", b"Z +"),
        (b"ZI", b"ZI +"),
        (b"TI", b"TI S      12.34 kg"),
        (b"TA 1.25 kg", b"TA A       1.25 kg"),
        (b"TAC", b"TAC A"),
        (b"I2", b'I2 A "HUB Terminal 60 kg"'),
        (b"si", b"ES"),
        (b"", b"ES"),
    ],
)
def test_mt_sics_answers(pan: Pan, command: bytes, answer: bytes) -> None:
    assert ask(MtSics(pan), command + b"\r\n") == answer + b"\r\n"


def test_mt_sics_zeroes_what_is_small_enough(pan: Pan) -> None:
    pan.gross_kg = Decimal("0.50")
    assert ask(MtSics(pan), b"Z\r\n") == b"Z A\r\n"
    assert pan.gross_kg == 0


def test_mt_sics_lists_its_commands_with_the_last_one_marked(pan: Pan) -> None:
    lines = ask(MtSics(pan), b"I0\r\n").decode().splitlines()
    assert lines[0] == 'I0 B 0 "@"'
    assert [line.split()[1] for line in lines] == ["B"] * (len(lines) - 1) + ["A"]


def test_mt_sics_announces_itself_when_the_power_is_back(pan: Pan) -> None:
    scale = MtSics(pan)
    ask(scale, b"SIR\r\n")
    assert scale.powered_up(1.0) == [b'I4 A "B207696838"\r\n']
    assert scale.tick(100.0) == []


def test_sma_shows_the_worked_example(pan: Pan) -> None:
    pan.interval_kg, pan.gross_kg = Decimal("0.005"), Decimal("1.250")
    answer = bytes.fromhex("0A 20 31 47 20 20 20 20 20 20 20 31 2E 32 35 30 6B 67 20 0D")
    assert ask(Sma(pan), bytes.fromhex("0A 57 0D")) == answer


def test_sma_marks_motion_net_and_refusals(pan: Pan) -> None:
    scale = Sma(pan)
    pan.is_stable = False
    assert ask(scale, b"\nW\r") == b"\n 1GM      12.34kg \r"
    assert ask(scale, b"\nZ\r") == b"\nE1GM ----------kg \r"
    pan.is_stable = True
    assert ask(scale, b"\nT\r") == b"\n 1N        0.00kg \r"
    assert ask(scale, b"\nM\r") == b"\n 1T       12.34kg \r"
    assert ask(scale, b"\nC\r") == b"\n 1G       12.34kg \r"
    assert ask(scale, b"\nT 2.50\r") == b"\n 1N        9.84kg \r"


def test_sma_marks_the_centre_of_zero_and_the_end_of_its_range(pan: Pan) -> None:
    pan.gross_kg = Decimal(0)
    assert ask(Sma(pan), b"\nW\r")[1:2] == b"Z"
    pan.load = Load.OVER
    assert ask(Sma(pan), b"\nW\r")[1:2] == b"O"
    pan.load = Load.UNDER
    assert ask(Sma(pan), b"\nW\r")[1:2] == b"U"


def test_sma_repeats_until_the_next_command_and_heeds_escape(pan: Pan) -> None:
    scale = Sma(pan)
    ask(scale, b"\nR\r")
    assert scale.tick(scale.next_s) == [b"\n 1G       12.34kg \r"]
    assert ask(scale, b"\x1b") == b""
    assert scale.tick(100.0) == []


def test_sma_reads_out_its_dialogues_and_refuses_what_it_does_not_know(pan: Pan) -> None:
    scale = Sma(pan)
    assert ask(scale, b"\nI\r") == b"\nSMA:2/1.0\r"
    told = [ask(scale, b"\nN\r") for _ in range(4)]
    assert told == [b"\nTYP:S\r", b"\nCAP:kg_:60.00:1:2\r", b"\nCMD:PRTMCU\r", b"\nEND:\r"]
    assert ask(scale, b"\nQQ\r") == b"\n?\r"
    assert ask(scale, b"W\r") == b""  # no line feed, no command


@pytest.mark.parametrize(
    ("shown", "has_checksum", "frame"),
    [
        (("0.01", "12.34", "0", True), True, "02 2C 30 20 30 30 31 32 33 34 30 30 30 30 30 30 0D 2B"),
        (("0.5", "152.5", "25.0", False), True, "02 3B 39 20 30 30 31 32 37 35 30 30 30 32 35 30 0D 07"),
        (("0.01", "9.50", "10.00", True), True, "02 2C 33 20 30 30 30 30 35 30 30 30 31 30 30 30 0D 2C"),
        (("0.005", "1.250", "0", True), False, "02 3D 30 20 30 30 31 32 35 30 30 30 30 30 30 30 0D"),
    ],
)
def test_the_worked_frames_of_continuous_output(
    pan: Pan, shown: tuple[str, str, str, bool], has_checksum: bool, frame: str
) -> None:
    pan.interval_kg, pan.gross_kg, pan.tare_kg = map(Decimal, shown[:3])
    pan.is_stable = shown[3]
    scale = Toledo(pan, now_s=0.0, checksum=has_checksum)
    assert scale.tick(0.0) == [bytes.fromhex(frame)]


@given(st.integers(-999_999, 999_999), st.sampled_from(["10", "1", "0.5", "0.02", "0.005"]), st.booleans())
def test_every_checksum_makes_the_sum_zero(counts: int, interval: str, is_stable: bool) -> None:
    pan = Pan()
    pan.interval_kg, pan.is_stable = Decimal(interval), is_stable
    pan.gross_kg = counts * pan.interval_kg
    (frame,) = Toledo(pan, now_s=0.0).tick(0.0)
    assert len(frame) == 18
    assert sum(frame) & 0x7F == 0


def test_continuous_output_obeys_single_letters_and_marks_power_up(pan: Pan) -> None:
    scale = Toledo(pan, now_s=0.0)
    assert ask(scale, b"T\r\nP\r\n")[2] & 1  # printed at once, net
    ask(scale, b"C\r")
    assert pan.tare_kg == 0
    scale.powered_up(10.0)
    assert scale.tick(10.0)[0][2] & 0x40
    assert not scale.tick(13.0)[0][2] & 0x40


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_noise_grows_nothing(pieces: list[bytes]) -> None:
    for scale in (MtSics(Pan()), Sma(Pan()), Toledo(Pan(), now_s=0.0)):
        for piece in pieces:
            scale.answer_to(piece, 0.0)
        kept = scale._command or b"" if isinstance(scale, Sma) else scale._received
        assert len(kept) <= 128

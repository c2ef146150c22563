from __future__ import annotations

import pytest

from gateway.mqtt import DestinationUnavailable, Verdict, verdict, words


@pytest.mark.parametrize("code", [0x00, 0x10])
def test_codes_below_0x80_accept(code):
    assert verdict(code) is Verdict.ACCEPTED


@pytest.mark.parametrize("code", [0x87, 0x90, 0x95, 0x99])
def test_what_cannot_change_is_refused_for_good(code):
    assert verdict(code) is Verdict.NEVER


@pytest.mark.parametrize("code", [0x91, 0x93, 0x96, 0x97, 0xFE])
def test_limits_and_unknown_codes_ask_for_patience(code):
    assert verdict(code) is Verdict.LATER


@pytest.mark.parametrize("code", [0x80, 0x83])
def test_codes_that_explain_nothing_are_a_case_of_their_own(code):
    assert verdict(code) is Verdict.UNEXPLAINED


def test_words_carry_the_code_and_what_the_broker_said():
    assert words(0x97) == "quota exceeded (0x97)"
    assert words(0x87, said="no entry") == 'not authorised (0x87): "no entry"'
    assert words(0xEE) == "unknown reason (0xEE)"


def test_unavailable_reads_as_message_and_hint():
    assert str(DestinationUnavailable("it is gone", hint="look there")) == "it is gone; look there"
    assert str(DestinationUnavailable("it is gone")) == "it is gone"

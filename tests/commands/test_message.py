"""What a command may look like, and what its answer looks like."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.message import LARGEST_BYTES, answered, parse, refused


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"value": true}', True),
        (b'{"value": false}', False),
        (b'{"value": 0}', 0),
        (b'{"value": -7}', -7),
        (b'{"value": 12.340}', Decimal("12.340")),
        (b'{"value": 1e3}', Decimal("1E+3")),
        (b' {"value"\n: "caf\xc3\xa9"} ', "café"),
        (b'{"value": ""}', ""),
    ],
)
def test_a_value_is_what_was_sent_digit_for_digit(payload: bytes, value: object) -> None:
    found = parse(payload)
    assert (found, type(found), str(found)) == (value, type(value), str(value))


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "not JSON"),
        (b"1.5", "must be an object with the one key"),
        (b'{"value": 1.5', "not JSON"),
        (b'{"value": 1} x', "not JSON"),
        (b'{"Value": 1}', "must be an object with the one key"),
        (b'{"value": 1, "ok": true}', "must be an object with the one key"),
        (b'{"value": 1, "value": 2}', "has a key twice"),
        (b'{"value": null}', "must be true, false, a number or text"),
        (b'{"value": [1]}', "must be true, false, a number or text"),
        (b'{"value": {"value": 1}}', "must be true, false, a number or text"),
        (b'{"value": NaN}', "NaN is not a number"),
        (b'{"value": -Infinity}', "-Infinity is not a number"),
        (b'{"value": 1e999999999}', "further from 1 than any device can tell"),
        (b'{"value": 1e-999999999}', "further from 1 than any device can tell"),
        (b'{"value": 1e99999999999999999999}', "further from 1 than any device can tell"),
        (b'{"value": 0e-99999999999999999999}', "further from 1 than any device can tell"),
        (b'{"value": ' + b"9" * 309 + b"}", "further from 1 than any device can tell"),
        (b'{"value": "\\ud800"}', "half a character"),
        (b'{"value": "\xff"}', "not text in UTF-8"),
        (b"[" * LARGEST_BYTES, "nested too deep"),
        (b'{"value": "' + b"x" * LARGEST_BYTES + b'"}', "has 4109 bytes; a command has at most 4096"),
    ],
)
def test_everything_else_is_refused_in_words(payload: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(payload)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_no_payload_does_more_than_being_refused(payload: bytes) -> None:
    try:
        value = parse(payload)
    except ValueError:
        return
    assert isinstance(value, bool | int | Decimal | str)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (True, b'{"ok":true,"value":true}'),
        (Decimal("12.340"), b'{"ok":true,"value":12.340}'),
        (1.5, b'{"ok":true,"value":1.5}'),
        ("on", b'{"ok":true,"value":"on"}'),
        (None, b'{"ok":true,"value":null}'),
        (2**64, b'{"ok":true,"value":"18446744073709551616"}'),
        ("\ud800", b'{"ok":true,"value":"?"}'),
    ],
)
def test_an_answer_has_what_the_device_holds(value: object, answer: bytes) -> None:
    assert answered(value) == answer  # type: ignore[arg-type]


def test_a_refusal_says_why() -> None:
    assert orjson.loads(refused("speed is \udc80 not writable")) == {"ok": False, "error": "speed is ? not writable"}

"""What a command and its answer look like on the wire. Pure."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from drivers.model import Value
from gateway.decimals import number

LARGEST_BYTES = 4096
_MOST_DIGITS = 308
"""More than a float64 has before its point (IEEE 754), and so more than any device has."""
_OUT_OF_REACH = "the value is further from 1 than any device can tell"


def parse(payload: bytes) -> Value:
    """The value of a command `{"value": …}`: true, false, a number or text.

    A number with a point or an exponent is a Decimal, with the digits that it was sent with. Raises ValueError, in
    words for the sender, for anything else.
    """
    if len(payload) > LARGEST_BYTES:
        raise ValueError(f"the payload has {len(payload)} bytes; a command has at most {LARGEST_BYTES}")
    try:
        command = json.loads(
            payload.decode(), parse_float=_decimal, parse_constant=_no_number, object_pairs_hook=_each_key_once
        )
    except RecursionError:
        raise ValueError('the payload is nested too deep; send {"value": …}') from None
    except UnicodeDecodeError:
        raise ValueError('the payload is not text in UTF-8; send {"value": …}') from None
    except json.JSONDecodeError as error:
        raise ValueError(f'the payload is not JSON ({error}); send {{"value": …}}') from None
    if not isinstance(command, dict) or command.keys() != {"value"}:
        raise ValueError('the payload must be an object with the one key "value": {"value": …}')
    return _value(command["value"])


def answered(value: Value) -> bytes:
    """The answer to a command that was carried out, with what the device holds now."""
    try:
        return orjson.dumps({"ok": True, "value": value}, default=number)
    except orjson.JSONEncodeError:  # more than 64 bits, half a character: JSON has no better than its text
        return orjson.dumps({"ok": True, "value": _printable(value)})


def refused(error: str) -> bytes:
    """The answer to a command that came to nothing, or not to what was wanted."""
    return orjson.dumps({"ok": False, "error": _printable(error)})


def _value(value: Any) -> Value:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("the value has half a character in it (a lone surrogate)") from None
        return value
    if isinstance(value, int | Decimal) and not -_MOST_DIGITS < Decimal(value).adjusted() < _MOST_DIGITS:
        raise ValueError(_OUT_OF_REACH)
    if isinstance(value, bool | int | Decimal):
        return value
    raise ValueError("the value must be true, false, a number or text")


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond what even Decimal has
        raise ValueError(_OUT_OF_REACH) from None


def _no_number(name: str) -> Value:
    raise ValueError(f"{name} is not a number that JSON has")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the payload has a key twice")
    return found


def _printable(value: object) -> str:
    return str(value).encode(errors="replace").decode()

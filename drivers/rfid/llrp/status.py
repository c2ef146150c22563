"""LLRPStatus: whether a request was carried out, and if not why, in words (sections 15.2.1 and 15.2.2)."""

from __future__ import annotations

from typing import NamedTuple

from drivers.rfid.llrp.parameters import Malformed, ParameterType, fields, parameters, text

_CODES = {
    100: "M_ParameterError",
    101: "M_FieldError",
    102: "M_UnexpectedParameter",
    103: "M_MissingParameter",
    104: "M_DuplicateParameter",
    105: "M_OverflowParameter",
    106: "M_OverflowField",
    107: "M_UnknownParameter",
    108: "M_UnknownField",
    109: "M_UnsupportedMessage",
    110: "M_UnsupportedVersion",
    111: "M_UnsupportedParameter",
    112: "M_UnexpectedMessage",
    200: "P_ParameterError",
    201: "P_FieldError",
    202: "P_UnexpectedParameter",
    203: "P_MissingParameter",
    204: "P_DuplicateParameter",
    205: "P_OverflowParameter",
    206: "P_OverflowField",
    207: "P_UnknownParameter",
    208: "P_UnknownField",
    209: "P_UnsupportedParameter",
    300: "A_Invalid",
    301: "A_OutOfRange",
    401: "R_DeviceError",
}
_DEEPEST = 8
"""ParameterErrors nest; no message of ours does so deeper than this."""


class Status(NamedTuple):
    """What a reader answers to a request."""

    code: int
    text: str
    """The code by name, the reader's own words, and what part of the request it means."""

    @property
    def is_success(self) -> bool:
        return self.code == 0


def parse_status(body: bytes, start: int = 0) -> Status:
    """The status among the parameters of a response, which begin at `start`.

    Raises `Malformed`, also when there is none.
    """
    for kind, value in parameters(body, start):
        if kind == ParameterType.LLRP_STATUS:
            (code,) = fields("H", value, kind)
            description, end = text(value, 2, kind)
            words = [_name(code), *([f'"{description}"'] if description else []), *_errors(value, end, _DEEPEST)]
            return Status(code, ": ".join(words))
    raise Malformed("a response without LLRPStatus")


def _errors(data: bytes, start: int, deepest: int) -> list[str]:
    """What the FieldError and ParameterError in `data` from `start` say, outermost first."""
    found = []
    for kind, value in parameters(data, start):
        if kind == ParameterType.FIELD_ERROR:
            number, code = fields("HH", value, kind)
            found.append(f"field {number} {_name(code)}")
        elif kind == ParameterType.PARAMETER_ERROR:
            number, code = fields("HH", value, kind)
            found.append(f"{_parameter(number)} {_name(code)}")
            if deepest:
                found += _errors(value, 4, deepest - 1)
    return found


def _name(code: int) -> str:
    return "success" if code == 0 else f"{_CODES.get(code, 'status')} ({code})"


def _parameter(number: int) -> str:
    try:
        name = ParameterType(number).name
    except ValueError:
        return f"parameter {number}"
    return f"{name} ({number})"

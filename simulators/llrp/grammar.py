"""Taking a request apart by the rules of the standard, and saying in LLRP's words where it breaks them.

LLRP 1.0.1, chapter 14: a message with any error in it is refused as a whole, and `LLRPStatus` names the parameter and
the field. Fields are counted from 0 here; the standard does not say where counting starts.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from simulators.llrp.codes import Status, Tlv
from simulators.llrp.wire import parameters, tlv

_KNOWN = frozenset(Tlv)
_UNSUPPORTED = frozenset({Tlv.CUSTOM, Tlv.RF_SURVEY_SPEC, Tlv.GPI_TRIGGER_VALUE})


class Refused(Exception):
    """The request is answered with this `LLRPStatus`."""

    def __init__(self, code: Status, text: str, *details: bytes) -> None:
        super().__init__(text)
        self.status = status(code, text, *details)


def status(code: int = Status.SUCCESS, text: str = "", *details: bytes) -> bytes:
    """An `LLRPStatus`; `details` are a FieldError or a ParameterError."""
    raw = text.encode()
    return tlv(Tlv.LLRP_STATUS, struct.pack(">HH", code, len(raw)), raw, *details)


def field_error(field: int, code: Status) -> bytes:
    return tlv(Tlv.FIELD_ERROR, struct.pack(">HH", field, code))


def parameter_error(parameter: int, code: Status, *details: bytes) -> bytes:
    return tlv(Tlv.PARAMETER_ERROR, struct.pack(">HH", parameter, code), *details)


def bad_message_field(field: int, text: str, code: Status = Status.A_INVALID) -> Refused:
    """A field of the message itself is wrong."""
    return Refused(Status.M_FIELD_ERROR, text, field_error(field, code))


def bad_field(parameter: Tlv, field: int, text: str, code: Status = Status.A_INVALID) -> Refused:
    """A field of a parameter is wrong."""
    detail = parameter_error(parameter, Status.P_FIELD_ERROR, field_error(field, code))
    return Refused(Status.M_PARAMETER_ERROR, f"{parameter.name}: {text}", detail)


def bad_parameter(parameter: int, code: Status, text: str) -> Refused:
    """A parameter inside another one is wrong."""
    return Refused(Status.M_PARAMETER_ERROR, text, parameter_error(parameter, code))


class Fields:
    """The value of one parameter (or, without `owner`, the body of a message): first its fields, then what is inside.

    Everything is taken in the order of the standard, and `end` makes sure that nothing is left.
    """

    def __init__(self, owner: Tlv | None, data: bytes) -> None:
        self.owner = owner
        self._data = data
        self._inside: deque[Any] | None = None

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next fields by a `struct` layout without byte order."""
        fields = struct.Struct(">" + layout)
        if len(self._data) < fields.size:
            raise self._malformed(f"has {len(self._data)} bytes where at least {fields.size} must be")
        found = fields.unpack_from(self._data)
        self._data = self._data[fields.size :]
        return found

    def octets(self, count: int) -> bytes:
        """The next `count` bytes."""
        return bytes(self.take(f"{count}s")[0])

    def optional(self, type_: Tlv) -> Fields | None:
        """The next parameter inside when it is of this type."""
        inside = self._parameters()
        if inside and inside[0].type == type_:
            return Fields(type_, inside.popleft().value)
        return None

    def one(self, type_: Tlv) -> Fields:
        """The next parameter inside, which must be of this type."""
        found = self.optional(type_)
        if found is None:
            text = f"{type_.name} is missing in {self._name}"
            if self.owner is None:
                raise Refused(Status.M_MISSING_PARAMETER, text)
            raise bad_parameter(type_, Status.P_MISSING_PARAMETER, text)
        return found

    def many(self, type_: Tlv) -> list[Fields]:
        """All parameters of this type that come next."""
        found = []
        while (each := self.optional(type_)) is not None:
            found.append(each)
        return found

    def raw(self) -> bytes:
        """What has not been taken yet."""
        return self._data if self._inside is None else b"".join(tlv(each.type, each.value) for each in self._inside)

    def refuse_unsupported(self) -> None:
        """Something else than what this reader cannot do must come next."""
        if (inside := self._parameters()) and inside[0].type in _UNSUPPORTED:
            self.end()

    def end(self) -> None:
        """Nothing more may come."""
        if not (inside := self._parameters()):
            return
        type_ = inside[0].type
        if type_ not in _KNOWN:
            codes, what = (Status.M_UNKNOWN_PARAMETER, Status.P_UNKNOWN_PARAMETER), "is unknown"
        elif type_ in _UNSUPPORTED:
            codes, what = (Status.M_UNSUPPORTED_PARAMETER, Status.P_UNSUPPORTED_PARAMETER), "is not supported"
        else:
            codes, what = (Status.M_UNEXPECTED_PARAMETER, Status.P_UNEXPECTED_PARAMETER), "does not belong here"
        text = f"parameter {type_} {what}, in {self._name}"
        if self.owner is None:
            raise Refused(codes[0], text)
        raise bad_parameter(type_, codes[1], text)

    @property
    def _name(self) -> str:
        return "the message" if self.owner is None else self.owner.name

    def _parameters(self) -> deque[Any]:
        if self._inside is None:
            try:
                self._inside = deque(parameters(self._data))
            except ValueError as error:
                raise self._malformed(str(error)) from error
        return self._inside

    def _malformed(self, text: str) -> Refused:
        text = f"{self._name}: {text}"
        if self.owner is None:
            return Refused(Status.M_PARAMETER_ERROR, text)
        return bad_parameter(self.owner, Status.P_PARAMETER_ERROR, text)

"""Answers with a structure in them that asyncua cannot decode: it costs the value that it is, and no other.

The definition of a structure is read at each connect. A program that is loaded into the server after that may bring
another one under the same name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum, IntEnum
from typing import Any, Final, TypeVar

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import from_binary, struct_from_binary
from asyncua.ua.uaerrors import UaError, UaStructParsingError

_T = TypeVar("_T")

_UNDECODABLE = (UaError, struct.error, ValueError, KeyError, IndexError, TypeError)
_NOTIFICATIONS: Final = (ua.DataChangeNotification, ua.EventNotificationList, ua.StatusChangeNotification)


def read_response(data: Buffer) -> ua.ReadResponse:
    """Raises `UaStructParsingError` when it is more than a structure that cannot be decoded."""
    response, is_closed = _decoded(ua.ReadResponse, data)
    if is_closed:
        response.Results = [_opened(each) for each in response.Results]
    return response


def publish_response(data: Buffer) -> ua.PublishResponse:
    """Raises as `read_response`."""
    response, is_closed = _decoded(ua.PublishResponse, data)
    if is_closed:
        _open_changes(response.Parameters.NotificationMessage)
    return response


def republish_response(data: Buffer) -> ua.RepublishResponse:
    """Raises as `read_response`."""
    response, is_closed = _decoded(ua.RepublishResponse, data)
    if is_closed:
        _open_changes(response.NotificationMessage)
    return response


def allow_unnamed(enumerations: list[type[Enum]]) -> None:
    """Take also numbers for which these have no name: a device may know more states than the definition it shows."""
    for enumeration in enumerations:
        if issubclass(enumeration, IntEnum):
            enumeration._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


def _unnamed(enumeration: type[IntEnum], value: int) -> IntEnum:
    member = int.__new__(enumeration, value)
    member._name_, member._value_ = str(value), value
    return member


def _decoded(kind: type[_T], data: Buffer) -> tuple[_T, bool]:
    """The response, and whether the structures in it are still closed because there is one that cannot be decoded."""
    try:
        return struct_from_binary(kind, data.copy()), False
    except _UNDECODABLE:
        pass
    try:
        with _structures_stay_closed():
            return struct_from_binary(kind, data), True
    except _UNDECODABLE as error:
        raise UaStructParsingError(str(error)) from error


@contextmanager
def _structures_stay_closed() -> Iterator[None]:
    """asyncua leaves a structure that it does not know as the bytes that it is."""
    known = ua.extension_objects_by_typeid
    ua.extension_objects_by_typeid = {typeid: of for typeid, of in known.items() if of in _NOTIFICATIONS}
    try:
        yield
    finally:
        ua.extension_objects_by_typeid = known


def _open_changes(message: ua.NotificationMessage) -> None:
    for data in message.NotificationData:
        if isinstance(data, ua.DataChangeNotification):
            for change in data.MonitoredItems:
                change.Value = _opened(change.Value)


def _opened(data: ua.DataValue) -> ua.DataValue:
    """With its structures decoded; bad, with the status that Part 4 has for it, where one cannot be."""
    variant = data.Value
    if variant is None or variant.VariantType is not ua.VariantType.ExtensionObject:
        return data
    try:
        value = _open(variant.Value)
    except _UNDECODABLE:
        return replace(data, Value=ua.Variant(), StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadDecodingError)))
    return replace(data, Value=ua.Variant(value, variant.VariantType, variant.Dimensions, variant.is_array))


def _open(value: Any) -> Any:
    if isinstance(value, list):
        return [_open(each) for each in value]
    if not isinstance(value, ua.ExtensionObject) or value.Body is None:
        return value
    kind = ua.extension_objects_by_typeid.get(value.TypeId)
    return value if kind is None else from_binary(kind, Buffer(value.Body))

"""What a data value of OPC UA means to the gateway: a value, a quality and a time. Pure."""

from __future__ import annotations

import math
import struct
import uuid
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any

from asyncua import ua
from asyncua.common.structures104 import clean_name
from asyncua.ua import status_codes

from drivers.model import Level, Quality, Reason, Value, bad
from drivers.opcua.address import Part
from drivers.opcua.settings import Timestamp

NOT_A_SCALAR = bad("not-a-scalar")
"""The node holds an array or a structure, and the point does not say which part of it is meant."""
NO_SUCH_PART = bad("no-such-part")
"""The value has no field of this name, or is no array."""
NO_VALUE = bad("no-value")
"""The status is good and the value is null."""
_NOT_A_NUMBER = bad(Reason.NOT_A_NUMBER)
_NOT_UNICODE = bad(Reason.BAD_RESPONSE)
_BEYOND_THE_ARRAY = bad("BadIndexRangeNoData")

_NULL = ua.Variant()
_FLOAT = struct.Struct("<f")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = datetime(1601, 1, 1, tzinfo=UTC)
"""The number 0, which Part 6, 5.2.2.5 has for a time that is not known, and what is before it."""
_MICROSECOND = timedelta(microseconds=1)
_LAST_NS = 2**63 - 1
_SEVERITY, _UNCERTAIN, _BAD = 0xC0000000, 0x40000000, 0x80000000
_NAMED_BITS = 0xFFFF0000
"""The rest of a status code are flags (Part 4, 7.39.1)."""
_OVERFLOW = 0x0480
"""The info bits say data value, and among them that the queue of the monitored item has lost some."""


def judge(data: ua.DataValue, part: Part) -> tuple[Value, Quality | None]:
    """The value, or the part of it that is wanted, and its quality: None where that is good.

    A bad value is None. An uncertain one is a value with a quality.
    """
    status = data.StatusCode.value if data.StatusCode is not None else 0
    judged = quality(status) if status & _SEVERITY else None
    if judged is not None and judged.level is Level.BAD:
        return None, judged
    variant = data.Value or _NULL
    value: Any = variant.Value
    for step in part:
        value = _part(value, step)
        if isinstance(value, Quality):
            return None, value
    kind: object = type(value)
    if kind is float:
        if not math.isfinite(value):
            return None, _NOT_A_NUMBER
        is_short = variant.VariantType is ua.VariantType.Float and not part
        return _shortest(value) if is_short else value, judged
    if kind is int or kind is bool:
        return value, judged
    found = _scalar(value)
    if isinstance(found, str) and not _is_unicode(found):
        found = _NOT_UNICODE
    return (None, found) if isinstance(found, Quality) else (found, judged)


@lru_cache(maxsize=1024)
def quality(status: int) -> Quality:
    """The quality of a status code; its reason is the name that Part 6, annex A.2 has for it.

    One that nobody knows is called by its number. The severity is in the two highest bits (Part 4, 7.39.1).
    """
    severity = status & _SEVERITY
    level = {0: Level.GOOD, _UNCERTAIN: Level.UNCERTAIN}.get(severity, Level.BAD)
    return Quality(level, status_name(status))


def status_name(status: int) -> str:
    """`BadNodeIdUnknown`, or `0x80FF0000` for one that nobody knows."""
    name, _ = status_codes.get_name_and_doc(status & _NAMED_BITS)
    nameless = name in ("Bad", "Uncertain", "Good") and status & _NAMED_BITS not in (0, _UNCERTAIN, _BAD)
    return f"0x{status:08X}" if nameless else name


def has_lost_some(data: ua.DataValue) -> bool:
    """Whether values before this one did not fit into the queue of the server."""
    return data.StatusCode is not None and data.StatusCode.value & _OVERFLOW == _OVERFLOW


def observed_at_ns(data: ua.DataValue, whose: Timestamp, *, now_ns: int) -> int:
    """When that was, in nanoseconds since 1970, by the clock that is asked for.

    Where the server does not say by that one: by its own, and else by the gateway's. A time before 1970 or after 2262
    is none.
    """
    if whose is Timestamp.SOURCE and (source_ns := _ns(data.SourceTimestamp)) is not None:
        return source_ns
    if whose is not Timestamp.GATEWAY and (server_ns := _ns(data.ServerTimestamp)) is not None:
        return server_ns
    return now_ns


def _shortest(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 1.42, not 1.4199999570846558."""
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT.unpack(_FLOAT.pack(short))[0] == value:
                return short
        except OverflowError:  # rounded up beyond the largest
            continue
    return value


def _is_unicode(text: str) -> bool:
    """Whether it can be stored and sent: asyncua keeps bytes that are not UTF-8 as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ns(time: datetime | None) -> int | None:
    if time is None:
        return None
    since = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    ns = since // _MICROSECOND * 1000
    return ns if 0 < ns <= _LAST_NS else None


def _part(value: Any, step: int | str) -> Any:
    """One step into a value, or the quality that says why there is none."""
    if isinstance(value, ua.Variant):
        value = value.Value
    if isinstance(step, int):
        if not isinstance(value, list | tuple):
            return NO_SUCH_PART
        return value[step] if step < len(value) else _BEYOND_THE_ARRAY
    fields = getattr(type(value), "__dataclass_fields__", {})
    name = step if step in fields else clean_name(step)
    if name not in fields or isinstance(value, ua.ExtensionObject):
        return NO_SUCH_PART
    return getattr(value, name)


def _scalar(value: Any) -> Value | Quality:  # noqa: C901, PLR0911, PLR0912  one line per type of OPC UA
    match value:
        case None:
            return NO_VALUE
        case ua.StatusCode():
            return status_name(value.value)
        case Enum():
            return int(value.value)
        case bool() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else _NOT_A_NUMBER
        case int():
            return int(value)
        case datetime() if value.replace(tzinfo=UTC) <= _NO_TIME:
            return NO_VALUE
        case datetime():
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case uuid.UUID():
            return str(value)
        case ua.LocalizedText():
            return NO_VALUE if value.Text is None else value.Text
        case ua.NodeId() | ua.QualifiedName():
            return value.to_string()
        case ua.XmlElement():
            return NO_VALUE if value.Value is None else str(value.Value)
        case ua.Variant():
            return _scalar(value.Value)
    return NOT_A_SCALAR

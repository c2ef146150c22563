"""Writes one point, in the data type that its node has, and reads it back."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from drivers.contract import BadResponse
from drivers.model import Quality, Reason, Value
from drivers.opcua.link import Link
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.value import judge, status_name

_BITS: Final = {
    ua.VariantType.SByte: (True, 8),
    ua.VariantType.Byte: (False, 8),
    ua.VariantType.Int16: (True, 16),
    ua.VariantType.UInt16: (False, 16),
    ua.VariantType.Int32: (True, 32),
    ua.VariantType.UInt32: (False, 32),
    ua.VariantType.Int64: (True, 64),
    ua.VariantType.UInt64: (False, 64),
}
_VALUE_IS_WRONG = frozenset({"BadTypeMismatch", "BadOutOfRange"})
"""Refusals that are about the value, not about the point."""


async def write(link: Link, node: ua.NodeId | Quality, point: OpcuaPoint, value: Value) -> Value:
    """As `drivers.contract.WritableSession.write`."""
    attempt = f"writing {point.name} ({point.place})"
    if isinstance(node, Quality):
        raise _refused(link, attempt, node.reason)
    (before,) = await link.read(attempt, [node])
    kind = _kind(before) or await _declared_kind(link, attempt, node)
    if before.Value is not None and before.Value.is_array:
        raise ValueError(f"{point.name} is an array, and only single values can be written")
    variant = ua.Variant(encode(value, kind, point.name), kind)
    status = await link.write(attempt, node, variant)
    if not status.is_good():
        name = status_name(status.value)
        if name in _VALUE_IS_WRONG:
            raise ValueError(f"{point.name} does not take {value!r}: the server says {name}")
        raise _refused(link, attempt, name)
    (after,) = await link.read(f"reading {point.name} back", [node])
    held, judged = judge(after, point.part)
    if held is None:
        raise _refused(link, f"reading {point.name} back", judged.reason if judged is not None else "")
    return held


def encode(value: Value, kind: ua.VariantType, name: str) -> Any:
    """The value as this type of OPC UA has it. Raises ValueError, in words for the person who sent it."""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    match kind:
        case ua.VariantType.Boolean if isinstance(value, bool):
            return value
        case ua.VariantType.String if isinstance(value, str):
            return value
        case ua.VariantType.LocalizedText if isinstance(value, str):
            return ua.LocalizedText(value)
        case ua.VariantType.Double if is_number:
            return float(value)  # type: ignore[arg-type]
        case ua.VariantType.Float if is_number:
            return _float32(float(value), name)  # type: ignore[arg-type]
        case _ if kind in _BITS and is_number and _is_whole(value):  # type: ignore[arg-type]
            return _integer(int(value), *_BITS[kind], kind=kind, name=name)  # type: ignore[arg-type]
    shown = value if isinstance(value, Decimal) else repr(value)
    raise ValueError(f"{name} is a {kind.name} and does not take {shown}")


def _is_whole(value: float | Decimal) -> bool:
    exact = Decimal(value)
    return exact.is_finite() and exact == exact.to_integral_value()


def _integer(value: int, signed: bool, bits: int, *, kind: ua.VariantType, name: str) -> int:  # noqa: FBT001  a row
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not least <= value <= most:
        raise ValueError(f"{name} is a {kind.name}, which is {least} to {most}, and does not take {value}")
    return value


def _float32(value: float, name: str) -> float:
    try:
        struct.pack("<f", value)
    except OverflowError:
        raise ValueError(f"{name} is a Float, which is at most 3.4e38, and does not take {value!r}") from None
    return value


def _kind(data: ua.DataValue) -> ua.VariantType | None:
    kind = data.Value.VariantType if data.Value is not None else None
    return kind if isinstance(kind, ua.VariantType) and kind is not ua.VariantType.Null else None


async def _declared_kind(link: Link, attempt: str, node: ua.NodeId) -> ua.VariantType:
    """The type of a node that holds nothing yet, where it is one of the built-in ones (Part 6, 5.1.2)."""
    (data,) = await link.read(attempt, [node], AttributeIds.DataType)
    declared = data.Value.Value if data.Value is not None else None
    if isinstance(declared, ua.NodeId) and declared.NamespaceIndex == 0 and isinstance(declared.Identifier, int):
        try:
            return ua.VariantType(declared.Identifier)
        except ValueError:
            pass
    raise BadResponse(
        f"{link.name}: {attempt}: it holds nothing, and its type is not a simple one", reason=Reason.DEVICE_ERROR
    )


def _refused(link: Link, attempt: str, name: str) -> BadResponse:
    return BadResponse(
        f"{link.name}: {attempt}: the server says {name}",
        reason=Reason.ILLEGAL_ADDRESS if name.startswith("BadNode") else Reason.DEVICE_ERROR,
        hint="check the rights of the user on the server" if name in ("BadUserAccessDenied", "BadNotWritable") else "",
    )

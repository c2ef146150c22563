"""One `devices:` entry with `driver: modbus`, and its points.

Every check raises ValueError in the words that an operator reads; the config loader adds file, line and key.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from drivers.modbus.dialect import Dialect
from drivers.modbus.endpoint import SerialEndpoint, TcpEndpoint, parse_endpoint
from drivers.modbus.plan import Limits
from drivers.modbus.point import (
    ADDRESSES,
    BOOL,
    LONG_ORDERS,
    MAX_BITS,
    MAX_REGISTERS,
    DataType,
    ModbusPoint,
    Order,
    Table,
    parse_address,
    parse_range,
    parse_type,
)
from drivers.modbus.reach import off_step, unreadable, unwritable
from drivers.settings import DeviceSettings, Duration, PointSettings, StrictModel
from drivers.tls import DeviceTlsSettings

_LARGEST_FACTOR = 1e30
_ORDERS = {order.value: order for order in Order} | LONG_ORDERS


def _number_as_text(value: Any) -> Any:
    """YAML reads the address `40001` as a number; `parse_address` has the better answer to it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AddressText = Annotated[str, BeforeValidator(_number_as_text)]
Factor = Annotated[float, Field(ge=-_LARGEST_FACTOR, le=_LARGEST_FACTOR, allow_inf_nan=False)]


class ModbusPointSettings(PointSettings):
    """A point: `{name: speed, address: holding:0, type: uint16, scale: 0.001, unit: m/s}`."""

    address: AddressText = Field(examples=["holding:0", "input:4", "coil:0", "discrete:3", "holding:12.3"])
    type: str | None = Field(
        default=None,
        validate_default=True,
        description="bool int16 uint16 int32 uint32 int64 uint64 float32 float64 bcd16 bcd32 string(n); "
        "not needed for a coil, a discrete input or a bit of a register",
    )
    order: str = Field(default=Order.ABCD.value, description="ABCD DCBA BADC CDAB; A is the most significant byte")
    scale: Factor = 1.0
    offset: Factor = 0.0

    @field_validator("address")
    @classmethod
    def _address_is_known(cls, text: str) -> str:
        return str(parse_address(text))

    @field_validator("type")
    @classmethod
    def _type_suits_address(cls, text: str | None, info: ValidationInfo) -> str | None:
        kind = None if text is None else parse_type(text)
        if "address" not in info.data:
            return text
        address = parse_address(info.data["address"])
        if address.table.holds_bits or address.bit is not None:
            if kind not in (None, BOOL):
                raise ValueError(f"{address} is one bit, so its type is bool, not {text}")
            return BOOL.name
        if kind is None:
            raise ValueError(f"a register needs a type, for example {{address: {address}, type: uint16}}")
        if kind is BOOL:
            raise ValueError(f"a bool needs a coil, a discrete input or one bit of a register, for example {address}.0")
        if address.number + kind.registers > ADDRESSES:
            raise ValueError(f"{text} at {address} runs beyond the last address, {ADDRESSES - 1}")
        return text

    @field_validator("order")
    @classmethod
    def _order_suits_type(cls, text: str, info: ValidationInfo) -> str:
        if text not in _ORDERS:
            raise ValueError(f'"{text}" is not an order; known are {", ".join(_ORDERS)}')
        if (kind := _kind(info)) is None:
            return text
        if text in LONG_ORDERS and kind.size != 8:
            raise ValueError(f"{text} is an order of 8 bytes; {kind.name} needs one of {', '.join(Order)}")
        if kind is BOOL and text != Order.ABCD:
            raise ValueError("order has no meaning for a bool")
        if (kind.size == 2 or kind.name == "string") and text not in (Order.ABCD, Order.BADC):
            raise ValueError(f"{text} orders words; {kind.name} has bytes in registers only: ABCD, or BADC for swapped")
        return _ORDERS[text].value

    @field_validator("scale", "offset")
    @classmethod
    def _only_numbers_are_scaled(cls, value: float, info: ValidationInfo) -> float:
        kind = _kind(info)
        if kind is not None and not kind.is_number:
            raise ValueError(f"{info.field_name} has no meaning for a {kind.name}")
        if info.field_name == "scale" and value == 0:
            raise ValueError("scale 0 would make every value the same")
        return value

    @model_validator(mode="after")
    def _base_keys_suit_type(self) -> Self:
        point = self.point()
        if self.deadband and not point.type.is_number:
            raise ValueError(f"deadband has no meaning for a {point.type.name}: any change is reported")
        if self.writable and point.address.table in (Table.INPUT, Table.DISCRETE):
            raise ValueError(f"{self.address} cannot be writable: only holding registers and coils can be written")
        for key, limit in (("min", self.min), ("max", self.max)):
            if limit is not None and point.type.is_number and (mistake := off_step(point, limit)) is not None:
                raise ValueError(f"{key} {mistake}")
        return self

    def point(self) -> ModbusPoint:
        """The point that this describes."""
        return ModbusPoint(
            name=self.name,
            unit=self.unit,
            deadband=self.deadband,
            writable=self.writable,
            address=parse_address(self.address),
            type=parse_type(self.type or BOOL.name),
            order=Order(self.order),
            scale=self.scale,
            offset=self.offset,
        )


class FunctionCodes(StrictModel):
    """Which functions a device knows, where they are not the usual ones."""

    coil: Literal[1, 2] = Field(default=1, description="reads coils")
    discrete: Literal[1, 2] = Field(default=2, description="reads discrete inputs")
    holding: Literal[3, 4] = Field(default=3, description="reads holding registers")
    input: Literal[3, 4] = Field(default=4, description="reads input registers")
    write_coil: Literal[5, 15] = Field(default=5, description="writes a coil: 5 alone, 15 as one of several")
    write_register: Literal[6, 16] | None = Field(
        default=None, description="writes registers: 6 one, 16 several; unless set, 6 for one and 16 for more"
    )
    write_bit: Literal[22] | None = Field(
        default=None,
        description="22 changes one bit of a register in the device; unless set, the register is read and written back",
    )


class ModbusDeviceSettings(DeviceSettings):
    """A unit behind a TCP socket or on a serial line. Devices with the same line share one connection."""

    driver: Literal["modbus"]
    url: str = Field(
        examples=[
            "tcp://10.0.0.5:502",
            "tls://10.0.0.5:802",
            "rtu+tcp://10.0.0.5:4001",
            "rtu:///dev/ttyUSB0?baudrate=19200&parity=E",
            "ascii:///dev/ttyUSB0?baudrate=9600&bytesize=7",
        ]
    )
    tls: DeviceTlsSettings | None = Field(default=None, description="whom to trust, and who we are, on a tls:// link")
    unit: int = Field(
        default=1, ge=0, le=255, description="0 to 255; 1 to 247 wherever a serial line is behind the link"
    )
    max_gap: int = Field(
        default=16,
        ge=0,
        le=MAX_REGISTERS,
        description="registers (or 16 times as many bits) that nobody wants but that are read to save a request",
    )
    max_registers: int = Field(
        default=MAX_REGISTERS, ge=1, le=MAX_REGISTERS, description="the most registers in one request"
    )
    max_bits: int = Field(
        default=MAX_BITS, ge=1, le=MAX_BITS, description="the most coils or discrete inputs in one request"
    )
    forbidden: tuple[str, ...] = Field(
        default=(), description="addresses that are never requested", examples=[["holding:100-120"]]
    )
    start_only_blocks: tuple[str, ...] = Field(
        default=(),
        description="ranges that the device gives only when they are asked for from their first address on",
        examples=[["holding:1499-1519"]],
    )
    address_offset: int = Field(
        default=0,
        ge=1 - ADDRESSES,
        le=ADDRESSES - 1,
        description="added to every address of the device on the wire; -1 where its manual counts from 1",
    )
    function_codes: FunctionCodes = Field(
        default=FunctionCodes(), description="which functions the device knows, where they are not the usual ones"
    )
    no_gap_fill: bool = Field(default=False, description="never read an address that no point wants")
    pause: Duration | None = Field(
        default=None, description="the least time between an answer of this unit and the next request to it"
    )
    link_pause: Duration | None = Field(
        default=None,
        description="the least time between any answer and any request on this link; the longest of its devices counts",
    )
    reconnect_each_read: bool = Field(default=False, description="a new connection for each request on this link")
    points: tuple[ModbusPointSettings, ...] = ()

    @field_validator("url")
    @classmethod
    def _url_is_supported(cls, url: str) -> str:
        parse_endpoint(url)
        return url

    @field_validator("tls")
    @classmethod
    def _tls_suits_link(cls, tls: DeviceTlsSettings | None, info: ValidationInfo) -> DeviceTlsSettings | None:
        if tls is not None and "url" in info.data:
            endpoint = parse_endpoint(info.data["url"])
            if not (isinstance(endpoint, TcpEndpoint) and endpoint.encrypted):
                raise ValueError(f"tls has no effect on {endpoint.link}; an encrypted link is tls://host:802")
        return tls

    @field_validator("reconnect_each_read")
    @classmethod
    def _link_can_reconnect(cls, reconnects: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  pydantic's signature
        if reconnects and "url" in info.data and isinstance(parse_endpoint(info.data["url"]), SerialEndpoint):
            raise ValueError("a serial line has no connection that could be made anew")
        return reconnects

    @field_validator("unit")
    @classmethod
    def _unit_suits_link(cls, unit: int, info: ValidationInfo) -> int:
        on_serial = "url" in info.data and not parse_endpoint(info.data["url"]).framing.has_transactions
        if on_serial and not 1 <= unit <= 247:
            raise ValueError(f"{unit} is not a unit on a serial line; they are 1 to 247 (0 is the broadcast)")
        return unit

    @field_validator("forbidden", "start_only_blocks")
    @classmethod
    def _ranges_are_known(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(parse_range(text)) for text in texts)

    @model_validator(mode="after")
    def _quirks_go_together(self) -> Self:
        if self.no_gap_fill and "max_gap" in self.model_fields_set and self.max_gap:
            raise ValueError("no_gap_fill and max_gap contradict each other; remove one of them")
        blocks = sorted((parse_range(text) for text in self.start_only_blocks), key=lambda one: (one.table, one.start))
        for one, other in pairwise(blocks):
            if one.overlaps(other):
                raise ValueError(f"the start_only_blocks {one} and {other} overlap")
        return self

    @model_validator(mode="after")
    def _points_can_be_read(self) -> Self:
        limits, dialect = self.limits(), self.dialect()
        points = [settings.point() for settings in self.points]
        problems = [
            f'point "{point.name}" {problem}'
            for point in points
            for problem in (unreadable(point, limits, dialect), unwritable(point, dialect))
            if problem is not None
        ]
        names = Counter(point.name for point in points)
        problems += [f'two points are called "{name}"' for name, count in sorted(names.items()) if count > 1]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def limits(self) -> Limits:
        """What one request to the device may be."""
        return Limits(
            max_gap=0 if self.no_gap_fill else self.max_gap,
            max_registers=self.max_registers,
            max_bits=self.max_bits,
            forbidden=tuple(parse_range(text) for text in self.forbidden),
            start_only=tuple(parse_range(text) for text in self.start_only_blocks),
        )

    def dialect(self) -> Dialect:
        """How the device wants to be spoken to."""
        codes = self.function_codes
        return Dialect(
            offset=self.address_offset,
            reads={table: getattr(codes, table.value) for table in Table},
            writes_coil=codes.write_coil,
            writes_register=codes.write_register,
            masks_bits=codes.write_bit is not None,
        )


def _kind(info: ValidationInfo) -> DataType | None:
    """The point's type where it was valid."""
    text = info.data.get("type")
    return None if text is None else parse_type(text)

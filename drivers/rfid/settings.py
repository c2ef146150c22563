"""One `devices:` entry with `driver: rfid`.

Every check raises ValueError in the words that an operator reads; the config loader adds file, line and key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from drivers.pattern import compile_pattern
from drivers.rfid.clock import ClockChoice
from drivers.rfid.deduplicate import ReportTags
from drivers.rfid.endpoint import LlrpEndpoint, parse_url
from drivers.settings import DeviceSettings, Duration, PointSettings, duration_s
from drivers.tls import DeviceTlsSettings

POINT_NAMES = ("epc", "uri", "antenna", "rssi", "seen_count", "first_seen", "last_seen")
PATTERN_GROUPS = ("epc", "antenna", "rssi", "seen_count")
"""What a line of a `pattern` reader can carry."""
_ANY_EPC = r"(?P<epc>[0-9A-Fa-f]{16,124})"
_MOST_MS = 2**32 - 1
_LLRP_ONLY = (
    *("tls", "version", "antennas", "power", "channel", "session", "population", "mode", "duration", "periodic"),
    *("keepalive", "clock", "factory_reset"),
)
_PATTERN_ONLY = ("pattern",)


class Protocol(StrEnum):
    """What a reader speaks."""

    LLRP = "llrp"
    PATTERN = "pattern"


def _window_s(value: Any, info: ValidationInfo) -> float | None:
    if value == "none":
        return None
    seconds = duration_s(str(value) if isinstance(value, float) and info.context is not None else value)
    if seconds <= 0:
        raise ValueError("a window is longer than nothing; write none to get a reading for every report of the reader")
    return seconds


def _version(value: Any) -> Any:
    """YAML reads `1.1` as a number."""
    return str(value) if isinstance(value, float) else value


def _prefixes(value: Any) -> Any:
    """One needs no list. Not a number: 0031 would have lost its zeros."""
    return [value] if isinstance(value, str | int | float) else value


Window = Annotated[
    float | None,
    BeforeValidator(_window_s),
    WithJsonSchema({"type": "string", "pattern": r"^(none|\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)$", "examples": ["5s"]}),
]
Antenna = Annotated[int, Field(ge=1, le=65535, strict=True)]
_DIGITS = {"type": "string", "pattern": "^[0-9A-Fa-f]+$"}
Prefixes = Annotated[
    tuple[str, ...],
    BeforeValidator(_prefixes),
    WithJsonSchema({"anyOf": [_DIGITS, {"type": "array", "items": _DIGITS}]}),
]
Version = Annotated[Literal["1.0.1", "1.1"], BeforeValidator(_version), WithJsonSchema({"enum": ["1.0.1", "1.1", 1.1]})]


class RfidDeviceSettings(DeviceSettings):
    """An RFID reader, or with `antennas:` the part of one that is a portal: devices with one url share the reader."""

    driver: Literal["rfid"]
    url: str = Field(
        examples=["llrp://10.0.0.20:5084", "llrps://10.0.0.20:5085", "serial:///dev/ttyUSB2?baudrate=9600"]
    )
    protocol: Protocol = Field(
        default=Protocol.LLRP,
        validate_default=True,
        description="pattern: a reader that writes a line of text for each tag; needs a serial://, tcp:// or "
        "rfc2217:// url",
    )
    timeout: Duration = Field(default=5.0, description="how long connecting and each answer of the reader may take")
    window: Window = Field(
        default=5.0,
        description="a tag that an antenna sees again within it has stayed, and is not reported anew; none: every "
        "report of the reader is a reading",
    )
    report_tags: ReportTags = Field(
        default=ReportTags.ARRIVAL,
        description="arrival: at once, when a tag is first seen; departure: when it was not seen for window, with all "
        "that was seen of it; both: two readings",
    )
    filter: Prefixes = Field(
        default=(), description="only tags whose EPC begins with one of these hexadecimal digits", examples=[["31"]]
    )
    tls: DeviceTlsSettings | None = Field(default=None, description="for llrps://")
    version: Version = Field(default="1.0.1", description="of LLRP; every reader speaks 1.0.1")
    antennas: tuple[Antenna, ...] = Field(default=(), description="numbers from 1; all of the reader when absent")
    power: float | None = Field(
        default=None,
        ge=-30,
        le=40,
        allow_inf_nan=False,
        description="dBm; the reader's next lower step is used. As the reader is set when absent",
    )
    channel: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="from 1, in a region with fixed frequencies; the first when absent. Goes with power",
    )
    session: int | None = Field(
        default=None,
        ge=0,
        le=3,
        description="Gen2 session: 0 and 1 read a tag that stays again and again, 2 and 3 about once",
    )
    population: int = Field(
        default=32, ge=1, le=65535, description="how many tags are in the field at once. Goes with session"
    )
    mode: int | None = Field(default=None, ge=0, le=65535, description="RF mode, by its number in the reader")
    duration: Duration | None = Field(default=None, description="how long to read, at every periodic")
    periodic: Duration | None = Field(
        default=None, description="how often to read for duration; all the time if absent"
    )
    keepalive: Duration = Field(
        default=5.0, description="how often the reader shows that it is there; it is given up after two and a half"
    )
    clock: ClockChoice = Field(
        default=ClockChoice.AUTO,
        description="whose times are used; auto: the reader's, if they are right within 5 s when it is connected",
    )
    factory_reset: bool = Field(
        default=False, description="true: at each connect the reader first forgets all that was ever set in it"
    )
    pattern: str = Field(
        default=_ANY_EPC,
        description="regular expression for a whole line, with the groups epc, antenna, rssi and seen_count; only epc "
        "is needed",
    )
    points: tuple[PointSettings, ...] = tuple(PointSettings(name=name) for name in POINT_NAMES)

    @field_validator("url")
    @classmethod
    def _url_is_supported(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("protocol")
    @classmethod
    def _protocol_suits_url(cls, protocol: Protocol, info: ValidationInfo) -> Protocol:
        if "url" not in info.data:
            return protocol
        is_llrp = isinstance(parse_url(info.data["url"]), LlrpEndpoint)
        if is_llrp and protocol is Protocol.PATTERN:
            raise ValueError("llrp:// is not a line of text; write serial://, tcp:// or rfc2217:// for a pattern")
        if not is_llrp and protocol is Protocol.LLRP:
            raise ValueError("only llrp:// and llrps:// speak LLRP; a reader on this url needs protocol: pattern")
        return protocol

    @field_validator("filter")
    @classmethod
    def _prefixes_are_hexadecimal(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not prefix or set(prefix) - set("0123456789abcdefABCDEF") or len(prefix) > 124:
                raise ValueError(f'"{prefix}" is not the beginning of an EPC; write its first hexadecimal digits')
        return tuple(prefix.upper() for prefix in prefixes)

    @field_validator("antennas")
    @classmethod
    def _antennas_differ(cls, antennas: tuple[int, ...]) -> tuple[int, ...]:
        for antenna in antennas:
            if antennas.count(antenna) > 1:
                raise ValueError(f"antenna {antenna} is there twice")
        return antennas

    @field_validator("duration", "periodic", "keepalive")
    @classmethod
    def _fits_into_the_protocol(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and not 1 <= round(seconds * 1000) <= _MOST_MS:
            raise ValueError(f"{info.field_name} is from 1ms to 49d")
        return seconds

    @field_validator("pattern")
    @classmethod
    def _pattern_takes_an_epc(cls, text: str) -> str:
        compile_pattern(text, groups=PATTERN_GROUPS, needs={"epc"})
        return text

    @field_validator("points")
    @classmethod
    def _points_are_fixed(cls, _: tuple[PointSettings, ...]) -> tuple[PointSettings, ...]:
        raise ValueError(f"the points of an rfid device are fixed: {', '.join(POINT_NAMES)}; remove points:")

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        useless = _PATTERN_ONLY if self.protocol is Protocol.LLRP else _LLRP_ONLY
        for key in useless:
            if key in self.model_fields_set:
                raise ValueError(f"{key} has no effect with protocol: {self.protocol}; remove it")
        for key, needed in (("channel", "power"), ("population", "session"), ("periodic", "duration")):
            if key in self.model_fields_set and getattr(self, needed) is None:
                raise ValueError(f"{key} has no effect without {needed}; add it")
        if self.duration is not None and (self.periodic is None or self.duration >= self.periodic):
            raise ValueError("duration needs a longer periodic: how often to read for so long")
        if self.window is None and "report_tags" in self.model_fields_set:
            raise ValueError("report_tags has no effect with window: none; every report is a reading")
        endpoint = parse_url(self.url)
        if self.tls is not None and not (isinstance(endpoint, LlrpEndpoint) and endpoint.uses_tls):
            raise ValueError("tls has no effect on this url; it needs llrps://")
        return self

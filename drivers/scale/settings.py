"""One `devices:` entry with `driver: scale`.

Every check raises ValueError in the words that an operator reads; the config loader adds file, line and key.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from drivers.model import Point
from drivers.pattern import parse_request
from drivers.scale.text import PRESETS, STATUSES, PresetName, compile_text, tells_stability
from drivers.scale.text_instrument import Format
from drivers.scale.toledo import Checksum
from drivers.settings import DeviceSettings, Duration, PointSettings
from drivers.transport import parse_url

T = TypeVar("T")

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "gross": "gross, where the instrument says so",
        "net": "net, where the instrument says so",
        "tare": "tare memory",
        "weight": "displayed weight",
        "stable": "settled or not",
        "unit": "displayed unit",
        "status": "state in one word",
    }
)
"""The points that every scale has, and what they are."""
ZERO = "zero"
_WEIGHTS = ("gross", "net", "tare", "weight")
_WRITABLE = ("tare", ZERO)
_SILENCE_S = 5.0
"""Whoever sends by itself does so several times a second."""


class Protocol(StrEnum):
    """What an instrument speaks."""

    MT_SICS = "mt-sics"
    SMA = "sma"
    TOLEDO_CONTINUOUS = "toledo-continuous"
    PATTERN = "pattern"


class Read(StrEnum):
    """When there is a reading: asked for each period, for each load that has settled, or as the instrument tells."""

    POLLED = "polled"
    STABLE = "stable"
    STREAMING = "streaming"


class ScalePointSettings(PointSettings):
    """What one of the points of a scale has of its own: `{name: tare, writable: true}`."""

    @field_validator("name")
    @classmethod
    def _name_is_known(cls, name: str) -> str:
        known = (*POINTS, ZERO)
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise ValueError(f'"{name}" is not a point of a scale; they are {", ".join(known)}{hint}')
        return name

    @field_validator("unit")
    @classmethod
    def _unit_is_the_display(cls, unit: str) -> str:
        if unit:
            raise ValueError("the unit is what the instrument displays (point unit); convert_to: kg changes it")
        return unit

    @model_validator(mode="after")
    def _keys_suit_the_point(self) -> Self:
        if self.deadband and self.name not in _WEIGHTS:
            raise ValueError(f"deadband has no meaning for {self.name}: any change is reported")
        if self.period is not None and self.name != "tare":
            raise ValueError(f"{self.name} comes with every reading; only tare can have a period of its own")
        if self.writable and self.name not in _WRITABLE:
            raise ValueError(f"{self.name} cannot be written; {' and '.join(_WRITABLE)} can")
        if self.name == ZERO and not self.writable:
            raise ValueError("zero is a command and shows nothing; it needs writable: true")
        if self.name == ZERO and (self.min is not None or self.max is not None):
            raise ValueError("min and max have no meaning for zero, which takes true and no number")
        return self


class ScaleSettings(DeviceSettings):
    """A scale or a weighing indicator: on a serial port, on a TCP port, or behind an RFC 2217 server."""

    driver: Literal["scale"]
    url: str = Field(
        examples=[
            "serial:///dev/ttyUSB1?baudrate=9600&bytesize=7&parity=E",
            "tcp://10.0.0.7:4001",
            "rfc2217://moxa:950",
        ]
    )
    protocol: Protocol
    read: Read | None = Field(
        default=None,
        description="polled: asked every period. stable: one reading for each load that has settled. streaming: as the "
        "instrument tells. Unless it is set: polled where the instrument can be asked, else streaming",
    )
    silence: Duration | None = Field(
        default=None,
        description="how long an instrument that sends by itself may be silent before it is connected anew; 5s unless "
        "it is set, with a pattern for ever",
    )
    convert_to: Literal["kg"] | None = Field(
        default=None, description="weights in kilograms, exactly, whatever the instrument displays"
    )
    checksum: Checksum = Field(default=Checksum.AUTO, description="of toledo-continuous: auto, on or off")
    preset: PresetName | None = Field(default=None, description="of pattern: a format that is known")
    pattern: str | None = Field(
        default=None,
        description="of pattern: a regular expression for a whole line with groups weight, gross, net, tare, kind, "
        "sign, unit, status, stable",
        examples=[r"(?P<status>ST|US),(?P<weight>[+-][ \d.]+)(?P<unit>kg)"],
    )
    request: str | None = Field(
        default=None, description="of pattern: what to ask with", examples=[r"P\r\n", r"\eP\r\n"]
    )
    points: tuple[ScalePointSettings, ...] = Field(
        default=tuple(ScalePointSettings(name=name) for name in POINTS),
        description="only what differs: a deadband, the period of tare, and writable: true for zero and tare; all "
        "other points are there anyway",
    )

    @field_validator("url")
    @classmethod
    def _url_is_supported(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("checksum")
    @classmethod
    def _checksum_has_an_effect(cls, checksum: Checksum, info: ValidationInfo) -> Checksum:
        return _only_of(Protocol.TOLEDO_CONTINUOUS, checksum, info)

    @field_validator("preset")
    @classmethod
    def _preset_has_an_effect(cls, preset: PresetName | None, info: ValidationInfo) -> PresetName | None:
        return preset if preset is None else _only_of(Protocol.PATTERN, preset, info)

    @field_validator("pattern")
    @classmethod
    def _pattern_is_one(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        if pattern is not None:
            _only_of(Protocol.PATTERN, pattern, info)
            compile_text(pattern)
            if info.data.get("preset") is not None:
                raise ValueError("preset is a pattern already; leave one of the two out")
        return pattern

    @field_validator("request")
    @classmethod
    def _request_is_one(cls, request: str | None, info: ValidationInfo) -> str | None:
        if request is not None:
            _only_of(Protocol.PATTERN, request, info)
            parse_request(request)
        return request

    @field_validator("points")
    @classmethod
    def _all_points_are_there(cls, points: tuple[ScalePointSettings, ...]) -> tuple[ScalePointSettings, ...]:
        given = {point.name: point for point in points}
        all_points = [given.get(name) or ScalePointSettings(name=name) for name in POINTS]
        return (*all_points, *([given[ZERO]] if ZERO in given else []))

    @model_validator(mode="after")
    def _keys_suit_each_other(self) -> Self:
        if self.protocol is Protocol.TOLEDO_CONTINUOUS and self.way is Read.POLLED:
            raise ValueError("toledo-continuous cannot be asked: read is streaming, or stable")
        if self.protocol is Protocol.PATTERN:
            if any(point.writable for point in self.points):
                raise ValueError("a pattern knows no command to tare or to set to zero, so that nothing is writable")
            if self.pattern is None and self.preset is None:
                raise ValueError(f"protocol pattern needs pattern:, or preset: with one of {', '.join(PresetName)}")
            form = self.format()
            if self.way is Read.POLLED and not form.request:
                raise ValueError("read: polled needs request:, the text that the instrument is asked with")
            if self.way is not Read.POLLED and self.request is not None:
                raise ValueError(f"read: {self.way.value} asks nothing; leave request: out, or use read: polled")
            if self.way is Read.STABLE and not tells_stability(form.pattern):
                raise ValueError("read: stable needs a group status or stable in the pattern")
        if self.silence is not None and self.way is Read.POLLED:
            raise ValueError("silence has no meaning where the instrument is asked; timeout is how long it may take")
        if self.tare.period is not None and not self.asks_for_tare:
            raise ValueError(
                "tare comes with every reading here; it can have a period where the instrument is asked for it"
            )
        return self

    @property
    def way(self) -> Read:
        """How it is read: `read`, or what suits the protocol."""
        if self.read is not None:
            return self.read
        can_be_asked = self.preset is not None or self.request is not None
        if self.protocol is Protocol.TOLEDO_CONTINUOUS or (self.protocol is Protocol.PATTERN and not can_be_asked):
            return Read.STREAMING
        return Read.POLLED

    @property
    def silence_s(self) -> float | None:
        """How long an instrument that sends by itself may be silent; None without a limit."""
        if self.silence is None and self.protocol is not Protocol.PATTERN:
            return None if self.protocol is Protocol.MT_SICS and self.way is Read.STABLE else _SILENCE_S
        return self.silence

    @property
    def asks_for_tare(self) -> bool:
        """Whether the tare memory is asked for, by a command and with a period of its own."""
        return self.way is Read.POLLED and self.protocol in (Protocol.MT_SICS, Protocol.SMA)

    @property
    def tare(self) -> ScalePointSettings:
        """The point `tare`."""
        return next(point for point in self.points if point.name == "tare")

    def format(self) -> Format:
        """What `pattern`, `preset` and `request` say."""
        preset = None if self.preset is None else PRESETS[self.preset]
        request = self.request or (preset.request if preset is not None else "")
        return Format(
            compile_text(preset.pattern if preset is not None else self.pattern or ""),
            preset.statuses if preset is not None else STATUSES,
            parse_request(request) if request else b"",
            starts_alike=preset is not None and preset.starts_alike,
        )

    def point(self, settings: ScalePointSettings) -> Point:
        """The point that an entry describes."""
        unit = self.convert_to if self.convert_to is not None and settings.name in _WEIGHTS else ""
        return Point(settings.name, unit, settings.deadband, settings.writable)


def _only_of(protocol: Protocol, value: T, info: ValidationInfo) -> T:
    """`value`, which has no effect under another protocol."""
    given = info.data.get("protocol")
    if given is not None and given is not protocol:
        raise ValueError(f"{info.field_name} has no meaning for {given.value}, only for {protocol.value}")
    return value

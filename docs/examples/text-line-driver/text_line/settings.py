"""What one entry of `devices:` may say."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from drivers.settings import DeviceSettings, Duration, PointSettings


class LinePointSettings(PointSettings):
    """A point: `{name: light, key: L1, writable: true}`."""

    key: str = Field(default="", pattern=r"^[A-Za-z0-9_]*$", description="what the device calls it; its name if absent")


class LineSettings(DeviceSettings):
    """A device: `{name: bench, driver: text-line, url: "line://10.0.0.30:4000", points: […]}`."""

    driver: Literal["text-line"]
    listen: bool = Field(default=False, description="the device speaks unasked; it is not asked then")
    silence: Duration = Field(default=10.0, description="with listen: how long the device may say nothing")
    points: tuple[LinePointSettings, ...] = Field(min_length=1)

    @field_validator("url")
    @classmethod
    def _host_and_port(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "line" or not parts.hostname or not parts.port:
            raise ValueError("must be line://host:port, for example line://10.0.0.30:4000")
        return url

    @field_validator("listen")
    @classmethod
    def _listened_to_or_written(cls, listen: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  pydantic calls it
        if listen and any(point.writable for point in info.data.get("points", ())):
            raise ValueError("a device that is listened to takes nothing, so that no point can be writable")
        return listen

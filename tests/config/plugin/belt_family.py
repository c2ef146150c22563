"""A driver family as a third party ships one: settings only and no I/O, found through its entry point."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from drivers.settings import DeviceSettings, PointSettings, StrictModel


class Kind(StrEnum):
    FLOAT32 = "float32"
    UINT16 = "uint16"


class BeltPoint(PointSettings):
    address: Annotated[int, Field(ge=0)]
    type: Kind = Kind.UINT16
    scale: float = 1.0


class Guard(StrictModel):
    distance: Annotated[float, Field(gt=0)]


class BeltSettings(DeviceSettings):
    driver: Literal["belt"]
    lanes: int = 1
    serial_number: str = ""
    guard: Guard | int | None = None
    points: tuple[BeltPoint, ...] = ()


class BeltFamily:
    settings = BeltSettings

    def link(self, device: DeviceSettings) -> str:
        return device.url

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> None:
        lanes = {device.lanes for device in devices if isinstance(device, BeltSettings)}
        if len(lanes) > 1:
            raise ValueError(f"the devices on {devices[0].url} disagree about its lanes")


FAMILY = BeltFamily()

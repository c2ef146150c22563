"""What the config file may say about a device on an OPC UA server."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from drivers.opcua.address import parse_address, parse_part, part_text
from drivers.opcua.endpoint import parse_endpoint
from drivers.opcua.point import OpcuaPoint
from drivers.opcua.security import SecuritySettings
from drivers.settings import DeviceSettings, Duration, PointSettings, Report

_LONGEST_QUEUE = 10_000


class Timestamp(StrEnum):
    """Whose clock says when a value was."""

    SOURCE = "source"
    SERVER = "server"
    GATEWAY = "gateway"


class OpcuaPointSettings(PointSettings):
    """A point: `{name: speed, address: "nsu=urn:hub:conveyor;s=Sorter.Speed", unit: m/s, deadband: 0.01}`."""

    address: str = Field(
        description="a node id, best with the URI of its namespace, or a browse path",
        examples=["nsu=urn:hub:conveyor;s=Sorter.Speed", "ns=2;i=17", "/Objects/2:Machine/Speed"],
    )
    part: str = Field(
        default="",
        description="what is wanted of an array or a structure; absent for the whole value",
        examples=["[2]", "Speed", "Axes[1].Position"],
    )

    @field_validator("address")
    @classmethod
    def _address_is_known(cls, text: str) -> str:
        return str(parse_address(text))

    @field_validator("part")
    @classmethod
    def _part_is_known(cls, text: str) -> str:
        return part_text(parse_part(text))

    @model_validator(mode="after")
    def _whole_values_are_written(self) -> Self:
        if self.writable and self.part:
            raise ValueError("a part of a value cannot be written; remove writable or part")
        return self

    def point(self, *, sampling_s: float) -> OpcuaPoint:
        """What the driver reads; `sampling_s` where the point has no period of its own."""
        return OpcuaPoint(
            self.name,
            self.unit,
            self.deadband,
            self.writable,
            address=parse_address(self.address),
            part=parse_part(self.part),
            sampling_s=self.period or sampling_s,
        )


class OpcuaDeviceSettings(DeviceSettings):
    """A device on an OPC UA server. Devices with the same url and security share one connection."""

    driver: Literal["opcua"]
    url: str = Field(examples=["opc.tcp://10.0.0.9:4840"])
    security: SecuritySettings = SecuritySettings()
    subscribe: bool = Field(default=True, description="false: every point is read each period")
    timestamp: Timestamp | None = Field(
        default=None,
        description="source | server | gateway; whose clock says when a value was. "
        "source where points are subscribed to, gateway where they are read",
    )
    sampling_interval: Duration | None = Field(
        default=None, description="how often the server looks at a node; the period of the point or device unless set"
    )
    publishing_interval: Duration = Field(default=0.25, description="how long the server gathers changes")
    queue_size: Annotated[int, Field(ge=1, le=_LONGEST_QUEUE)] | None = Field(
        default=None,
        description="changes of one point that the server keeps until they are published; enough for a "
        "publishing_interval unless set",
    )
    server_deadband: bool = Field(
        default=True,
        description="let the server hold back changes within a point's deadband; with report: on-change, "
        "and where the server can",
    )
    silence: Duration = Field(
        default=10.0, description="a subscription of which nothing was heard for this long is made anew"
    )
    points: tuple[OpcuaPointSettings, ...] = ()

    @field_validator("url")
    @classmethod
    def _url_is_supported(cls, url: str) -> str:
        parse_endpoint(url)
        return url

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        if not self.subscribe:
            idle = {"sampling_interval", "publishing_interval", "queue_size", "server_deadband", "silence"}
            if given := sorted(idle & self.model_fields_set):
                raise ValueError(f"{', '.join(given)}: no effect with subscribe: false; remove")
        elif self.silence <= self.publishing_interval:
            raise ValueError("silence must be longer than publishing_interval")
        names = [point.name for point in self.points]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError("; ".join(f'two points are called "{name}"' for name in twice))
        return self

    @property
    def effective_timestamp(self) -> Timestamp:
        """Whose clock counts."""
        return self.timestamp or (Timestamp.SOURCE if self.subscribe else Timestamp.GATEWAY)

    @property
    def uses_server_deadband(self) -> bool:
        """Whether the server may hold back what the gateway would not report."""
        return self.server_deadband and self.report is Report.ON_CHANGE

    def queue_for(self, sampling_s: float) -> int:
        """As long as what a publishing interval can bring, and one more."""
        if self.queue_size is not None:
            return self.queue_size
        return min(_LONGEST_QUEUE, math.ceil(self.publishing_interval / sampling_s) + 1)

    def sampled_points(self) -> tuple[OpcuaPoint, ...]:
        """In the order of the file."""
        sampling_s = self.sampling_interval or self.period
        return tuple(point.point(sampling_s=sampling_s) for point in self.points)

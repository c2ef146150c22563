"""What a driver family is, and what it raises.

A driver says what to read as data (`PointGroup`) and how to read as one object per link (`Session`). All policy, which
is timing, retry, back-off, circuit breaking, statistics and logging, is the host's; a driver holds none of it.

    family   = registry.family("modbus")            one per kind of device, found by name
    settings = family.settings.model_validate(...)   one per device of the config file
    driver   = family.driver([settings, ...])         one per link: all devices that share it
    async with driver.connect() as session:           a session exists only while connected
        reading = await session.read(group)           never called concurrently, never after the context has ended
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from drivers.model import Point, PointGroup, Reading, Reason, Value
from drivers.settings import DeviceSettings


class DriverError(Exception):
    """Something between the gateway and a device went wrong.

    `reason` becomes the quality and the metric label; `message` says what was attempted, on what and what came back;
    `hint` says what a person at the machine can do about it.
    """

    def __init__(self, message: str, *, reason: Reason, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class DeviceUnavailable(DriverError):
    """The link is gone or cannot be made. The host leaves the session, backs off and connects again."""


class BadResponse(DriverError):
    """This reading failed: no answer (`Reason.TIMEOUT`), garbage, an exception. The session lives on."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request on the wire and the points that it fetches, for people to read."""

    device: str
    period_s: float
    request: str
    points: tuple[Point, ...]
    addresses: tuple[str, ...]


class Session(Protocol):
    """An open link to polled devices."""

    async def read(self, group: PointGroup) -> Reading:
        """Read every point of `group` now.

        One point that cannot be read is bad inside the reading; it does not fail the others. Raises `BadResponse` when
        nothing could be read and the link may still be good, `DeviceUnavailable` when the link is gone.
        """
        ...


@runtime_checkable
class StreamSession(Protocol):
    """An open link to devices that speak unasked."""

    def readings(self) -> AsyncIterator[Reading]:
        """Readings as they come; ends only by `DeviceUnavailable`."""
        ...


@runtime_checkable
class WritableSession(Protocol):
    """A session that can write."""

    async def write(self, point: Point, value: Value) -> None:
        """Write `value` in the point's own unit. Raises as `Session.read` does."""
        ...


class Driver(Protocol):
    """All devices that share one link."""

    @property
    def link(self) -> str:
        """The link as a person would name it (`tcp://10.0.0.5:502`). No secrets: it is logged."""
        ...

    @property
    def groups(self) -> Sequence[PointGroup]:
        """Every poll group of every device on the link."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open the link. Raises `DeviceUnavailable` on entering when that fails within the timeout."""
        ...

    def plan(self) -> Sequence[PlannedRequest]:
        """The requests that reading every group once will put on the wire, in order. Does no I/O."""
        ...


class Family(Protocol):
    """A kind of device: how it is configured and how its driver is made. Does no I/O."""

    settings: type[DeviceSettings]
    """Validates one entry of `devices:` in the config file."""

    def link(self, device: DeviceSettings) -> str:
        """Devices for which this returns the same text share one link, and one driver."""
        ...

    def driver(self, devices: Sequence[DeviceSettings]) -> Driver:
        """The driver of one link with these devices, which all have the same `link`.

        Raises ValueError, in words for the person who wrote the config, when they cannot share it.
        """
        ...

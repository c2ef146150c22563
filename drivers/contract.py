"""What a driver family is, and what it raises.

A driver says what to read as data (`PointGroup`) and how to read as one object per link (`Session`). All policy, which
is timing, retry, back-off, circuit breaking, statistics and logging, is the host's; a driver holds none of it.

    family   = registry.family("modbus")            one per kind of device, found by name
    settings = family.settings.model_validate(...)   one per device of the config file
    driver   = family.driver([settings, ...], state_folder=...)     one per link: all devices that share it
    async with driver.connect() as session:           a session exists only while connected
        reading = await session.read(group)           never called concurrently, never after the context has ended

A link is either polled (its session is a `Session`) or streamed (a `StreamSession`); a session of either kind that can
also write is a `WritableSession`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from drivers.model import Point, PointGroup, Reading, Reason, Value
from drivers.settings import DeviceSettings


class DriverError(Exception):
    """Something between the gateway and a device went wrong.

    `reason` becomes the quality and the metric label; `message` says what was attempted, on what and what came back;
    `hint` says what a person at the machine can do about it. Raises ValueError for a text that is no `Reason`.
    """

    def __init__(self, message: str, *, reason: Reason, hint: str = "") -> None:
        super().__init__(message)
        self.reason = Reason(reason)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class DeviceUnavailable(DriverError):
    """The link is gone or cannot be made. The host leaves the session, backs off and connects again."""


class BadResponse(DriverError):
    """This reading failed: no answer (`Reason.TIMEOUT`), garbage, an exception. The session lives on."""


class NotAsked(BadResponse):
    """The device was not asked, because it cannot be right now; it soon can. No failure of its: the tick is missed."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request on the wire and the points that it fetches, for people to read."""

    device: str
    period_s: float
    request: str
    points: tuple[Point, ...]
    addresses: tuple[str, ...]


@runtime_checkable
class Session(Protocol):
    """An open link to polled devices."""

    async def read(self, group: PointGroup) -> Reading:
        """Read every point of `group` now.

        One point that cannot be read is bad inside the reading; it does not fail the others. Raises `BadResponse` when
        nothing could be read and the link may still be good, `DeviceUnavailable` when the link is gone; `NotAsked` only
        within a bounded time after a read or a write that failed.
        """
        ...


@runtime_checkable
class StreamSession(Protocol):
    """An open link to devices that speak unasked. Every device on it counts as up from the moment it is open."""

    def readings(self) -> AsyncIterator[Reading]:
        """Readings as they come, each of one of the driver's groups; ends only by `DeviceUnavailable`. Called once.

        A reading need not carry every point of its group: an index whose value is None and which is missing from
        `quality` has not changed. What came but could not be understood is a bad reading, not an exception. A driver
        that knows how long a device may be silent raises `DeviceUnavailable` when it was silent for longer.
        """
        ...


@runtime_checkable
class WritableSession(Protocol):
    """A session that can write. Never called while a `read` is going on; may be called while `readings` waits."""

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:
        """Write `value`, in the point's own unit, to a point of `group`; returns what the device holds afterwards.

        That is read back where the device can be asked, else it is what the device has confirmed. Raises as
        `Session.read` does, and ValueError, in words for the person who sent it, for a value that this point cannot
        take; then nothing was written.
        """
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

    def connect(self) -> AbstractAsyncContextManager[Session | StreamSession]:
        """Open the link and make it ready: logged in, subscribed, started. Leaving it closes what was opened.

        Raises `DeviceUnavailable` on entering when that fails within the timeout.
        """
        ...

    def plan(self) -> Sequence[PlannedRequest]:
        """What reading every group once, or subscribing to it, will put on the wire, in order. Does no I/O."""
        ...


class Family(Protocol):
    """A kind of device: how it is configured and how its driver is made. Does no I/O."""

    settings: type[DeviceSettings]
    """Validates one entry of `devices:` in the config file."""

    def link(self, device: DeviceSettings) -> str:
        """Devices for which this returns the same text share one link, and one driver."""
        ...

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:
        """The driver of one link with these devices, which all have the same `link`.

        `state_folder` is where a driver may keep what must outlive the process (keys, certificates), in a folder with
        the name of the family; it exists once the driver connects.

        Raises ValueError, in words for the person who wrote the config, when the devices cannot share the link.
        """
        ...


class ToolModule(Protocol):
    """A module with a command for people: `drivers.registry.TOOLS` names it."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what the command takes."""
        ...

    def run(self, options: Namespace) -> int:
        """Do it, print what a person wants to see, return the exit code: 0, or 69 when a device did not answer.

        Raises `DriverError` where that says it all; the command line prints it and returns 69. May run an event loop.
        """
        ...

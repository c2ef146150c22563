"""The links that are being read, as the config has them now, and the way to them for those who want to write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from drivers.contract import DeviceUnavailable
from drivers.model import Reason, Value
from drivers.settings import DeviceSettings
from gateway.acquire import Link
from gateway.buffer import Buffer
from gateway.config import Settings, changed_keys
from gateway.health import DeviceHealth, Health
from gateway.links import LinkSettings, links
from gateway.schedule import stagger
from gateway.tasks import Changes, TaskSet

log = logging.getLogger(__name__)


class Reach:
    """Devices by name, as they are now. `Acquisition` keeps it up to date; others write through it."""

    def __init__(self) -> None:
        self._devices: dict[str, DeviceSettings] = {}
        self._links: dict[str, Link] = {}

    def settings(self, device: str) -> DeviceSettings | None:
        """What the config says of a device; None when it names none so."""
        return self._devices.get(device)

    async def write(self, device: str, point: str, value: Value) -> Value:
        """As `gateway.acquire.Link.write`; `DeviceUnavailable` while nothing reads the device."""
        link = self._links.get(device)
        if link is None:
            raise DeviceUnavailable(
                f"cannot write {device} {point}: the device is not being read at the moment",
                reason=Reason.COMM_FAILURE,
                hint="the gateway is stopping, or its config was just reloaded; try again",
            )
        return await link.write(device, point, value)

    def replace(self, devices: Sequence[DeviceSettings]) -> None:
        """These are the devices from now on."""
        self._devices = {device.name: device for device in devices}

    @contextmanager
    def through(self, link: Link, devices: Sequence[DeviceSettings]) -> Iterator[None]:
        """These devices can be written through `link` for as long as the block lasts."""
        self._links.update((device.name, link) for device in devices)
        try:
            yield
        finally:
            for device in devices:
                if self._links.get(device.name) is link:
                    del self._links[device.name]


class Acquisition:
    """The links that are being read; which ones may change while they are."""

    def __init__(
        self, group: asyncio.TaskGroup, *, buffer: Buffer, health: Health, reach: Reach, state_folder: Path
    ) -> None:
        self._buffer = buffer
        self._state_folder = state_folder
        self._health = health
        self._reach = reach
        self._tasks = TaskSet(group, self._read, explain=_differences)
        self._staggers: dict[str, float] = {}

    async def update(self, devices: Sequence[DeviceSettings]) -> Changes:
        """Read these devices from now on. Links whose settings stay equal never notice."""
        wanted = {f"{link.driver} {link.link}": link for link in links(devices)}
        self._staggers = {device.name: stagger(index) for index, device in enumerate(devices)}
        self._reach.replace(devices)
        known = self._health.devices
        self._health.devices = {  # in the order of the config; in one step, because pages are rendered in a thread
            device.name: known[device.name]
            if device.name in known and known[device.name].driver == device.driver
            else DeviceHealth(device.name, device.driver)
            for device in devices
        }
        log.info("reading %d devices over %d links", len(devices), len(wanted))
        return await self._tasks.update(wanted)

    async def stop(self) -> None:
        """Read nothing more. What was learned of the devices stays visible."""
        await self._tasks.update({})

    async def _read(self, _name: str, settings: LinkSettings) -> None:
        for device in settings.devices:
            self._health.devices[device.name].last.clear()
        link = Link(
            settings.open_driver(state_folder=self._state_folder),
            settings.devices,
            sink=self._buffer,
            health=self._health.devices,
            staggers=self._staggers,
        )
        with self._reach.through(link, settings.devices):
            await link.run()


def _differences(before: LinkSettings, after: LinkSettings) -> str:
    """What differs on a link, by device, for the log."""
    known, wanted = ({device.name: device for device in link.devices} for link in (before, after))
    told = [f"{name} added" for name in wanted if name not in known]
    told += [f"{name} removed" for name in known if name not in wanted]
    for name, device in wanted.items():
        if name in known and (keys := changed_keys(known[name], device)):
            told.append(f"{name}: {', '.join(keys)}")
    return "; ".join(told) or "order of its devices"


@asynccontextmanager
async def acquiring(settings: Settings, *, buffer: Buffer, health: Health, reach: Reach) -> AsyncIterator[Acquisition]:
    """Read the devices of `settings` while the block lasts."""
    async with asyncio.TaskGroup() as group:
        acquisition = Acquisition(group, buffer=buffer, health=health, reach=reach, state_folder=settings.state_folder)
        await acquisition.update(settings.devices)
        try:
            yield acquisition
        finally:
            await acquisition.stop()

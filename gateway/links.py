"""Which devices share which link: the step between the `devices:` of a config and one driver per link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers import registry
from drivers.contract import Driver
from drivers.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One link and its devices, in the order of the config. Equal settings mean that nothing has to be restarted."""

    driver: str
    link: str
    devices: tuple[DeviceSettings, ...]

    def open_driver(self, *, state_folder: Path) -> Driver:
        """The driver of this link; does no I/O."""
        return registry.family(self.driver).driver(self.devices, state_folder=state_folder)


def links(devices: Sequence[DeviceSettings]) -> tuple[LinkSettings, ...]:
    """Every link that these devices need, in the order in which they first name it."""
    sharing: dict[tuple[str, str], list[DeviceSettings]] = {}
    for device in devices:
        sharing.setdefault((device.driver, registry.family(device.driver).link(device)), []).append(device)
    return tuple(LinkSettings(driver, link, tuple(members)) for (driver, link), members in sharing.items())

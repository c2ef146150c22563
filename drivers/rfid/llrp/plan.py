"""From the settings of the devices on a reader and what the reader can do to what its ROSpec says. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.rfid.llrp.capabilities import Capabilities, power_index
from drivers.rfid.llrp.requests import Air, Inventory, Transmitter
from drivers.rfid.settings import RfidDeviceSettings

ALL = 0
"""The number that means every antenna."""


def inventory(devices: Sequence[RfidDeviceSettings], capabilities: Capabilities) -> Inventory:
    """Devices have antennas of their own, or the only one has all.

    Raises ValueError, in words for the person who wrote the config, for what this reader cannot do.
    """
    antennas = tuple(antenna for device in devices for antenna in device.antennas)
    for antenna in antennas:
        if capabilities.antennas and antenna > capabilities.antennas:
            raise ValueError(f"there is no antenna {antenna}; the reader has {capabilities.antennas}")
    airs = ((device, _air(device, capabilities)) for device in devices)
    return Inventory(
        antennas=antennas or (ALL,),
        air={antenna: air for device, air in airs if air != Air() for antenna in device.antennas or (ALL,)},
        duration_ms=_milliseconds(devices[0].duration),
        period_ms=_milliseconds(devices[0].periodic),
    )


def _air(device: RfidDeviceSettings, capabilities: Capabilities) -> Air:
    if device.mode is not None and capabilities.modes and device.mode not in capabilities.modes:
        known = ", ".join(map(str, capabilities.modes))
        raise ValueError(f"there is no mode {device.mode}; the reader has {known}")
    most = capabilities.most_filters
    if most and len(device.filter) > most:
        raise ValueError(f"filter has {len(device.filter)} entries; the reader takes {most}")
    return Air(
        transmitter=_transmitter(device, capabilities),
        mode=device.mode,
        session=device.session,
        population=device.population if device.session is not None else 0,
        prefixes=device.filter,
    )


def _transmitter(device: RfidDeviceSettings, capabilities: Capabilities) -> Transmitter | None:
    """Regions hop, and name the table by which they do, or have fixed frequencies, which are numbered from 1."""
    if device.power is None:
        return None
    index = power_index(capabilities.powers, device.power)
    channel = device.channel or 1
    if capabilities.hop_tables:
        if device.channel is not None:
            raise ValueError(f"there is no channel {channel}; the reader hops from one frequency to the next")
        return Transmitter(index, hop_table=capabilities.hop_tables[0], channel=channel)
    if capabilities.fixed_channels and channel > capabilities.fixed_channels:
        raise ValueError(f"there is no channel {channel}; the reader has {capabilities.fixed_channels}")
    return Transmitter(index, hop_table=0, channel=channel)


def _milliseconds(seconds: float | None) -> int:
    return 0 if seconds is None else round(seconds * 1000)

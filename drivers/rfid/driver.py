"""The RFID family and its driver."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.contract import DeviceUnavailable, Driver, PlannedRequest, StreamSession
from drivers.model import PointGroup
from drivers.rfid.clock import ReaderClock
from drivers.rfid.endpoint import Endpoint, LlrpEndpoint, parse_url
from drivers.rfid.epc import load_library
from drivers.rfid.portal import Portal
from drivers.rfid.quiet import Quiet
from drivers.rfid.settings import RfidDeviceSettings
from drivers.settings import DeviceSettings
from drivers.transport import open_stream

_log = logging.getLogger(__name__)

_SHARED = ("protocol", "tls", "version", "duration", "periodic", "keepalive", "clock", "factory_reset", "pattern")
"""Settings of the reader, not of a portal."""


class RfidFamily:
    """`drivers.contract.Family` for `driver: rfid`."""

    settings: type[DeviceSettings] = RfidDeviceSettings

    def link(self, device: DeviceSettings) -> str:
        """The reader."""
        return parse_url(device.url).link

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:  # noqa: ARG002
        """Raises ValueError when devices on one reader want the same antenna, or disagree about the reader."""
        return RfidDriver([device for device in devices if isinstance(device, RfidDeviceSettings)])


class RfidDriver:
    """`drivers.contract.Driver`: one reader with all its portals."""

    def __init__(self, devices: Sequence[RfidDeviceSettings], *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` is wall-clock time in nanoseconds. Raises ValueError as `RfidFamily.driver`."""
        self._endpoint = _shared_endpoint(devices)
        self._devices = devices
        self._wall_ns = wall_ns
        self._portals = [Portal(device) for device in devices]
        self._quiet = Quiet()
        self._distrusts_clock = False

    @property
    def link(self) -> str:
        return self._endpoint.link

    @property
    def groups(self) -> Sequence[PointGroup]:
        return tuple(portal.group for portal in self._portals)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[StreamSession]:
        load_library()
        for portal in self._portals:
            portal.start_anew()
        if isinstance(self._endpoint, LlrpEndpoint):
            async with self._llrp(self._endpoint) as session:
                yield session
            return
        from drivers.rfid.lines import LineSession  # noqa: PLC0415

        (device,), (portal,) = self._devices, self._portals
        async with open_stream(self._endpoint, timeout_s=device.timeout) as stream:
            yield LineSession(
                stream, portal, pattern=device.pattern, link=self.link, wall_ns=self._wall_ns, quiet=self._quiet
            )

    def plan(self) -> Sequence[PlannedRequest]:
        return [_planned(device, portal.group) for device, portal in zip(self._devices, self._portals, strict=True)]

    @asynccontextmanager
    async def _llrp(self, endpoint: LlrpEndpoint) -> AsyncIterator[StreamSession]:
        # Checking a configuration needs neither sockets nor TLS.
        from drivers.rfid.llrp.connection import open_connection  # noqa: PLC0415
        from drivers.rfid.llrp.session import LlrpSession  # noqa: PLC0415
        from drivers.rfid.llrp.setup import Setup, greeting  # noqa: PLC0415

        shared = self._devices[0]
        timeout_s = max(device.timeout for device in self._devices)
        async with open_connection(endpoint, tls=shared.tls, timeout_s=timeout_s) as connection:
            greeted = await greeting(connection, link=self.link, timeout_s=timeout_s)
            clock = ReaderClock(shared.clock, utc_us=greeted.utc_us, now_ns=self._wall_ns())
            self._judge(clock)
            session = LlrpSession(
                connection,
                self._portals,
                link=self.link,
                clock=clock,
                wall_ns=self._wall_ns,
                keepalive_s=shared.keepalive,
                quiet=self._quiet,
                runs_always=shared.periodic is None,
            )
            setup = Setup(connection, self._devices, link=self.link)
            is_reachable = True
            try:
                capabilities = await setup.configure(session.before_start)
                if not setup.is_kept_alive:
                    session.wait_for_ever()
                await setup.start(capabilities, session.early)
                yield session
            except DeviceUnavailable:
                is_reachable = False
                raise
            finally:
                if is_reachable and session.failure is None:
                    await setup.take_leave()

    def _judge(self, clock: ReaderClock) -> None:
        """Say once when the reader's clock is not believed, and once when it is again."""
        distrusted = clock.is_distrusted
        if distrusted and not self._distrusts_clock:
            how = "it has none" if clock.offset_s is None else f"it is {clock.offset_s:+.1f} s off"
            _log.warning(
                "%s: the clock of the reader is not used, %s; times are those at which its reports come; give it a "
                "time server (NTP)",
                self.link,
                how,
            )
        elif self._distrusts_clock and not distrusted:
            _log.info("%s: the clock of the reader is right, and used", self.link)
        self._distrusts_clock = distrusted


def _shared_endpoint(devices: Sequence[RfidDeviceSettings]) -> Endpoint:
    first = devices[0]
    endpoint = parse_url(first.url)
    if len(devices) > 1 and not isinstance(endpoint, LlrpEndpoint):
        raise ValueError(f'"{first.name}" and "{devices[1].name}" cannot share {endpoint.link}')
    taken: dict[int, str] = {}
    for device in devices:
        if len(devices) > 1 and not device.antennas:
            other = next(each.name for each in devices if each is not device)
            raise ValueError(
                f'"{device.name}" and "{other}" share the reader {endpoint.link}; each needs antennas of its own'
            )
        for antenna in device.antennas:
            if antenna in taken:
                raise ValueError(
                    f'"{taken[antenna]}" and "{device.name}" both have antenna {antenna} of {endpoint.link}'
                )
            taken[antenna] = device.name
        for key in _SHARED:
            if getattr(device, key) != getattr(first, key):
                raise ValueError(
                    f'"{first.name}" and "{device.name}" share the reader {endpoint.link} but differ in {key}'
                )
        if parse_url(device.url) != endpoint:
            raise ValueError(f'"{first.name}" and "{device.name}" do not have the same url')
    return endpoint


def _planned(device: RfidDeviceSettings, group: PointGroup) -> PlannedRequest:
    if not isinstance(parse_url(device.url), LlrpEndpoint):
        how, addresses = f"lines that match {device.pattern}", ("epc", "epc", "antenna", "rssi", "seen_count", "", "")
    else:
        antennas = ", ".join(map(str, device.antennas)) or "all"
        when = f"{device.duration:g} s every {device.periodic:g} s" if device.periodic and device.duration else "always"
        how = f"ROSpec: antennas {antennas}, {when}"
        addresses = ("EPC", "EPC", "AntennaID", "PeakRSSI", "TagSeenCount", "FirstSeenTimestamp", "LastSeenTimestamp")
    return PlannedRequest(group.device, group.period_s, how, group.points, addresses)

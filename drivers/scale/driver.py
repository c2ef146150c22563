"""The scale family and its driver. Imports no pyserial until a serial port is opened."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.contract import Driver, PlannedRequest, Session, StreamSession
from drivers.model import PointGroup
from drivers.scale.instrument import Instrument
from drivers.scale.loads import Loads
from drivers.scale.mtsics_instrument import MtSics
from drivers.scale.reading import Readings
from drivers.scale.session import ListeningScale, PolledScale
from drivers.scale.settings import POINTS, Protocol, Read, ScaleSettings
from drivers.scale.sma_instrument import Sma
from drivers.scale.text_instrument import Text
from drivers.scale.toledo_instrument import Toledo
from drivers.settings import DeviceSettings
from drivers.transport import ByteStream, open_stream, parse_url

_TARE_PERIOD_S = 10.0
"""Tare changes rarely, and asking for it takes the line from the weight."""
_REQUESTS = {
    (Protocol.MT_SICS, Read.POLLED): "SI",
    (Protocol.MT_SICS, Read.STABLE): "S, then SI until the load moves",
    (Protocol.MT_SICS, Read.STREAMING): "SIR",
    (Protocol.SMA, Read.POLLED): "W",
    (Protocol.SMA, Read.STABLE): "R",
    (Protocol.SMA, Read.STREAMING): "R",
}
_TARE_REQUESTS = {Protocol.MT_SICS: "TA", Protocol.SMA: "M"}


class ScaleFamily:
    """`drivers.contract.Family` for `driver: scale`."""

    settings: type[DeviceSettings] = ScaleSettings

    def link(self, device: DeviceSettings) -> str:
        """The port, without line settings."""
        return parse_url(device.url).link

    def driver(self, devices: Sequence[DeviceSettings], *, state_folder: Path) -> Driver:  # noqa: ARG002
        """Raises ValueError for two scales on one link: none of the protocols has addresses."""
        if len(devices) > 1:
            raise ValueError(
                f'"{devices[0].name}" and "{devices[1].name}" are both on {self.link(devices[0])}; '
                "a link has one scale, as nothing tells whose weight comes"
            )
        (device,) = devices
        assert isinstance(device, ScaleSettings)
        return ScaleDriver(device)


class ScaleDriver:
    """`drivers.contract.Driver`: one scale on its link."""

    def __init__(self, device: ScaleSettings, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` is wall-clock time in nanoseconds."""
        self._device = device
        self._endpoint = parse_url(device.url)
        self._clock = clock
        self._was_tried = False
        self._loads = Loads()
        points = [(entry.name, device.point(entry)) for entry in device.points]
        is_events = device.way is Read.STABLE
        self._group = PointGroup(
            device.name,
            device.period if device.way is Read.POLLED else 0.0,
            tuple(point for name, point in points if name != "tare" or not device.asks_for_tare),
            events=is_events,
        )
        self._tare_group = PointGroup(
            device.name,
            device.tare.period or max(device.period, _TARE_PERIOD_S),
            tuple(point for name, point in points if name == "tare"),
        )

    @property
    def link(self) -> str:
        return self._endpoint.link

    @property
    def groups(self) -> Sequence[PointGroup]:
        return (self._group, self._tare_group) if self._device.asks_for_tare else (self._group,)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session | StreamSession]:
        device = self._device
        to_kilograms = device.convert_to is not None
        readings = Readings(self._group, to_kilograms=to_kilograms, clock=self._clock)
        if self._was_tried and device.way is Read.STREAMING:
            readings.all_known()
        try:
            async with open_stream(self._endpoint, timeout_s=device.timeout) as stream:
                instrument = self._instrument(stream)
                try:
                    if device.way is Read.POLLED:
                        yield PolledScale(instrument, readings, to_kilograms=to_kilograms, clock=self._clock)
                    else:
                        loads = self._loads if device.way is Read.STABLE else None
                        yield ListeningScale(instrument, readings, to_kilograms=to_kilograms, loads=loads)
                finally:
                    await instrument.leave()
        finally:
            self._was_tried = True

    def plan(self) -> Sequence[PlannedRequest]:
        return [
            PlannedRequest(
                group.device,
                group.period_s,
                self._tare_request if group is self._tare_group else self._request,
                group.points,
                tuple(POINTS.get(name, "command") for name in group.names),
            )
            for group in self.groups
        ]

    @property
    def _request(self) -> str:
        device = self._device
        if device.protocol is Protocol.PATTERN and device.way is Read.POLLED:
            return repr(device.format().request)[1:]
        return _REQUESTS.get((device.protocol, device.way), "nothing, it sends by itself")

    @property
    def _tare_request(self) -> str:
        return _TARE_REQUESTS[self._device.protocol]

    def _instrument(self, stream: ByteStream) -> Instrument:
        device, link = self._device, self.link
        silence_s, timeout_s = device.silence_s, device.timeout
        match device.protocol:
            case Protocol.MT_SICS:
                return MtSics(stream, link=link, timeout_s=timeout_s, silence_s=silence_s, look_every_s=device.period)
            case Protocol.SMA:
                return Sma(stream, link=link, timeout_s=timeout_s, silence_s=silence_s)
            case Protocol.TOLEDO_CONTINUOUS:
                return Toledo(stream, link=link, silence_s=silence_s, checksum=device.checksum)
            case Protocol.PATTERN:
                asked = device.way is Read.POLLED
                return Text(stream, device.format(), link=link, timeout_s=timeout_s, silence_s=silence_s, asked=asked)

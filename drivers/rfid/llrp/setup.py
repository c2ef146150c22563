"""The conversation with a reader before it reads tags, and after (section 6.2 and 10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.rfid import failure
from drivers.rfid.llrp import requests
from drivers.rfid.llrp.capabilities import Capabilities, parse_capabilities
from drivers.rfid.llrp.connection import Connection
from drivers.rfid.llrp.events import CONNECTED, ConnectionAttempt, Notification, parse_notification
from drivers.rfid.llrp.framing import Message, MessageType
from drivers.rfid.llrp.parameters import Malformed
from drivers.rfid.llrp.plan import inventory
from drivers.rfid.settings import RfidDeviceSettings

_log = logging.getLogger(__name__)

Beside = Callable[[Message], object]


async def greeting(connection: Connection, *, link: str, timeout_s: float) -> Notification:
    """Wait for the reader to say that the connection is ours; nothing may be sent before that.

    Raises `DeviceUnavailable` when it belongs to somebody else.
    """
    until_s = asyncio.get_running_loop().time() + timeout_s
    while (message := await connection.receive(until_s)) is not None:
        if message.type != MessageType.READER_EVENT_NOTIFICATION:
            continue
        try:
            notification = parse_notification(message.body)
        except Malformed as error:
            raise failure.garbled(link, "connecting", str(error)) from error
        for event in notification.events:
            if isinstance(event, ConnectionAttempt):
                if event.status != CONNECTED:
                    raise failure.taken(link, event.status)
                return notification
    raise failure.not_greeted(link, timeout_s)


class Setup:
    """The requests, in their order. Each raises `DeviceUnavailable` when it is refused or has no answer."""

    def __init__(self, connection: Connection, devices: Sequence[RfidDeviceSettings], *, link: str) -> None:
        self._connection = connection
        self._devices = devices
        self._link = link
        self._shared = devices[0]
        """The settings that devices on one reader have in common."""
        self._timeout_s = max(device.timeout for device in devices)
        self.is_kept_alive = True
        """Whether the reader has promised keepalives."""

    async def configure(self, beside: Beside) -> Capabilities:
        """Version, capabilities and configuration; afterwards no ROSpec of anybody is left."""
        if self._shared.version == "1.1":
            await self._negotiate(beside)
        body = await self._ask(requests.get_capabilities(), "asking what it can do", beside)
        try:
            capabilities = parse_capabilities(body)
        except Malformed as error:
            raise failure.garbled(self._link, "asking what it can do", str(error)) from error
        _log.info(
            "%s is model %d of manufacturer %d with %d antennas, firmware %s",
            self._link,
            capabilities.model,
            capabilities.manufacturer,
            capabilities.antennas,
            capabilities.firmware or "unknown",
        )
        await self._set_config(capabilities, beside)
        try:
            await self._ask(requests.delete_rospec(0), "deleting what it was doing", beside)
        except failure.Refused as error:
            _log.debug("%s", error)  # there may be nothing to delete; if there is, adding ours will tell
        return capabilities

    async def start(self, capabilities: Capabilities, beside: Beside) -> None:
        """Add the ROSpec and set it going. From here on tags are reported, to `beside` until this returns."""
        try:
            planned = inventory(self._devices, capabilities)
        except ValueError as error:
            raise failure.impossible(self._link, str(error)) from error
        await self._ask(requests.add_rospec(planned), "telling it how to read tags", beside)
        await self._ask(requests.enable_rospec(), "enabling it to read tags", beside)
        if not planned.period_ms:
            await self._ask(requests.start_rospec(), "starting it to read tags", beside)
        if capabilities.holds_reports:
            self._connection.tell(MessageType.ENABLE_EVENTS_AND_REPORTS)

    async def take_leave(self) -> None:
        """Stop and delete our ROSpec and close the connection, as far as the reader takes part in it in time."""
        ours = (requests.stop_rospec(), requests.delete_rospec(requests.ROSPEC), requests.close_connection())
        timeout_s = self._timeout_s / len(ours)
        for request in ours:
            try:
                await self._connection.ask(request, "taking leave", timeout_s=timeout_s, beside=_ignore)
            except DeviceUnavailable as error:
                _log.debug("%s", error)
                if error.reason is Reason.COMM_FAILURE:  # else it may have stopped already, or be slow
                    return

    async def _negotiate(self, beside: Beside) -> None:
        """LLRP 1.1 where the reader speaks it; a reader of 1.0.1 answers that it does not know the question."""
        self._connection.version = 2
        try:
            body = await self._ask(requests.get_supported_version(), "asking for LLRP 1.1", beside)
            current, highest = body[0], body[1]
            if highest >= 2 and current != 2:
                await self._ask(requests.set_protocol_version(2), "setting LLRP 1.1", beside)
            speaks_it = highest >= 2
        except failure.Refused:
            speaks_it = False
        if not speaks_it:
            self._connection.version = 1
            _log.info("%s speaks LLRP 1.0.1 only", self._link)

    async def _set_config(self, capabilities: Capabilities, beside: Beside) -> None:
        keepalive_ms = round(self._shared.keepalive * 1000)
        events = [
            (requests.Event.ROSPEC, True),
            *([(requests.Event.BUFFER_LEVEL, True)] if capabilities.warns_of_full_buffer else []),
            (requests.Event.READER_EXCEPTION, True),
            (requests.Event.AISPEC_END, False),
            (requests.Event.ANTENNA, True),
        ]
        reset = self._shared.factory_reset
        complete = requests.set_config(keepalive_ms=keepalive_ms, events=events, factory_reset=reset)
        if (error := await self._refusal(complete, beside)) is None:
            return
        _log.warning("%s does not tell what happens to it, such as an antenna that comes off: %s", self._link, error)
        least = requests.set_config(keepalive_ms=keepalive_ms, factory_reset=reset)
        if (error := await self._refusal(least, beside)) is not None:
            self.is_kept_alive = False
            _log.warning(
                "%s sends no keepalives, so that half a minute may pass before its loss is noticed: %s",
                self._link,
                error,
            )

    async def _refusal(self, request: requests.Request, beside: Beside) -> failure.Refused | None:
        """What the reader has against a configuration."""
        try:
            await self._ask(request, "setting keepalive and events", beside)
        except failure.Refused as error:
            return error
        return None

    async def _ask(self, request: requests.Request, what: str, beside: Beside) -> bytes:
        return await self._connection.ask(request, what, timeout_s=self._timeout_s, beside=beside)


def _ignore(_: Message) -> None:
    """Nobody is interested any more."""

"""A subscriber of its own: paho with its own thread and its own session, feeding a ledger."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.audit.ledger import Ledger
from gateway.config import DestinationSettings
from gateway.mqtt.stream import Address, no_passphrase

_ANSWER_S = 5.0
_SESSION_S = 3600
"""How long an MQTT 5 broker keeps the session of a subscriber that has gone without a word."""
_PACKETS_AT_ONCE = 16
_VERSIONS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)


@asynccontextmanager
async def listening(
    broker: DestinationSettings, topics: Sequence[str], *, ledger: Ledger, name: str = "hubaudit"
) -> AsyncIterator[None]:
    """Subscribe to `topics` at `broker` (its url, credentials and TLS), QoS 1, and keep the ledger until the block
    ends. MQTT 5, or 3.1.1 where the broker does not take that.

    Yields once the broker has granted the subscriptions. It keeps what the subscriber misses while the connection is
    interrupted, and is told to forget all about it at the end. What it has sent by then is in the ledger, which says
    `cut_off` if it cannot be asked any more. Raises OSError when the broker cannot be reached or
    refuses.
    """
    subscriber = await _subscribed(broker, topics, ledger, f"{name}{secrets.token_hex(6)}")
    try:
        yield
        await subscriber.confirm()
    finally:
        await subscriber.leave()


async def _subscribed(broker: DestinationSettings, topics: Sequence[str], ledger: Ledger, identity: str) -> _Subscriber:
    for version in _VERSIONS:
        subscriber = _Subscriber(broker, topics, ledger, identity=identity, version=version)
        try:
            await subscriber.enter()
        except _NotUnderstood as error:
            await subscriber.leave()
            if version is _VERSIONS[-1]:
                raise OSError(str(error)) from error
        except BaseException:
            await subscriber.leave()
            raise
        else:
            return subscriber
    raise AssertionError("the last version returns or raises")


class _NotUnderstood(Exception):
    """The broker closes or says nothing: it may not know this version of MQTT."""


class _Client(Client):
    """paho waits for the socket before each packet; when there is one, there are more as a rule."""

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        for _ in range(_PACKETS_AT_ONCE):
            code = super().loop_read(max_packets)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self.socket() is None:
                return code
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class _Subscriber:
    def __init__(
        self,
        broker: DestinationSettings,
        topics: Sequence[str],
        ledger: Ledger,
        *,
        identity: str,
        version: MQTTProtocolVersion,
    ) -> None:
        self._broker = broker
        self._topics = [(topic, 1) for topic in topics]
        self._ledger = ledger
        self._identity = identity
        self._version = version
        self._granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._confirmed: asyncio.Future[None] | None = None
        self._connected_before = False
        self._leaving = False
        self._client = self._made(keep=True)

    async def enter(self) -> None:
        """Returns once the broker has granted the subscriptions."""
        client = self._client
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        try:
            await asyncio.to_thread(partial(_connect, client, self._broker, self._version, keep=True))
        except (IndexError, UnicodeDecodeError) as error:
            raise OSError("the answer to the WebSocket upgrade has a header that cannot be read") from error
        client.loop_start()
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._granted
        except TimeoutError:
            raise _NotUnderstood(f"it has not answered within {_ANSWER_S:g} s") from None

    async def confirm(self) -> None:
        """Returns once the broker has answered, after all that it had sent before, or the connection is lost."""
        if self._ledger.cut_off:
            return
        self._confirmed = self._loop.create_future()
        self._client.unsubscribe([topic for topic, _ in self._topics])
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._confirmed
        except TimeoutError:
            self._ledger.cut_off = True

    async def leave(self) -> None:
        """Disconnect, and take the session over with a clean one, which ends with its connection."""
        self._leaving = True
        self._granted.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        if self._connected_before:
            await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        with suppress(OSError):
            client = self._made(keep=False)
            _connect(client, self._broker, self._version, keep=False)
            client.disconnect()

    def _made(self, *, keep: bool) -> Client:
        address = Address.parse(self._broker.url)
        client = _Client(
            CallbackAPIVersion.VERSION2,
            self._identity,
            clean_session=None if self._version is MQTTProtocolVersion.MQTTv5 else not keep,
            protocol=self._version,
            transport="websockets" if address.websocket else "tcp",
        )
        client.reconnect_delay_set(1, 2)
        if address.websocket:
            client.ws_set_options(path=address.path)
        if self._broker.username is not None:
            password = self._broker.password
            client.username_pw_set(self._broker.username, password.get_secret_value() if password else None)
        if address.encrypted:
            tls = self._broker.tls
            context = ssl.create_default_context(cafile=tls.ca if tls else None)
            if tls is not None and tls.certificate is not None:
                context.load_cert_chain(tls.certificate, tls.key, password=no_passphrase)
            client.tls_set_context(context)
        return client

    # what follows runs in paho's thread

    def _tell(self, error: Exception | None) -> None:
        def tell() -> None:
            if not self._granted.done():
                self._granted.set_result(None) if error is None else self._granted.set_exception(error)

        self._loop.call_soon_threadsafe(tell)

    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            said = f"it refuses the subscriber: {reason}"
            self._tell(_NotUnderstood(said) if "protocol" in str(reason).lower() else OSError(said))
            return
        if self._connected_before and not flags.session_present:
            self._ledger.forgotten += 1
        self._connected_before, self._ledger.cut_off = True, False
        client.subscribe(self._topics)

    def _on_subscribe(
        self, _client: Client, _data: object, _id: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        failed = [reason for reason in reasons if reason.is_failure]
        self._tell(OSError(f"it refuses the subscription: {failed[0]}") if failed else None)

    def _on_unsubscribe(self, *_: Any) -> None:
        self._answered()

    def _answered(self) -> None:
        def tell() -> None:
            if self._confirmed is not None and not self._confirmed.done():
                self._confirmed.set_result(None)

        self._loop.call_soon_threadsafe(tell)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._ledger.note(message.topic, message.payload, retained=message.retain)

    def _on_disconnect(self, *_: Any) -> None:
        if not self._connected_before:
            self._tell(_NotUnderstood("it closed the connection"))
        elif not self._leaving:
            self._ledger.interruptions += 1
            self._ledger.cut_off = True
            self._answered()


def _connect(client: Client, broker: DestinationSettings, version: MQTTProtocolVersion, *, keep: bool) -> None:
    address = Address.parse(broker.url)
    properties = None
    if version is MQTTProtocolVersion.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no type there
        properties.SessionExpiryInterval = _SESSION_S if keep else 0
    client.connect(
        address.host,
        address.port,
        clean_start=not keep if properties is not None else MQTT_CLEAN_START_FIRST_ONLY,
        properties=properties,
    )

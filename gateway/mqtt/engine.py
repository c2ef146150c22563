"""paho-mqtt's protocol engine, driven by the event loop. The only module that imports paho.

paho brings packets, properties and the WebSocket framing. Its thread, its reconnecting, its queue and its memory of
unacknowledged messages are not used: each connection has a new client, so nothing is ever sent again behind our back.
See docs/decisions/0005-paho-on-the-event-loop.md.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, WebsocketConnectionError
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.mqtt.reasons import DestinationUnavailable, connection_ended
from gateway.mqtt.stream import Address

ANY_RECEIVE_MAXIMUM = 65535
LONGEST_KEEPALIVE_S = 65535


class Version(Enum):
    """The versions of the protocol that can be spoken."""

    MQTT_5 = "MQTT 5"
    MQTT_3_1_1 = "MQTT 3.1.1"


@dataclass(frozen=True, slots=True)
class Hello:
    """What CONNECT says. `will` is (topic, payload); `keepalive_s` is the longest silence to put up with."""

    address: Address
    version: Version
    client_id: str
    username: str | None
    password: str | None
    will: tuple[str, bytes]
    will_retained: bool
    keepalive_s: float


@dataclass(frozen=True, slots=True)
class Connack:
    """The broker's answer to CONNECT: a reason code, what it `said`, and its limits (MQTT 5.0, 3.2.2.3)."""

    code: int
    said: str = ""
    receive_maximum: int = ANY_RECEIVE_MAXIMUM
    largest_packet_bytes: int | None = None
    maximum_qos: int = 2
    retains: bool = True


class Listener(Protocol):
    """Who is told what the broker sends, in the event loop's thread."""

    def on_connack(self, connack: Connack) -> None: ...

    def on_puback(self, message_id: int, code: int, said: str) -> None: ...

    def on_end(self, failure: DestinationUnavailable) -> None: ...


class Engine:
    """One paho client on one connected socket, which the engine owns from here on."""

    def __init__(self, hello: Hello, stream: socket.socket) -> None:
        self._hello = hello
        self._stream = stream
        self._client = _client(hello, stream)

    async def greet(self, *, timeout_s: float) -> None:
        """Send CONNECT, after the HTTP upgrade of a WebSocket. Raises `DestinationUnavailable`.

        The upgrade blocks, so this runs in a thread; a cancellation ends the thread before it goes on.
        """
        # paho pings after this time of silence and gives up after as long again.
        half_s = min(max(1, round(self._hello.keepalive_s * 0.75)), LONGEST_KEEPALIVE_S)
        address = self._hello.address
        self._stream.settimeout(timeout_s)
        greeting = asyncio.get_running_loop().run_in_executor(
            None, self._client.connect, address.host, address.port, half_s
        )
        try:
            await asyncio.shield(greeting)
        except asyncio.CancelledError:
            if not greeting.done():
                with suppress(OSError):  # it may be closed already
                    self._stream.shutdown(socket.SHUT_RDWR)  # wakes the thread
                await asyncio.wait([greeting])
            greeting.exception()
            raise
        except (OSError, WebsocketConnectionError) as error:
            raise DestinationUnavailable(
                f"{address}: the connection ended before MQTT began: {error or type(error).__name__}",
                hint="check the port and path of url",
            ) from error

    def attach(self, listener: Listener) -> None:
        """Read and write from now on whenever the socket allows it."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        client = self._client
        if client.socket() is None:  # lost already while CONNECT was sent
            listener.on_end(self._closed())
            return
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_plain_puback = self._on_plain_puback
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.on_socket_close = self._on_socket_close
        self._loop.add_reader(self._stream.fileno(), self._read)
        if client.want_write():
            self._loop.add_writer(self._stream.fileno(), client.loop_write)

    @property
    def tend_every_s(self) -> float:
        """How often `tend` wants to be called."""
        return min(1.0, self._client.keepalive / 4) or 1.0

    def tend(self) -> None:
        """Ping when the connection was silent; end it when the last ping had no answer."""
        self._client.loop_misc()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Hand over a message with QoS 1; its message id. Raises `DestinationUnavailable`."""
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise DestinationUnavailable(f"cannot send to {self._hello.address}: paho answers {sent.rc.name}")
        return sent.mid

    def disconnect(self) -> None:
        """Send DISCONNECT after what is being sent; `Listener.on_end` follows."""
        self._client.disconnect()
        self._client.loop_write()

    def close(self) -> None:
        """Close the socket at once and tell nobody. Idempotent."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_plain_puback = None
        client.on_socket_register_write = client.on_socket_unregister_write = client.on_socket_close = None
        self._forget_socket()
        self._stream.close()

    def _closed(self) -> DestinationUnavailable:
        return DestinationUnavailable(
            f"the connection to {self._hello.address} was closed by the broker or the network"
        )

    def _forget_socket(self) -> None:
        number = self._stream.fileno()
        if number >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(number)
            loop.remove_writer(number)

    def _read(self) -> None:
        self._client.loop_read()
        if self._stream.fileno() < 0:
            return
        # The kernel may hold back its TCP ACK for 40 ms, and a broker that leaves Nagle's algorithm on (mosquitto does)
        # sends its next PUBACK only then.
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        # What OpenSSL has decrypted already does not make the socket readable again.
        while isinstance(self._stream, ssl.SSLSocket) and self._stream.fileno() >= 0 and self._stream.pending():
            self._client.loop_read()

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        # Properties are attributes of paho's object only when the broker sent them.
        self._listener.on_connack(
            Connack(
                code=code.value,
                said=_said(properties),
                receive_maximum=getattr(properties, "ReceiveMaximum", ANY_RECEIVE_MAXIMUM),
                largest_packet_bytes=getattr(properties, "MaximumPacketSize", None),
                maximum_qos=getattr(properties, "MaximumQoS", 2),
                retains=bool(getattr(properties, "RetainAvailable", 1)),
            )
        )

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        address = self._hello.address
        if flags.is_disconnect_packet_from_server:
            failure = connection_ended(
                code.value, broker=str(address), said=_said(properties), client_id=self._hello.client_id
            )
        elif code == "Keep alive timeout":
            failure = DestinationUnavailable(
                f"{address} has stopped answering: no reply to a ping", hint="the broker hangs, or the network is cut"
            )
        elif code == "Protocol error":
            failure = DestinationUnavailable(
                f"{address} sent something that is not {self._hello.version.value}",
                hint="is this the broker's MQTT port?",
            )
        else:
            failure = self._closed()
        self._listener.on_end(failure)

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, properties: Properties) -> None:
        self._listener.on_puback(mid, code.value, _said(properties) if code.value else "")

    def _on_plain_puback(self, mid: int, code: int) -> None:
        self._listener.on_puback(mid, code, "")

    def _on_register_write(self, _client: Client, _data: Any, _stream: object) -> None:
        self._loop.add_writer(self._stream.fileno(), self._client.loop_write)

    def _on_unregister_write(self, _client: Client, _data: Any, _stream: object) -> None:
        self._loop.remove_writer(self._stream.fileno())

    def _on_socket_close(self, _client: Client, _data: Any, _stream: object) -> None:
        self._forget_socket()


class _GivenSocket(Client):
    """A paho client that does not open its socket itself and takes a plain PUBACK without ceremony.

    The private names of paho that the project touches are in this class; `docs/decisions/0005` says why.
    """

    def __init__(self, stream: socket.socket, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._given = stream
        self.on_plain_puback: Callable[[int, int], None] | None = None
        """Called with message id and reason code instead of `on_publish` when the PUBACK says nothing else."""

    def _create_socket_connection(self) -> socket.socket:
        return self._given

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """MQTT 5, 3.4.2: message id; then, if there is more, a reason code; then, if there is more, properties."""
        packet = self._in_packet["packet"]
        if self.on_plain_puback is None or not 2 <= len(packet) <= 4 or any(packet[3:]):
            return super()._handle_pubackcomp(cmd)
        message_id = packet[0] << 8 | packet[1]
        if self._out_messages.pop(message_id, None) is not None:
            self._inflight_messages -= 1
            self.on_plain_puback(message_id, packet[2] if len(packet) > 2 else 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _client(hello: Hello, stream: socket.socket) -> _GivenSocket:
    client = _GivenSocket(
        stream,
        client_id=hello.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if hello.version is Version.MQTT_5 else MQTTProtocolVersion.MQTTv311,
        transport="websockets" if hello.address.websocket else "tcp",
        reconnect_on_failure=False,
    )
    client.ws_set_options(path=hello.address.path)
    # No limits of paho's own: beyond one it queues without telling. `Connection.window` is the limit.
    client.max_inflight_messages_set(0)
    client.max_queued_messages_set(0)
    topic, payload = hello.will
    client.will_set(topic, payload, qos=1, retain=hello.will_retained)
    if hello.username is not None:
        client.username_pw_set(hello.username, hello.password)
    return client


def _said(properties: Properties | None) -> str:
    return str(getattr(properties, "ReasonString", ""))

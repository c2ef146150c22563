"""paho-mqtt's protocol engine, driven by the event loop. Only this module and `client` import paho.

paho brings packets, properties and the WebSocket framing. Its thread, its reconnecting, its queue and its memory of
unacknowledged messages are not used: each connection has a new client, so nothing is ever sent again behind our back.
See docs/decisions/0005-paho-on-the-event-loop.md.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.mqtt.client import GivenSocket
from gateway.mqtt.packets import ANY_RECEIVE_MAXIMUM, Connack, Hello, Listener, Received, Version
from gateway.mqtt.reasons import DestinationUnavailable, connection_ended

log = logging.getLogger(__name__)

LONGEST_KEEPALIVE_S = 65535
LARGEST_RECEIVED_BYTES = 2**14
"""The broker is told not to send larger packets (MQTT 5.0, 3.1.2.11.4): a command is short, and memory is not."""


class Engine:
    """One paho client on one connected socket, which the engine owns from here on."""

    def __init__(self, hello: Hello, stream: socket.socket) -> None:
        self._hello = hello
        self._stream = stream
        self._client = _client(hello, stream)

    def greet(self) -> None:
        """Send CONNECT."""
        # paho pings after this time of silence and gives up after as long again.
        half_s = min(max(1, round(self._hello.keepalive_s * 0.75)), LONGEST_KEEPALIVE_S)
        address = self._hello.address
        self._client.connect(address.host, address.port, half_s, properties=_limits(self._hello))

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
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
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

    def publish(self, topic: str, payload: bytes, *, retain: bool, correlation: bytes | None = None) -> int:
        """Hand over a message with QoS 1; its message id. Raises `DestinationUnavailable`."""
        properties = None
        if correlation is not None and self._hello.version is Version.MQTT_5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no type there
            properties.CorrelationData = correlation
        sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise DestinationUnavailable(f"cannot send to {self._hello.address}: paho answers {sent.rc.name}")
        return sent.mid

    def subscribe(self, topic_filter: str) -> None:
        """Ask for messages with QoS 1, without those that the broker has kept; `Listener.on_suback` follows.

        Brokers of MQTT 3.1.1 send those as well; they are marked.
        """
        if self._hello.version is Version.MQTT_5:
            options = SubscribeOptions(
                qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            self._client.subscribe(topic_filter, options=options)
        else:
            self._client.subscribe(topic_filter, qos=1)

    def disconnect(self) -> None:
        """Send DISCONNECT after what is being sent; `Listener.on_end` follows."""
        self._client.disconnect()
        self._client.loop_write()

    def close(self) -> None:
        """Close the socket at once and tell nobody. Idempotent."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_plain_puback = None
        client.on_subscribe = client.on_message = None
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
        try:
            self._take_packets()
        except Exception as error:
            # A fault, here or in paho. It would be met again at every byte that comes, with the same packet.
            log.exception("cannot handle what %s has sent", self._hello.address)
            self._forget_socket()
            self._listener.on_end(
                DestinationUnavailable(
                    f"{self._hello.address} sent something that could not be handled: {error!r}",
                    hint="this is a fault of hub-gateway: report it with the lines before this one",
                )
            )

    def _take_packets(self) -> None:
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

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        if len(codes) == 1:
            self._listener.on_suback(codes[0].value, _said(properties))
        else:
            self._listener.on_end(
                DestinationUnavailable(
                    f"{self._hello.address} answers one subscription with {len(codes)} reason codes",
                    hint="this is a fault of the broker",
                )
            )

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        properties = message.properties
        with suppress(UnicodeDecodeError):  # of the topic; it cannot be one of ours
            self._listener.on_message(
                Received(
                    message.topic,
                    bytes(message.payload),
                    retained=message.retain,
                    again=message.dup,
                    response_topic=getattr(properties, "ResponseTopic", None),
                    correlation=getattr(properties, "CorrelationData", None),
                )
            )

    def _on_register_write(self, _client: Client, _data: Any, _stream: object) -> None:
        self._loop.add_writer(self._stream.fileno(), self._client.loop_write)

    def _on_unregister_write(self, _client: Client, _data: Any, _stream: object) -> None:
        self._loop.remove_writer(self._stream.fileno())

    def _on_socket_close(self, _client: Client, _data: Any, _stream: object) -> None:
        self._forget_socket()


def _client(hello: Hello, stream: socket.socket) -> GivenSocket:
    client = GivenSocket(
        stream,
        address=hello.address,
        client_id=hello.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if hello.version is Version.MQTT_5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    # No limits of paho's own: beyond one it queues without telling. `Connection.window` is the limit.
    client.max_inflight_messages_set(0)
    client.max_queued_messages_set(0)
    topic, payload = hello.will
    client.will_set(topic, payload, qos=1, retain=hello.will_retained)
    if hello.username is not None:
        client.username_pw_set(hello.username, hello.password)
    return client


def _limits(hello: Hello) -> Properties | None:
    if hello.version is not Version.MQTT_5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no type there
    properties.MaximumPacketSize = LARGEST_RECEIVED_BYTES
    return properties


def _said(properties: Properties | None) -> str:
    return str(getattr(properties, "ReasonString", ""))

"""paho's client on a socket that was opened elsewhere. Every private name of paho that the project touches is here.

`docs/decisions/0005-paho-on-the-event-loop.md` says why each of them is.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Literal

from paho.mqtt.client import Client, _WebsocketWrapper
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.mqtt.stream import Address
from gateway.mqtt.websocket import frame


class GivenSocket(Client):
    """A paho client that does not open its socket itself and takes a plain PUBACK without ceremony."""

    def __init__(self, stream: socket.socket, *, address: Address, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._given = stream
        self._address = address
        self.on_plain_puback: Callable[[int, int], None] | None = None
        """Called with message id and reason code instead of `on_publish` when the PUBACK says nothing else."""

    def _create_socket(self) -> Any:
        return _WebSocket(self._given, self._address) if self._address.websocket else self._given

    def _sock_send(self, buf: bytes | bytearray) -> int:
        """A WebSocket frame that went out in part counts as 0 bytes. paho would take the packet for sent at that, and
        end the frame with the bytes of the next one."""
        sent = super()._sock_send(buf)
        if buf and not sent:
            self._call_socket_register_write()
            raise BlockingIOError
        return sent

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


class _WebSocket(_WebsocketWrapper):
    """paho's WebSocket on a socket that is one already, with answers to a ping and to a close as RFC 6455 wants them.

    They are masked like all that a client sends (5.1), and come after a frame that is on its way, not within it (5.2).
    """

    def __init__(self, stream: socket.socket, address: Address) -> None:
        super().__init__(
            socket=stream,
            host=address.host,
            port=address.port,
            is_ssl=isinstance(stream, ssl.SSLSocket),
            path=address.path,
            extra_headers=None,
        )

    def _do_handshake(self, _extra_headers: object) -> None:
        self.connected = True

    def _create_frame(self, opcode: int, data: bytearray, do_masking: int = 1) -> bytearray:  # noqa: ARG002
        made = frame(opcode, data, mask=os.urandom(4))
        if self._sendbuffer:
            self._sendbuffer += made  # an answer, because data waits until this buffer is empty
            raise BlockingIOError  # nothing to send at once, and nothing to hand on
        return bytearray(made)

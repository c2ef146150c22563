"""A broker for machines that have none: amqtt (MQTT 3.1.1) on a loopback port, in this process."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from amqtt.broker import Broker
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader


@asynccontextmanager
async def broker(host: str, port: int) -> AsyncIterator[str]:
    """Serve anonymous clients on `host:port` (port 0 for a free one) until the block ends; yields the URL."""
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    ConnectPacket.PAYLOAD = _ConnectPayload
    bound = f"{host}:{port or _free_port(host)}"
    running = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": bound}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await running.start()
    try:
        yield f"mqtt://{bound}"
    finally:
        await running.shutdown()


class _ConnectPayload(ConnectPayload):  # type: ignore[misc]  # no types
    """amqtt reads the CONNECT of MQTT 5 as if it were one of 3.1.1, and waits for ever for what never comes.

    Left unread, it is answered "unacceptable protocol version" (MQTT 3.1.1, 3.2.2.3), which sends a client to 3.1.1.
    """

    @classmethod
    async def from_stream(
        cls, reader: Any, header: Any, variable_header: ConnectVariableHeader | None
    ) -> ConnectPayload:
        if variable_header is None or variable_header.proto_level == 4:
            return await super().from_stream(reader, header, variable_header)
        return cls(client_id="-", will_topic="-", will_message=b"-")


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

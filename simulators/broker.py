"""A broker for machines that have none: amqtt (MQTT 3.1.1) on a loopback port, in this process."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker


@asynccontextmanager
async def broker(host: str, port: int) -> AsyncIterator[str]:
    """Serve anonymous clients on `host:port` (port 0 for a free one) until the block ends; yields the URL."""
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
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


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

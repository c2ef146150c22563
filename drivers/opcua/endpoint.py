"""Where an OPC UA server is: `opc.tcp://host:port/path`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from drivers.url import host_and_port

DEFAULT_PORT = 4840
"""OPC UA Part 6, 7.2: registered for opc.tcp."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"opc.tcp://{host_and_port(self.host, self.port)}{self.path}"


def parse_endpoint(url: str) -> Endpoint:
    """Raises ValueError in words for the person who wrote it."""
    parts = urlsplit(url)
    if parts.scheme != "opc.tcp":
        raise ValueError(f'"{url}" is not the url of an OPC UA server; write for example opc.tcp://10.0.0.9:4840')
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password belong below security:, not into the url, which is logged")
    if parts.query or parts.fragment:
        raise ValueError(f'"{parts.hostname}" takes nothing after ? or #')
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f'"{url}" has no valid port; they are 1 to 65535') from None
    if not parts.hostname or port == 0:
        raise ValueError(f'"{url}" names no {"port" if parts.hostname else "host"}')
    return Endpoint(parts.hostname, port or DEFAULT_PORT, parts.path.rstrip("/"))

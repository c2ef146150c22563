"""The `url` of an RFID device, taken apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from drivers import transport, url

_PORTS = {"llrp": 5084, "llrps": 5085}
"""IANA; section 20 of LLRP 1.1."""
_SUPPORTED = (
    "supported are llrp://host:5084, llrps://host:5085 (TLS) and, with protocol: pattern, serial:///dev/ttyUSB0, "
    "tcp://host:port and rfc2217://host:port"
)


@dataclass(frozen=True, slots=True)
class LlrpEndpoint:
    """A reader that speaks LLRP and listens."""

    host: str
    port: int
    uses_tls: bool

    @property
    def link(self) -> str:
        """The link as a person would name it."""
        return f"{'llrps' if self.uses_tls else 'llrp'}://{url.host_and_port(self.host, self.port)}"


Endpoint = LlrpEndpoint | transport.Endpoint


def parse_url(text: str) -> Endpoint:
    """Raises ValueError with words for an operator."""
    parts = url.split(text, _SUPPORTED)
    host, port = parts.hostname, parts.port
    if parts.scheme in ("serial", "tcp", "rfc2217"):
        return transport.parse_url(text)
    if parts.scheme not in _PORTS or "://" not in text:
        raise url.unsupported(parts, text, "for rfid", _SUPPORTED)
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f'"{text}" must be {parts.scheme}://host:port and nothing else')
    if port == 0:
        raise ValueError(f'"{text}": port 0 cannot be connected to; the default is {_PORTS[parts.scheme]}')
    return LlrpEndpoint(host, port or _PORTS[parts.scheme], uses_tls=parts.scheme == "llrps")

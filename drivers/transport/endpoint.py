"""The `url` of a byte stream, taken apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult

from drivers import url

_SETTINGS = ("baudrate", "bytesize", "parity", "stopbits")
_SUPPORTED = (
    "supported are serial:///dev/ttyUSB0?baudrate=9600&bytesize=8&parity=N&stopbits=1, tcp://host:port and "
    "rfc2217://host:port?baudrate=9600"
)


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How characters are sent on a serial line."""

    baudrate: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1

    def __str__(self) -> str:
        """As a person would write it, `9600 8N1`."""
        return f"{self.baudrate} {self.bytesize}{self.parity}{self.stopbits}"


@dataclass(frozen=True, slots=True)
class SerialEndpoint:
    """A serial port of this machine."""

    path: str
    line: SerialLine = SerialLine()

    @property
    def link(self) -> str:
        """The link as a person would name it. One port has one name, whatever its settings."""
        return f"serial://{self.path}"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A device with a TCP port, or a converter that passes bytes on as they are."""

    host: str
    port: int

    @property
    def link(self) -> str:
        """The link as a person would name it."""
        return f"tcp://{url.host_and_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class Rfc2217Endpoint:
    """A serial port behind a server that takes its settings over the network (RFC 2217)."""

    host: str
    port: int
    line: SerialLine = SerialLine()

    @property
    def link(self) -> str:
        """The link as a person would name it."""
        return f"rfc2217://{url.host_and_port(self.host, self.port)}"


Endpoint = SerialEndpoint | TcpEndpoint | Rfc2217Endpoint


def parse_url(text: str) -> Endpoint:
    """Raises ValueError with words for an operator."""
    parts = url.split(text, _SUPPORTED)
    if parts.scheme == "serial":
        return SerialEndpoint(url.device_file(parts, text), _line(parts, text))
    if parts.scheme in ("tcp", "rfc2217"):
        return _network_endpoint(parts, text)
    raise url.unsupported(parts, text, "here", _SUPPORTED)


def _network_endpoint(parts: SplitResult, text: str) -> Endpoint:
    host, port = parts.hostname, parts.port
    if not host or parts.path not in ("", "/") or parts.fragment or parts.username is not None:
        raise ValueError(f'"{text}" must be {parts.scheme}://host:port')
    if not port:
        raise ValueError(f'"{text}" needs the port, for example {parts.scheme}://{url.host_and_port(host, 4001)}')
    if parts.scheme == "rfc2217":
        return Rfc2217Endpoint(host, port, _line(parts, text))
    if parts.query:
        raise ValueError(
            f'"{text}": tcp:// has no settings; the line behind a converter is set up there, or by rfc2217://'
        )
    return TcpEndpoint(host, port)


def _line(parts: SplitResult, text: str) -> SerialLine:
    given = url.line_settings(parts, text, _SETTINGS)
    baudrate = given.get("baudrate", "9600")
    if not (baudrate.isascii() and baudrate.isdecimal() and 50 <= int(baudrate) <= 4_000_000):
        raise ValueError(f'"{text}": baudrate is a number from 50 to 4000000, not "{baudrate}"')
    parity = given.get("parity", "N").upper()
    if parity not in ("N", "E", "O", "M", "S"):
        raise ValueError(
            f'"{text}": parity is N (none), E (even), O (odd), M (mark) or S (space), not "{given["parity"]}"'
        )
    if (bytesize := given.get("bytesize", "8")) not in ("7", "8"):
        raise ValueError(f'"{text}": bytesize is 7 or 8, not "{bytesize}"')
    if (stopbits := given.get("stopbits", "1")) not in ("1", "2"):
        raise ValueError(f'"{text}": stopbits is 1 or 2, not "{stopbits}"')
    return SerialLine(int(baudrate), int(bytesize), parity, int(stopbits))

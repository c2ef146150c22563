"""The `url` of a Modbus device, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import SplitResult

from drivers import url

_LINE_SETTINGS = ("baudrate", "parity", "stopbits", "bytesize")


class Framing(Enum):
    """How a request is packed on its way."""

    TCP = "Modbus TCP"
    RTU = "Modbus RTU"
    ASCII = "Modbus ASCII"

    @property
    def has_transactions(self) -> bool:
        """Whether a frame carries a number that tells which request it answers."""
        return self is Framing.TCP


_SOCKETS = {
    "tcp": (Framing.TCP, 502),
    "tls": (Framing.TCP, 802),
    "rtu+tcp": (Framing.RTU, 502),
    "ascii+tcp": (Framing.ASCII, 502),
}
"""Scheme → framing and default port; 502 and 802 are those of the standards, a terminal server has its own."""
_LINES = {"rtu": Framing.RTU, "ascii": Framing.ASCII}
_SUPPORTED = (
    f"supported are {', '.join(f'{scheme}://host:port' for scheme in _SOCKETS)} and, for a serial line, "
    "rtu:///dev/ttyUSB0?baudrate=19200&parity=E&stopbits=1&bytesize=8 and ascii:///dev/ttyUSB0?bytesize=7"
)


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A TCP connection: Modbus TCP, plain or in TLS, or the frames of a serial line."""

    host: str
    port: int = 502
    scheme: str = "tcp"

    @property
    def framing(self) -> Framing:
        return _SOCKETS[self.scheme][0]

    @property
    def encrypted(self) -> bool:
        return self.scheme == "tls"

    @property
    def link(self) -> str:
        """The link as a person would name it."""
        return f"{self.scheme}://{url.host_and_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class SerialEndpoint:
    """Modbus RTU or ASCII on a line. The defaults are those of "Modbus over Serial Line" V1.02, 2.5.1 and 2.5.2."""

    path: str
    baudrate: int = 19200
    parity: str = "E"
    stopbits: int = 1
    bytesize: int = 8
    framing: Framing = Framing.RTU

    @property
    def link(self) -> str:
        """The link as a person would name it. One line has one name, whatever its settings."""
        return f"{self.framing.name.lower()}://{self.path}"

    @property
    def line(self) -> str:
        """The settings of the line as a person would write them, `19200 8E1`."""
        return f"{self.baudrate} {self.frame}"

    @property
    def frame(self) -> str:
        """Data bits, parity and stop bits of a character, `8E1`."""
        return f"{self.bytesize}{self.parity}{self.stopbits}"

    @property
    def frame_gap_s(self) -> float:
        """The silence that ends a frame: 3.5 characters of 11 bits, 1.75 ms above 19200 baud (V1.02, 2.5.1.1).

        An ASCII frame ends with its line feed and needs none (2.5.2.1).
        """
        if self.framing is Framing.ASCII:
            return 0.0
        return 0.00175 if self.baudrate > 19200 else 3.5 * 11 / self.baudrate


Endpoint = TcpEndpoint | SerialEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """Raises ValueError with words for an operator."""
    parts = url.split(text, _SUPPORTED)
    host, port = parts.hostname, parts.port
    if parts.scheme in _SOCKETS:
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f'"{text}" must be {parts.scheme}://host:port and nothing else')
        default = _SOCKETS[parts.scheme][1]
        return TcpEndpoint(host, default if port is None else _tcp_port(port, text, default), parts.scheme)
    if parts.scheme in _LINES:
        return _serial_endpoint(parts, text, _LINES[parts.scheme])
    raise url.unsupported(parts, text, "for modbus", _SUPPORTED)


def _tcp_port(port: int, text: str, default: int) -> int:
    if port == 0:
        raise ValueError(f'"{text}": port 0 cannot be connected to; the default is {default}')
    return port


def _serial_endpoint(parts: SplitResult, text: str, framing: Framing) -> SerialEndpoint:
    path = url.device_file(parts, text)
    settings = url.line_settings(parts, text, _LINE_SETTINGS)
    parity = settings.get("parity", "E").upper()
    if parity not in ("E", "O", "N"):
        raise ValueError(f'"{text}": parity is E (even), O (odd) or N (none), not "{settings["parity"]}"')
    if settings.get("stopbits", "1") not in ("1", "2"):
        raise ValueError(f'"{text}": stopbits is 1 or 2, not "{settings["stopbits"]}"')
    baudrate = settings.get("baudrate", "19200")
    if not (baudrate.isascii() and baudrate.isdecimal() and 300 <= int(baudrate) <= 4_000_000):
        raise ValueError(f'"{text}": baudrate is a number from 300 to 4000000, not "{baudrate}"')
    return SerialEndpoint(
        path,
        baudrate=int(baudrate),
        parity=parity,
        stopbits=int(settings.get("stopbits", "1")),
        bytesize=_bytesize(settings.get("bytesize"), text, framing),
        framing=framing,
    )


def _bytesize(bits: str | None, text: str, framing: Framing) -> int:
    if framing is Framing.ASCII:
        if bits not in (None, "7", "8"):
            raise ValueError(f'"{text}": bytesize is 7 or 8 for Modbus ASCII, not "{bits}"')
        return int(bits or "7")
    if bits not in (None, "8"):
        raise ValueError(f'"{text}": bytesize is 8 for Modbus RTU; 7 bits exist for Modbus ASCII only (ascii://)')
    return 8

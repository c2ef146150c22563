"""The `url` of a device, as far as all families write it alike. Pure; every ValueError has words for an operator."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from urllib.parse import SplitResult, parse_qsl, urlsplit


def split(text: str, supported: str) -> SplitResult:
    """The parts of a url, whose host and port can be asked for. `supported` says which urls there are."""
    try:
        parts = urlsplit(text)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f'"{text}" is not a url: {error}; {supported}') from None
    return parts


def unsupported(parts: SplitResult, text: str, where: str, supported: str) -> ValueError:
    """The error to raise for a scheme that is not known `where` it stands."""
    what = f'"{parts.scheme}://"' if parts.scheme and "://" in text else f'"{text}"'
    return ValueError(f"{what} is not supported {where}; {supported}")


def device_file(parts: SplitResult, text: str) -> str:
    """The path of a serial port. One port has one path."""
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/" or parts.fragment:
        raise ValueError(
            f'"{text}" must name a device file with three slashes, for example {parts.scheme}:///dev/ttyUSB0'
        )
    return posixpath.normpath(parts.path)


def line_settings(parts: SplitResult, text: str, known: Collection[str]) -> dict[str, str]:
    """The settings of a serial line after the `?`, as they are written."""
    given: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in known:
            raise ValueError(f'"{text}": "{key}" is not a setting of a serial line; known are {", ".join(known)}')
        if key in given:
            raise ValueError(f'"{text}" sets {key} twice')
        given[key] = value
    return given


def host_and_port(host: str, port: int) -> str:
    """As a url has them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

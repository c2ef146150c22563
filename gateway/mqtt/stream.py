"""From a URL to a connected socket: DNS, TCP and TLS, without a thread that could be left behind. See also `websocket`.

Every step is awaited on the event loop and can be cancelled at once; a cancelled or failed step has closed its socket.
(A name lookup runs in a thread of the default executor, because the system offers nothing else; it holds no socket.)
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.config import TlsSettings
from gateway.mqtt.reasons import DestinationUnavailable

_ONE_ADDRESS_S = 5.0  # a host may have several, and the first may lead nowhere
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}

# OpenSSL, x509_vfy.h
_EXPIRED = frozenset({9, 10})
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens and how it is spoken to. `str()` is the URL."""

    url: str
    host: str
    port: int
    path: str
    encrypted: bool
    websocket: bool

    def __str__(self) -> str:
        return self.url

    @staticmethod
    def parse(url: str) -> Address:
        """`url` has passed validation: a known scheme and a host."""
        parts = urlsplit(url)
        return Address(
            url=url,
            host=parts.hostname or "",
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            path=parts.path if parts.path not in {"", "/"} else "/mqtt",
            encrypted=parts.scheme in {"mqtts", "wss"},
            websocket=parts.scheme in {"ws", "wss"},
        )


async def open_stream(address: Address, tls: TlsSettings | None) -> socket.socket:
    """A connected, non-blocking socket; an `ssl.SSLSocket` when the address is encrypted.

    Raises `DestinationUnavailable`.
    """
    context = await _context(address, tls) if address.encrypted else None
    plain = await _open_tcp(address)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return plain
    try:
        encrypted = context.wrap_socket(plain, server_hostname=address.host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    try:
        await _handshake(encrypted)
    except OSError as error:
        encrypted.close()
        raise _tls_failed(error, address=address, tls=tls) from error
    except BaseException:
        encrypted.close()
        raise
    return encrypted


def no_passphrase() -> str:
    """Called by OpenSSL for a key with a passphrase; without it, it would ask the terminal and wait there."""
    raise OSError("the key has a passphrase, which nobody is there to type")


async def _open_tcp(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: not even possible as a name
        raise DestinationUnavailable(
            f'{address}: the host name "{address.host}" does not resolve ({getattr(error, "strerror", error)})',
            hint="check url and the DNS server of this machine",
        ) from error
    failure: OSError | None = None
    for family, kind, protocol, _, target in found:
        stream = socket.socket(family, kind, protocol)
        stream.setblocking(False)
        try:
            async with asyncio.timeout(_ONE_ADDRESS_S):
                await loop.sock_connect(stream, target)
        except OSError as error:  # TimeoutError is one too
            stream.close()
            failure = error
        except BaseException:
            stream.close()
            raise
        else:
            return stream
    raise _tcp_failed(failure, address=address) from failure


def _tcp_failed(error: OSError | None, *, address: Address) -> DestinationUnavailable:
    number = error.errno if error is not None and error.errno is not None else errno.ETIMEDOUT
    hints = {
        errno.ECONNREFUSED: "no broker listens there; is it running, is the port right?",
        errno.EHOSTUNREACH: "check cable, address and routing",
        errno.ENETUNREACH: "check cable, address and routing",
        errno.ETIMEDOUT: "check cable, address and firewall",
    }
    return DestinationUnavailable(f"cannot connect to {address}: {os.strerror(number)}", hint=hints.get(number, ""))


async def _context(address: Address, tls: TlsSettings | None) -> ssl.SSLContext:
    files = tls or TlsSettings()

    def build() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=files.ca)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key, password=no_passphrase)
        return context

    try:
        return await asyncio.to_thread(build)  # reads files
    except OSError as error:
        names = ", ".join(str(name) for name in (files.ca, files.certificate, files.key) if name is not None)
        raise DestinationUnavailable(
            f"{address}: cannot use the TLS files {names or 'of the system'}: {error}",
            hint="each must be readable PEM, and the key must belong to the certificate and have no passphrase",
            needs_person=True,
        ) from error


async def _handshake(encrypted: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            encrypted.do_handshake()
        except ssl.SSLWantReadError:
            await ready(encrypted, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await ready(encrypted, loop.add_writer, loop.remove_writer)
        else:
            return


async def ready(
    stream: socket.socket, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]
) -> None:
    """Wait until the socket can be read or written, whichever `add` and `remove` of the event loop are about."""
    ready = asyncio.Event()
    add(stream.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(stream.fileno())


def _tls_failed(error: OSError, *, address: Address, tls: TlsSettings | None) -> DestinationUnavailable:
    trusted = (
        f"tls.ca ({tls.ca})"
        if tls is not None and tls.ca is not None
        else "the authorities of this system (set tls.ca)"
    )
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ""
        if error.verify_code in _UNKNOWN_AUTHORITY:
            hint = f"the broker's certificate was not issued by {trusted}"
        elif error.verify_code in _WRONG_NAME:
            hint = f'the broker\'s certificate is not for "{address.host}"; use a name that it carries in url'
        elif error.verify_code in _EXPIRED:
            hint = "renew the broker's certificate, or set this machine's clock"
        message = f"{address}: the broker's certificate is not trusted: {error.verify_message}"
        return DestinationUnavailable(message, hint=hint, needs_person=True)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        hints = {
            "wrong version number": "this port does not speak TLS; use mqtt:// or the port for TLS",
            "tlsv13 alert certificate required": "the broker wants a client certificate; set tls.certificate",
            "sslv3 alert handshake failure": "broker and gateway have no TLS version or cipher in common",
        }
        hint = hints.get(reason, "is this the broker's TLS port?")
        return DestinationUnavailable(f"{address}: the TLS handshake failed: {reason}", hint=hint)
    return DestinationUnavailable(
        f"{address}: the connection ended in the TLS handshake: {error.strerror or error}",
        hint="is this the broker's TLS port?",
    )

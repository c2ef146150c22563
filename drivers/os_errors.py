"""Errors of the operating system and of TLS, in words: what happened, and what a person at the machine can do.

What was attempted, and on what, is said by whoever attempted it.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import termios
from collections.abc import Mapping
from typing import NamedTuple

_PLUGGED_IN = "check that the adapter is plugged in; names under /dev/serial/by-id/ survive replugging"
_GROUP = "add the user that runs the gateway to the group that owns the port (usually dialout)"
_BUSY = "another program has the port open; stop it"
_PORT_HINTS = {
    errno.ENOENT: _PLUGGED_IN,
    errno.ENODEV: _PLUGGED_IN,
    errno.ENXIO: _PLUGGED_IN,
    errno.EACCES: _GROUP,
    errno.EPERM: _GROUP,
    errno.EAGAIN: _BUSY,
    errno.EBUSY: _BUSY,
    errno.ENOTTY: "it is not a serial port",
    errno.EINVAL: "the port cannot do these line settings",
    errno.EIO: "the port exists but does not work; check the adapter",
}
_NETWORK_HINTS = {
    errno.EHOSTUNREACH: "check cable, power and address",
    errno.ENETUNREACH: "check the gateway's own network settings",
}
_ISSUER = "tls.ca must hold the certificate of whoever issued the device's own"
_CERTIFICATE_HINTS = {
    9: "set the clock of this machine; the certificate is not valid yet",
    10: "renew the device's certificate, or set the clock of this machine",
    18: "the device has signed its certificate itself; tls.ca must hold that one",
    19: _ISSUER,
    20: _ISSUER,
    62: "the certificate is for another name; write that into the url, or as tls.server_name",
    64: "the certificate is for another address; write a name that it carries as tls.server_name",
}
"""By the codes of OpenSSL's X509_STORE_CTX_get_error(3)."""


Failed = OSError | ValueError | termios.error
"""What opening a port or a connection raises: `ValueError` for names and settings that cannot be."""


class Words(NamedTuple):
    """What happened, and what to do, which is empty where nobody knows."""

    text: str
    hint: str


def of_port(error: Failed) -> Words:
    """A serial port could not be opened."""
    return Words(text(error), _PORT_HINTS.get(_number(error) or 0, ""))


def of_network(error: Failed, host: str, hints: Mapping[int, str]) -> Words:
    """A TCP connection could not be made. `hints`, by error numbers, are those of the caller's devices."""
    if isinstance(error, socket.gaierror):
        return Words(
            f"the host name {host} does not resolve ({error.strerror})",
            "check the spelling and the name server, or write the IP address",
        )
    if isinstance(error, UnicodeError):
        return Words(f"{host} cannot be the name of a host", "check the spelling, its dots above all")
    number = _number(error) or 0
    return Words(text(error), hints.get(number) or _NETWORK_HINTS.get(number, ""))


def certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    """What to do about a certificate that was not accepted."""
    return _CERTIFICATE_HINTS.get(error.verify_code, "check tls.ca, and tls.server_name")


def text(error: Failed) -> str:
    """The words of the system or of OpenSSL, without the wrapping that libraries add."""
    if isinstance(error, ssl.SSLError):  # whose number is one of OpenSSL's, not of the system's
        return (error.reason or str(error)).replace("_", " ").lower()
    number = _number(error)
    return str(error) if number is None or number not in errno.errorcode else os.strerror(number)


def _number(error: BaseException) -> int | None:
    """The system's number for the error; pyserial keeps that of a `termios.error` only as what it was raised from."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    cause = error if isinstance(error, termios.error) else error.__context__
    return cause.args[0] if isinstance(cause, termios.error) else None

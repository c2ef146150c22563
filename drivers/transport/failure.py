"""What can go wrong with a byte stream, in words: what was attempted, what came back, what a person can do."""

from __future__ import annotations

import errno
import os
import socket
import termios

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.transport.endpoint import Endpoint, Rfc2217Endpoint, SerialEndpoint

_BUSY = "another program has the port open; stop it"
_GROUP = "add the user that runs the gateway to the group that owns the port (usually dialout)"
_HINTS = {
    errno.ECONNREFUSED: "check that its network interface is enabled, and the port",
    errno.EHOSTUNREACH: "check cable, power and address",
    errno.ENETUNREACH: "check the gateway's own network settings",
    errno.ENOENT: "check that the adapter is plugged in; names under /dev/serial/by-id/ survive replugging",
    errno.ENODEV: "check that the adapter is plugged in; names under /dev/serial/by-id/ survive replugging",
    errno.ENXIO: "check that the adapter is plugged in; names under /dev/serial/by-id/ survive replugging",
    errno.EACCES: _GROUP,
    errno.EPERM: _GROUP,
    errno.EAGAIN: _BUSY,
    errno.EBUSY: _BUSY,
    errno.ENOTTY: "it is not a serial port",
    errno.EINVAL: "the port cannot do these line settings",
    errno.EIO: "the port exists but does not work; check the adapter",
}


def cannot_open(endpoint: Endpoint, error: OSError | ValueError | termios.error) -> DeviceUnavailable:
    """The stream could not be opened."""
    number = _error_number(error)
    text = _os_text(number) or str(error)
    hint = _HINTS.get(number or 0, "")
    if isinstance(endpoint, SerialEndpoint):
        what = f"cannot open {endpoint.path} ({endpoint.line})"
    else:
        what = f"cannot connect to {endpoint.link}"
        if isinstance(error, socket.gaierror):
            text = f"the host name {endpoint.host} does not resolve ({error.strerror})"
            hint = "check the spelling and the name server, or write the IP address"
    return DeviceUnavailable(f"{what}: {text}", reason=Reason.COMM_FAILURE, hint=hint)


def no_connection(endpoint: Endpoint, timeout_s: float) -> DeviceUnavailable:
    """Nothing came back while connecting."""
    return DeviceUnavailable(
        f"cannot connect to {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="check cable, power and address, and that no firewall drops the packets",
    )


def not_rfc2217(endpoint: Rfc2217Endpoint) -> DeviceUnavailable:
    """The server does not let us set up its serial port."""
    return DeviceUnavailable(
        f"cannot set up {endpoint.link}: the server refuses the COM port option of RFC 2217",
        reason=Reason.COMM_FAILURE,
        hint="switch RFC 2217 on in the server, or set the line up there and use tcp://",
    )


def line_refused(endpoint: Rfc2217Endpoint, setting: str, wanted: object, got: object) -> DeviceUnavailable:
    """The server answered that its serial port is at something else."""
    return DeviceUnavailable(
        f"cannot set up {endpoint.link}: the server was asked for {setting} {wanted} and has {got}",
        reason=Reason.COMM_FAILURE,
        hint="the port of the server cannot do these line settings, or they are fixed there",
    )


def no_settings(endpoint: Rfc2217Endpoint, waiting_for: str, timeout_s: float) -> DeviceUnavailable:
    """Connected, but the server does not answer the negotiation."""
    return DeviceUnavailable(
        f"cannot set up {endpoint.link}: within {timeout_s:g} s no answer about {waiting_for}",
        reason=Reason.TIMEOUT,
        hint="check that the port of the server is in RFC 2217 mode; if it passes bytes only, use tcp://",
    )


def lost(endpoint: Endpoint, error: OSError | None = None) -> DeviceUnavailable:
    """The stream ended."""
    why = f" ({_os_text(error.errno) or error})" if error is not None else ""
    if isinstance(endpoint, SerialEndpoint):
        text, hint = f"the serial port is gone{why}", "check that the adapter is still plugged in"
    else:
        text = f"the other end closed the connection{why}"
        hint = "it may have restarted, or allow fewer connections than it has"
    return DeviceUnavailable(f"{endpoint.link}: {text}", reason=Reason.COMM_FAILURE, hint=hint)


def _error_number(error: BaseException) -> int | None:
    """The system's number for the error; pyserial keeps that of a `termios.error` only as what it was raised from."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    cause = error if isinstance(error, termios.error) else error.__context__
    return cause.args[0] if isinstance(cause, termios.error) else None


def _os_text(number: int | None) -> str:
    """The system's words for an error number, without the wrapping that libraries add."""
    return "" if number is None or number not in errno.errorcode else os.strerror(number)

"""What can go wrong with a byte stream, in words: what was attempted, what came back, what a person can do."""

from __future__ import annotations

import errno

from drivers import os_errors
from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.transport.endpoint import Endpoint, Rfc2217Endpoint, SerialEndpoint

_HINTS = {errno.ECONNREFUSED: "check that its network interface is enabled, and the port"}


def cannot_open(endpoint: Endpoint, error: os_errors.Failed) -> DeviceUnavailable:
    """The stream could not be opened."""
    if isinstance(endpoint, SerialEndpoint):
        what, words = f"cannot open {endpoint.path} ({endpoint.line})", os_errors.of_port(error)
    else:
        what, words = f"cannot connect to {endpoint.link}", os_errors.of_network(error, endpoint.host, _HINTS)
    return DeviceUnavailable(f"{what}: {words.text}", reason=Reason.COMM_FAILURE, hint=words.hint)


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
    why = f" ({os_errors.text(error)})" if error is not None else ""
    if isinstance(endpoint, SerialEndpoint):
        text, hint = f"the serial port is gone{why}", "check that the adapter is still plugged in"
    else:
        text = f"the other end closed the connection{why}"
        hint = "it may have restarted, or allow fewer connections than it has"
    return DeviceUnavailable(f"{endpoint.link}: {text}", reason=Reason.COMM_FAILURE, hint=hint)

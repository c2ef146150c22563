"""What can go wrong with a server: what was attempted, what came back, what a person can do."""

from __future__ import annotations

import asyncio
import socket
import struct
from datetime import datetime

from asyncua import ua
from asyncua.crypto.uacrypto import InvalidSignature  # type: ignore[attr-defined]
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Reason
from drivers.opcua.value import status_name

FAILURES = (UaError, OSError, InvalidSignature, struct.error, ValueError, KeyError, IndexError)
"""What asyncua raises for what the network or the server did. `TimeoutError` is an OSError."""

_LOGIN = "check user and password (or user_certificate) below security:, and the rights of the user on the server"
_OWN_CERTIFICATE = "let the server trust the gateway's certificate, {own}; many servers list it as rejected"
_POLICY = "the server does not allow this policy, mode or login; see what it offers with hub-gateway browse --endpoints"
_HINTS = {
    "BadIdentityTokenRejected": _LOGIN,
    "BadIdentityTokenInvalid": _LOGIN,
    "BadUserAccessDenied": _LOGIN,
    "BadUserSignatureInvalid": _LOGIN,
    "BadSecurityChecksFailed": _OWN_CERTIFICATE,
    "BadCertificateUntrusted": _OWN_CERTIFICATE,
    "BadCertificateInvalid": _OWN_CERTIFICATE,
    "BadCertificateUriInvalid": "the server found another application URI than in the gateway's certificate, {own}; "
    "move the folder of that file away and let the server trust the one that is then made",
    "BadCertificateTimeInvalid": "the server finds the gateway's certificate, {own}, out of date; check both clocks",
    "BadCertificateChainIncomplete": _OWN_CERTIFICATE,
    "BadSecurityPolicyRejected": _POLICY,
    "BadSecurityModeRejected": _POLICY,
    "BadSecurityModeInsufficient": _POLICY,
    "BadTooManySessions": "close other clients, or allow more sessions in the server",
    "BadMaxConnectionsReached": "close other clients, or allow more connections in the server",
    "BadTooManySubscriptions": "close other clients, or use subscribe: false",
    "BadTcpEndpointUrlInvalid": "check the path in the url; see the urls with hub-gateway browse --endpoints",
    "BadTcpServerTooBusy": "the server is starting or overloaded",
    "BadServerHalted": "start the server's runtime",
}
_GONE = frozenset(
    {
        "BadSessionIdInvalid",
        "BadSessionClosed",
        "BadSessionNotActivated",
        "BadSecureChannelIdInvalid",
        "BadSecureChannelClosed",
        "BadSecureChannelTokenUnknown",
        "BadSecurityChecksFailed",
        "BadConnectionClosed",
        "BadConnectionRejected",
        "BadCommunicationError",
        "BadServerNotConnected",
        "BadServerHalted",
        "BadShutdown",
        "BadSubscriptionIdInvalid",
        "BadNoSubscription",
        "BadTcpInternalError",
        "BadTcpSecureChannelUnknown",
        "BadTcpMessageTypeInvalid",
    }
)
"""After these no request of the session has a future."""
_OS_HINTS = {
    ConnectionRefusedError: "check that the server runs, and the port",
    socket.gaierror: "check the spelling and the name server, or write the IP address",
}
_TOO_MUCH = frozenset(
    {"BadTooManyOperations", "BadRequestTooLarge", "BadResponseTooLarge", "BadEncodingLimitsExceeded"}
)


def is_too_much(error: BaseException) -> bool:
    """Whether the same request would pass in smaller pieces."""
    return isinstance(error, UaStatusCodeError) and status_name(error.code) in _TOO_MUCH


def cannot_connect(link: str, step: str, error: BaseException, *, timeout_s: float, own: str = "") -> DeviceUnavailable:
    """A step on the way to a session failed. `own`: the file with our certificate, where we have shown it."""
    what = f"cannot connect to {link}: {step}"
    if isinstance(error, asyncio.TimeoutError):
        hint = "check cable, power and address; a small controller may need seconds for a login: raise timeout"
        return DeviceUnavailable(f"{what}: no answer within {timeout_s:g} s", reason=Reason.TIMEOUT, hint=hint)
    if isinstance(error, UaStatusCodeError):
        name = status_name(error.code)
        hint = _HINTS.get(name, f"{ua.StatusCode(error.code).doc or 'see the log of the server'}")
        return DeviceUnavailable(
            f"{what}: the server says {name}", reason=Reason.DEVICE_ERROR, hint=hint.format(own=own or "(none)")
        )
    if isinstance(error, InvalidSignature):
        return DeviceUnavailable(
            f"{what}: the server's signature is wrong",
            reason=Reason.DEVICE_ERROR,
            hint="it does not have the key of its certificate; somebody may sit in between",
        )
    if isinstance(error, OSError):
        hint = next((hint for kind, hint in _OS_HINTS.items() if isinstance(error, kind)), "")
        if not hint:
            hint = _OWN_CERTIFICATE.format(own=own) if own else "check cable, power and address"
        text = error.strerror or str(error) or "the server closed the connection"
        return DeviceUnavailable(f"{what}: {text}", reason=Reason.COMM_FAILURE, hint=hint)
    return DeviceUnavailable(
        f"{what}: what came back is not understood ({error})",
        reason=Reason.BAD_RESPONSE,
        hint="check that an OPC UA server is at this port",
    )


def of_request(
    link: str, attempt: str, error: BaseException, *, timeout_s: float | None
) -> DeviceUnavailable | BadResponse:
    """A request of a session failed."""
    what = f"{link}: {attempt}"
    if isinstance(error, asyncio.TimeoutError):
        return BadResponse(
            f"{what}: no answer within {timeout_s or 0:g} s",
            reason=Reason.TIMEOUT,
            hint="check cable and power, or raise timeout",
        )
    if isinstance(error, UaStatusCodeError):
        name = status_name(error.code)
        kind = DeviceUnavailable if name in _GONE else BadResponse
        return kind(f"{what}: the server says {name}", reason=Reason.DEVICE_ERROR, hint=_HINTS.get(name, ""))
    if isinstance(error, OSError):
        return DeviceUnavailable(
            f"{what}: the connection is gone ({error})",
            reason=Reason.COMM_FAILURE,
            hint="the server may have restarted; check cable and power",
        )
    return BadResponse(f"{what}: the answer is not understood ({error})", reason=Reason.BAD_RESPONSE)


def unanswered(link: str, requests: int, *, timeout_s: float) -> DeviceUnavailable:
    """The connection stands, and what keeps its session alive has no answer."""
    return DeviceUnavailable(
        f"{link}: keeping the session alive: no answer within {timeout_s:g} s, {requests} times in a row",
        reason=Reason.TIMEOUT,
        hint="check cable and power, or raise timeout",
    )


def silent(link: str, device: str, silence_s: float) -> DeviceUnavailable:
    """A subscription stopped speaking."""
    return DeviceUnavailable(
        f"{link}: nothing came from the subscription of {device} for {silence_s:g} s; making it anew",
        reason=Reason.TIMEOUT,
        hint="check the network; if the server is only slow, raise silence",
    )


def stands_still(link: str, device: str, silence_s: float) -> DeviceUnavailable:
    """A subscription is kept alive, but the clock of the server does not move in it."""
    return DeviceUnavailable(
        f"{link}: the subscription of {device} brings no values any more, not even the server's time, "
        f"for {silence_s:g} s; making it anew",
        reason=Reason.TIMEOUT,
        hint="the server has stopped sampling; restart it if this comes again",
    )


def ended(link: str, device: str, status: int) -> DeviceUnavailable:
    """The server gave a subscription up."""
    return DeviceUnavailable(
        f"{link}: the server ended the subscription of {device}: {status_name(status)}", reason=Reason.DEVICE_ERROR
    )


def untrusted(link: str, fingerprint: str, file: str, *, state: str) -> DeviceUnavailable:
    """The server shows a certificate that nobody has said to trust. `state` is where the gateway keeps its own."""
    return DeviceUnavailable(
        f"cannot connect to {link}: its certificate is not trusted (SHA-256 {fingerprint}, kept as {file})",
        reason=Reason.DEVICE_ERROR,
        hint=f"if it is the right server: hub-gateway opcua trust {link.partition(' ')[0]} --state {state}",
    )


def out_of_date(link: str, first: datetime, last: datetime) -> DeviceUnavailable:
    """The server's certificate is not valid now."""
    return DeviceUnavailable(
        f"cannot connect to {link}: its certificate is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, and not now",
        reason=Reason.DEVICE_ERROR,
        hint="renew the server's certificate and trust the new one, or check the clock of the gateway",
    )


def not_offered(link: str, wanted: str, offered: str) -> DeviceUnavailable:
    """The server has no endpoint with this security."""
    return DeviceUnavailable(
        f"cannot connect to {link}: the server does not offer {wanted}",
        reason=Reason.DEVICE_ERROR,
        hint=f"it offers {offered}",
    )


def files(link: str, error: BaseException) -> DeviceUnavailable:
    """Our own keys and certificates cannot be used."""
    return DeviceUnavailable(
        f"cannot connect to {link}: the gateway's own certificate or key cannot be used: {error}",
        reason=Reason.DRIVER_FAULT,
        hint="check that the user of the gateway may read and write there, and what the file holds",
    )


def clock_not_set(link: str) -> DeviceUnavailable:
    """No certificate can be made before the time is known."""
    return DeviceUnavailable(
        f"cannot connect to {link}: the gateway needs a certificate and does not know the date to make it",
        reason=Reason.DRIVER_FAULT,
        hint="set the clock of the gateway, for example with NTP",
    )

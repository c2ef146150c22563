"""What can go wrong on a Modbus link, in words: what was asked of whom, what came back, what a person can do."""

from __future__ import annotations

import errno
import ssl

from drivers import os_errors
from drivers.contract import BadResponse, DeviceUnavailable, DriverError, NotAsked
from drivers.modbus.endpoint import Endpoint, Framing, SerialEndpoint, TcpEndpoint
from drivers.model import Reason

_SPLITTABLE = (2, 3)
_IN_DOUBT = (4, 5, 11)
"""Exceptions after which a write may have happened: half done, still to be done, or done by a unit that kept silent."""

_SHOWN_BYTES = 40
_EXCEPTIONS = {
    1: ("illegal function", Reason.DEVICE_ERROR, "the unit cannot read this table; look for the value in another one"),
    2: ("illegal data address", Reason.ILLEGAL_ADDRESS, "compare the address with the manual; it counts from 0 here"),
    3: ("illegal data value", Reason.ILLEGAL_ADDRESS, "the unit may allow fewer registers per request: max_registers"),
    4: ("server device failure", Reason.DEVICE_ERROR, "look at the device's own display or log"),
    5: ("acknowledge", Reason.DEVICE_ERROR, "the unit is at work on something long; it should answer later"),
    6: ("server device busy", Reason.DEVICE_ERROR, "poll it less often, or find out who else is polling it"),
    8: ("memory parity error", Reason.DEVICE_ERROR, "the device's memory is failing"),
    10: ("gateway path unavailable", Reason.DEVICE_ERROR, "the Modbus gateway has no port for this unit"),
    11: ("gateway target device failed to respond", Reason.TIMEOUT, "check power, wiring and number of the unit"),
}
"""Names of Modbus Application Protocol V1.1b3, 7."""
_WRITE_EXCEPTIONS = {
    1: (Reason.DEVICE_ERROR, "the unit does not know this function; function_codes can choose another one"),
    2: (Reason.ILLEGAL_ADDRESS, "compare the address with the manual; it may be there for reading only"),
    3: (Reason.OUT_OF_RANGE, "the unit does not take this value, at least not now; see its manual"),
}
"""Where an exception means something else to a write."""

_HINTS = {errno.ECONNREFUSED: "check that its Modbus server is enabled, and the port"}


class NoAnswer(BadResponse):
    """The timeout passed without an answer, so asking the same unit on would cost another one."""


class Owing(NoAnswer, NotAsked):
    """The request did not go out, because the answer to another one may still come."""


class Unreachable(DeviceUnavailable):
    """There is no connection, so nothing went out."""


class Refused(BadResponse):
    """The unit answered with an exception: its number is `code`, and `name` what a person would call it."""

    def __init__(self, attempt: str, endpoint: Endpoint, code: int, *, writes: bool = False) -> None:
        name, reason, hint = _EXCEPTIONS.get(code, ("not in the standard", Reason.DEVICE_ERROR, "see its manual"))
        if writes:
            reason, hint = _WRITE_EXCEPTIONS.get(code, (reason, hint))
        self.code = code
        self.name = f"exception {code:02X} ({name})"
        super().__init__(f"{attempt} on {endpoint.link}: {self.name}", reason=reason, hint=hint)

    @property
    def may_be_part(self) -> bool:
        """Whether a part of the request may be to blame: an address that does not exist, or too many at once."""
        return self.code in _SPLITTABLE


def in_doubt(error: DriverError) -> DriverError | None:
    """The error to raise instead when a write has failed with `error` and may have happened; None when it has not."""
    if isinstance(error, Owing | Unreachable) or (isinstance(error, Refused) and error.code not in _IN_DOUBT):
        return None
    kind = DeviceUnavailable if isinstance(error, DeviceUnavailable) else BadResponse
    return kind(f"{error.message}; it may have been written all the same", reason=error.reason, hint=error.hint)


def cannot_connect(endpoint: Endpoint, error: os_errors.Failed) -> Unreachable:
    """The connection could not be made."""
    what = f"cannot connect to {endpoint.link}"
    if isinstance(endpoint, SerialEndpoint):
        what, words = f"cannot open {endpoint.path} ({endpoint.line})", os_errors.of_port(error)
    elif endpoint.encrypted and (isinstance(error, ssl.SSLError) or _hung_up(error)):
        words = _no_handshake(error)
    else:
        words = os_errors.of_network(error, endpoint.host, _HINTS)
    return Unreachable(f"{what}: {words.text}", reason=Reason.COMM_FAILURE, hint=words.hint)


def no_connection(endpoint: Endpoint, timeout_s: float) -> Unreachable:
    """Nothing came back while connecting."""
    return Unreachable(
        f"cannot connect to {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="check cable, power and address, and that "
        + ("the port speaks TLS" if _is_encrypted(endpoint) else "no firewall drops the packets"),
    )


def lost(attempt: str, endpoint: Endpoint, why: Exception | None = None, *, asked: bool = True) -> DeviceUnavailable:
    """The connection went away while asking; or before, and nothing was `asked`."""
    if isinstance(endpoint, SerialEndpoint):
        text, hint = "the serial port is gone", "check that the adapter is still plugged in"
    else:
        text = "the other end closed the connection"
        hint = "it may have restarted, or allow fewer connections than it has"
        if isinstance(why, ssl.SSLError):
            text += f" ({os_errors.text(why)})"
        if _is_encrypted(endpoint):
            hint = "if it does so each time, it does not accept tls.certificate"
    kind = DeviceUnavailable if asked else Unreachable
    return kind(f"{attempt} on {endpoint.link}: {text}", reason=Reason.COMM_FAILURE, hint=hint)


def tls_files(endpoint: Endpoint, files: str, error: OSError) -> Unreachable:
    """The files of `tls:` cannot be used."""
    return Unreachable(
        f"cannot connect to {endpoint.link}: cannot use {files or 'the authorities of this system'}: "
        f"{os_errors.text(error)}",
        reason=Reason.COMM_FAILURE,
        hint="each must be readable PEM, the key without a password and belonging to the certificate",
    )


def silence(attempt: str, endpoint: Endpoint, timeout_s: float) -> NoAnswer:
    """Nothing came back."""
    line = f", line settings ({endpoint.line})" if isinstance(endpoint, SerialEndpoint) else ""
    return NoAnswer(
        f"{attempt} on {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint=f"check power, wiring{line} and the number of the unit",
    )


def late(attempt: str, endpoint: Endpoint, timeout_s: float) -> NoAnswer:
    """Only the answer to an earlier request came back."""
    return NoAnswer(
        f"{attempt} on {endpoint.link}: within {timeout_s:g} s only the answer to an earlier request came",
        reason=Reason.TIMEOUT,
        hint="the device is slower than its timeout; raise it",
    )


def owing(attempt: str, endpoint: Endpoint, timeout_s: float) -> Owing:
    """Not asked, because an answer to the last request could still come and be taken for this one's."""
    return Owing(
        f"{attempt} on {endpoint.link}: not asked, because its last request is still without a proper answer",
        reason=Reason.TIMEOUT,
        hint=f"asked again once it has had another {timeout_s:g} s, so that no late answer is taken for a new one",
    )


def noise(attempt: str, endpoint: Endpoint, timeout_s: float, came: bytes) -> NoAnswer:
    """What came back makes no frame, or is the frame of another unit."""
    more = "…" if len(came) > _SHOWN_BYTES else ""
    return NoAnswer(
        f"{attempt} on {endpoint.link}: no answer within {timeout_s:g} s, but {len(came)} bytes that are none: "
        f"{came[:_SHOWN_BYTES].hex(' ')}{more}",
        reason=Reason.BAD_RESPONSE,
        hint=_garbage_hint(endpoint),
    )


def garbage(attempt: str, endpoint: Endpoint, came: str) -> BadResponse:
    """An answer came that does not fit the request."""
    return BadResponse(
        f"{attempt} on {endpoint.link}: {came}", reason=Reason.BAD_RESPONSE, hint=_garbage_hint(endpoint)
    )


def _garbage_hint(endpoint: Endpoint) -> str:
    if isinstance(endpoint, SerialEndpoint):
        return f"check line settings ({endpoint.line}), termination, and that no two units have one number"
    if endpoint.framing is not Framing.TCP:
        return f"check that the port passes {endpoint.framing.value} on, and line settings and wiring behind it"
    return "check that the port speaks Modbus TCP and that the unit is right"


def _is_encrypted(endpoint: Endpoint) -> bool:
    return isinstance(endpoint, TcpEndpoint) and endpoint.encrypted


def _hung_up(error: os_errors.Failed) -> bool:
    """In the handshake; asyncio has no number for that."""
    return isinstance(error, ConnectionError) and error.errno is None


def _no_handshake(error: os_errors.Failed) -> os_errors.Words:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"its certificate is not trusted: {error.verify_message}"
        return os_errors.Words(text, os_errors.certificate_hint(error))
    reason = os_errors.text(error) if isinstance(error, ssl.SSLError) else "the other end hung up"
    return os_errors.Words(
        f"the TLS handshake failed: {reason}",
        "check that the port speaks TLS, and that the device accepts tls.certificate",
    )

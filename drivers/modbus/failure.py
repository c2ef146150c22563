"""What can go wrong on a Modbus link, in words: what was asked of whom, what came back, what a person can do."""

from __future__ import annotations

import errno
import os
import socket
import termios

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.modbus.endpoint import Endpoint, SerialEndpoint, TcpEndpoint
from drivers.model import Reason

_SPLITTABLE = (2, 3)

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

_CONNECT_HINTS = {
    errno.ECONNREFUSED: "check that its Modbus server is enabled, and the port",
    errno.EHOSTUNREACH: "check cable, power and address",
    errno.ENETUNREACH: "check the gateway's own network settings",
    errno.ENOENT: "check that the adapter is plugged in; names under /dev/serial/by-id/ survive replugging",
    errno.EACCES: "add the user that runs the gateway to the group that owns the port (usually dialout)",
    errno.EPERM: "add the user that runs the gateway to the group that owns the port (usually dialout)",
    errno.EAGAIN: "another program has the port open; stop it",
    errno.EBUSY: "another program has the port open; stop it",
    errno.ENOTTY: "it is not a serial port",
}


class NoAnswer(BadResponse):
    """The timeout passed without an answer, so asking the same unit on would cost another one."""


class Refused(BadResponse):
    """The unit answered with an exception. `code` is its number."""

    def __init__(self, what: str, endpoint: Endpoint, code: int) -> None:
        name, reason, hint = _EXCEPTIONS.get(code, ("not in the standard", Reason.DEVICE_ERROR, "see its manual"))
        super().__init__(f"reading {what} on {endpoint.link}: exception {code:02X} ({name})", reason=reason, hint=hint)
        self.code = code

    @property
    def may_be_part(self) -> bool:
        """Whether a part of the request may be to blame: an address that does not exist, or too many at once."""
        return self.code in _SPLITTABLE


def cannot_connect(endpoint: Endpoint, error: OSError | ValueError | termios.error) -> DeviceUnavailable:
    """The connection could not be made."""
    what = f"cannot connect to {endpoint.link}"
    if isinstance(error, socket.gaierror) and isinstance(endpoint, TcpEndpoint):
        return DeviceUnavailable(
            f"{what}: the host name {endpoint.host} does not resolve ({error.strerror})",
            reason=Reason.COMM_FAILURE,
            hint="check the spelling and the name server, or write the IP address",
        )
    number = _error_number(error)
    if isinstance(endpoint, SerialEndpoint):
        what = f"cannot open {endpoint.path} ({endpoint.line})"
    text = _os_text(number) or str(error)
    return DeviceUnavailable(f"{what}: {text}", reason=Reason.COMM_FAILURE, hint=_CONNECT_HINTS.get(number or 0, ""))


def no_connection(endpoint: Endpoint, timeout_s: float) -> DeviceUnavailable:
    """Nothing came back while connecting."""
    return DeviceUnavailable(
        f"cannot connect to {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="check cable, power and address, and that no firewall drops the packets",
    )


def lost(what: str, endpoint: Endpoint) -> DeviceUnavailable:
    """The connection went away before or while asking."""
    if isinstance(endpoint, SerialEndpoint):
        text, hint = "the serial port is gone", "check that the adapter is still plugged in"
    else:
        text, hint = (
            "the other end closed the connection",
            "it may have restarted, or allow fewer connections than it has",
        )
    return DeviceUnavailable(f"reading {what} on {endpoint.link}: {text}", reason=Reason.COMM_FAILURE, hint=hint)


def silence(what: str, endpoint: Endpoint, timeout_s: float) -> NoAnswer:
    """Nothing came back."""
    line = f", line settings ({endpoint.line})" if isinstance(endpoint, SerialEndpoint) else ""
    return NoAnswer(
        f"reading {what} on {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint=f"check power, wiring{line} and the number of the unit",
    )


def late(what: str, endpoint: Endpoint, timeout_s: float) -> NoAnswer:
    """Only the answer to an earlier request came back."""
    return NoAnswer(
        f"reading {what} on {endpoint.link}: within {timeout_s:g} s only the answer to an earlier request came",
        reason=Reason.TIMEOUT,
        hint="the device is slower than its timeout; raise it",
    )


def owing(what: str, endpoint: Endpoint, timeout_s: float) -> NoAnswer:
    """Not asked, because an answer to the last request could still come and be taken for this one's."""
    return NoAnswer(
        f"reading {what} on {endpoint.link}: not asked, because its last request is still without a proper answer",
        reason=Reason.TIMEOUT,
        hint=f"asked again once it has had another {timeout_s:g} s, so that no late answer is taken for a new one",
    )


def noise(what: str, endpoint: Endpoint, timeout_s: float, came: bytes) -> NoAnswer:
    """What came back makes no frame, or is the frame of another unit."""
    more = "…" if len(came) > _SHOWN_BYTES else ""
    return NoAnswer(
        f"reading {what} on {endpoint.link}: no answer within {timeout_s:g} s, but {len(came)} bytes that are none: "
        f"{came[:_SHOWN_BYTES].hex(' ')}{more}",
        reason=Reason.BAD_RESPONSE,
        hint=_garbage_hint(endpoint),
    )


def garbage(what: str, endpoint: Endpoint, came: str) -> BadResponse:
    """An answer came that does not fit the request."""
    return BadResponse(
        f"reading {what} on {endpoint.link}: {came}", reason=Reason.BAD_RESPONSE, hint=_garbage_hint(endpoint)
    )


def _garbage_hint(endpoint: Endpoint) -> str:
    if isinstance(endpoint, SerialEndpoint):
        return f"check line settings ({endpoint.line}), termination, and that no two units have one number"
    return "check that the port speaks Modbus TCP and that the unit is right"


def _error_number(error: BaseException) -> int | None:
    """The system's number for the error; pyserial keeps that of a `termios.error` only as what it was raised from."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    cause = error if isinstance(error, termios.error) else error.__context__
    return cause.args[0] if isinstance(cause, termios.error) else None


def _os_text(number: int | None) -> str:
    """The system's words for an error number, without the wrapping that libraries add."""
    return "" if number is None or number not in errno.errorcode else os.strerror(number)

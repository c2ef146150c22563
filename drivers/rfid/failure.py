"""What can go wrong with an LLRP reader, in words: what was asked of whom, what came back, what a person can do."""

from __future__ import annotations

import errno
import ssl

from drivers import os_errors
from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.rfid.endpoint import LlrpEndpoint
from drivers.rfid.llrp.status import Status

_HINTS = {
    errno.ECONNREFUSED: "check that LLRP is switched on in the reader, and the port; it takes a while to start",
    errno.ECONNRESET: "the reader may be restarting, or take no connection while another client has it",
}
_NOT_ALONE = (
    "end the other client: a second gateway, the software of the manufacturer, sllurp; some readers keep a client that "
    "is gone until they are restarted"
)


def cannot_connect(endpoint: LlrpEndpoint, error: OSError) -> DeviceUnavailable:
    """The connection could not be made; certificates are a part of that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the reader's certificate is not accepted ({error.verify_message})"
        hint = os_errors.certificate_hint(error)
    elif isinstance(error, ssl.SSLError):
        text = f"the TLS handshake failed: {os_errors.text(error)}"
        hint = "check that the port is the one with TLS, and the files of tls:"
    else:
        text, hint = os_errors.of_network(error, endpoint.host, _HINTS)
    return DeviceUnavailable(
        f"cannot connect to {endpoint.link}: {text}",
        reason=Reason.COMM_FAILURE,
        hint=hint or "check power, network and address of the reader",
    )


def no_connection(endpoint: LlrpEndpoint, timeout_s: float) -> DeviceUnavailable:
    """Nothing came back while connecting."""
    return DeviceUnavailable(
        f"cannot connect to {endpoint.link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="check cable, power and address, and that no firewall drops the packets",
    )


def unusable_tls_files(endpoint: LlrpEndpoint, error: OSError) -> DeviceUnavailable:
    """The files of `tls:` cannot be used."""
    return DeviceUnavailable(
        f"cannot connect to {endpoint.link}: the files of tls: cannot be used ({os_errors.text(error)})",
        reason=Reason.COMM_FAILURE,
        hint="ca, certificate and key are PEM files, and the key belongs to the certificate",
    )


def not_greeted(link: str, timeout_s: float) -> DeviceUnavailable:
    """Connected, but not told whether the connection is ours."""
    return DeviceUnavailable(
        f"{link} took the connection but sent no connection event within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="check that the port speaks LLRP (5084), and that no other client holds the reader",
    )


def taken(link: str, status: int) -> DeviceUnavailable:
    """The reader refuses the connection (ConnectionAttemptEvent, section 14.2.5.15)."""
    texts = {
        1: ("another client has it, to which the reader itself has connected", _NOT_ALONE),
        2: ("another client has it", _NOT_ALONE),
    }
    text, hint = texts.get(status, (f"status {status}", "look at the log of the reader, or restart it"))
    return DeviceUnavailable(f"{link} refuses the connection: {text}", reason=Reason.DEVICE_ERROR, hint=hint)


def lost(link: str, error: OSError | None = None) -> DeviceUnavailable:
    """The connection went away."""
    why = "" if error is None else f" ({os_errors.text(error)})"
    return DeviceUnavailable(
        f"{link} closed the connection{why}",
        reason=Reason.COMM_FAILURE,
        hint="the reader may have restarted; look at its power and its log when it comes often",
    )


def closed_by_reader(link: str) -> DeviceUnavailable:
    """ConnectionCloseEvent."""
    return DeviceUnavailable(
        f"{link} says that it closes the connection",
        reason=Reason.COMM_FAILURE,
        hint="somebody may have restarted it, changed its settings or connected in our place",
    )


def silent(link: str, silence_s: float, *, pending_bytes: int) -> DeviceUnavailable:
    """No message for longer than the keepalive allows."""
    begun = f", but {pending_bytes} bytes of one that does not end" if pending_bytes else ""
    return DeviceUnavailable(
        f"{link} was silent for {silence_s:g} s: no keepalive, no tag{begun}",
        reason=Reason.TIMEOUT,
        hint="check cable, switch and power of the reader",
    )


def deaf(link: str) -> DeviceUnavailable:
    """It sends but takes nothing."""
    return DeviceUnavailable(
        f"{link} takes none of our answers to its keepalives",
        reason=Reason.COMM_FAILURE,
        hint="the reader is overloaded or hangs; restart it",
    )


def unanswered(link: str, what: str, timeout_s: float) -> DeviceUnavailable:
    """A request has no answer."""
    return DeviceUnavailable(
        f"{what} on {link}: no answer within {timeout_s:g} s",
        reason=Reason.TIMEOUT,
        hint="raise timeout if the reader is slow; restart it if it stays like this",
    )


class Refused(DeviceUnavailable):
    """A request was answered with an error. `status` is the reader's."""

    def __init__(self, link: str, what: str, status: Status) -> None:
        super().__init__(
            f"{what} on {link}: the reader refuses: {status.text}",
            reason=Reason.DEVICE_ERROR,
            hint="compare antennas, power, channel, mode and session with what the reader can do in its region",
        )
        self.status = status


def impossible(link: str, why: str) -> DeviceUnavailable:
    """The reader's capabilities do not suffice for the settings."""
    return DeviceUnavailable(
        f"{link} cannot do what is set: {why}", reason=Reason.DEVICE_ERROR, hint="correct it in the config file"
    )


def not_llrp(link: str, what: str) -> DeviceUnavailable:
    """What comes cannot be LLRP, so nothing after it can be understood."""
    return DeviceUnavailable(
        f"{link} sent what cannot be LLRP: {what}",
        reason=Reason.BAD_RESPONSE,
        hint="check that host and port are those of the LLRP reader; if they are, its firmware is faulty",
    )


def garbled(link: str, what: str, why: str) -> DeviceUnavailable:
    """A message that is needed cannot be understood."""
    return DeviceUnavailable(
        f"{what} on {link}: the answer contradicts itself: {why}",
        reason=Reason.BAD_RESPONSE,
        hint="the firmware of the reader may be faulty; report it with this text",
    )


def overrun(link: str, what: str, count: int) -> DeviceUnavailable:
    """The answer does not come for all the reports before it."""
    return DeviceUnavailable(
        f"{what} on {link}: {count} other messages came and no answer",
        reason=Reason.BAD_RESPONSE,
        hint="restart the reader",
    )


def inventory_ended(link: str, *, was_preempted: bool) -> DeviceUnavailable:
    """Nobody has asked the reader to stop, but it did."""
    why = "another client's took its place" if was_preempted else "the reader has ended it"
    return DeviceUnavailable(
        f"{link} reads no tags any more: {why}",
        reason=Reason.DEVICE_ERROR,
        hint="find out who else controls the reader; its own web page is one",
    )

"""What a broker's answers mean, in words and as decisions. Pure.

Reason codes: MQTT 5.0 (OASIS), section 2.4. MQTT 3.1.1 return codes arrive here already translated to them.
"""

from __future__ import annotations

from enum import Enum, auto

PROTOCOL_REFUSED = 0x84
RETAIN_REFUSED = 0x9A
QOS_REFUSED = 0x9B

ACCEPTED_BELOW = 0x80
_NOT_EXPLAINED = frozenset({0x80, 0x83})
_REFUSED_FOR_GOOD = frozenset({0x87, 0x90, 0x95, 0x99})
_ABOUT_THE_TOPIC = frozenset({0x87, 0x90})

_WORDS = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "an error of its own kind (implementation specific)",
    0x84: "unsupported protocol version",
    0x85: "client id not valid",
    0x86: "bad user name or password",
    0x87: "not authorised",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
}


class DestinationUnavailable(Exception):
    """The broker cannot be reached, or the connection to it is over.

    `message` says what was attempted, on what and what came back; `hint` what can be done about it. With
    `needs_person` waiting alone will not help: something is set up wrongly, here or on the broker.
    """

    def __init__(self, message: str, *, hint: str = "", needs_person: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.needs_person = needs_person

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class MessageTooLarge(ValueError):
    """The broker has said that it takes no packet of this size. Nothing was sent."""


class Verdict(Enum):
    """What an acknowledgement decides about the readings in the message."""

    ACCEPTED = auto()
    LATER = auto()
    """Refused for now: the broker asks for less, so wait and send again."""
    UNEXPLAINED = auto()
    """Refused without a reason that says whether to try again."""
    NEVER = auto()
    """Refused for good: sending it again cannot help."""


def verdict(code: int) -> Verdict:
    """The decision for the reason code of a PUBACK."""
    if code < ACCEPTED_BELOW:
        return Verdict.ACCEPTED
    if code in _REFUSED_FOR_GOOD:
        return Verdict.NEVER
    return Verdict.UNEXPLAINED if code in _NOT_EXPLAINED else Verdict.LATER


def is_about_the_topic(code: int) -> bool:
    """Whether a message was refused because of its topic: others on that topic will be as well."""
    return code in _ABOUT_THE_TOPIC


def words(code: int, *, said: str = "") -> str:
    """A reason code for people, with the broker's own reason string when it `said` one."""
    text = f"{_WORDS.get(code, 'unknown reason')} (0x{code:02X})"
    return f'{text}: "{said}"' if said else text


def connection_refused(
    code: int, *, broker: str, said: str, username: str | None, client_id: str
) -> DestinationUnavailable:
    """What a CONNACK with `code` of 0x80 or more means."""
    who = f'the user "{username}"' if username is not None else "a client without a user name"
    hints = {
        PROTOCOL_REFUSED: "it speaks neither MQTT 5 nor MQTT 3.1.1",
        0x85: f'it does not accept the client id "{client_id}"; set client_id',
        0x86: f"it does not accept {who} with this password; check username and password",
        0x87: f"it does not let {who} connect; check its access list, username, password and client certificate",
        0x8A: "an administrator of the broker has banned this client",
        0x8C: "it wants a way of logging in that hub-gateway does not have; allow user names or certificates",
        0x95: "the will is larger than the broker allows; raise its maximum packet size",
        0x9C: "point url at the server that it names",
        0x9D: "point url at the server that it names",
        QOS_REFUSED: "readings need QoS 1, which this broker does not have",
    }
    message = f"{broker} refused the connection: {words(code, said=said)}"
    return DestinationUnavailable(message, hint=hints.get(code, ""), needs_person=code in hints)


def connection_ended(code: int, *, broker: str, said: str, client_id: str) -> DestinationUnavailable:
    """What a DISCONNECT sent by the broker with `code` means."""
    hints = {
        0x87: "an access list of the broker forbids what was sent",
        0x8E: f'another client connected with the client id "{client_id}"; '
        "if that is another gateway, give each its own gateway.id or client_id",
        0x93: "the broker counts messages differently than it said",
        0x98: "an administrator of the broker ended the connection",
    }
    message = f"{broker} ended the connection: {words(code, said=said)}"
    return DestinationUnavailable(message, hint=hints.get(code, ""), needs_person=code in {0x87, 0x8E, 0x98})

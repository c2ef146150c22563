"""What is said on a connection, as data, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from gateway.mqtt.reasons import DestinationUnavailable
from gateway.mqtt.stream import Address

ANY_RECEIVE_MAXIMUM = 65535
LONGEST_TEXT_BYTES = 65535


class Version(Enum):
    """The versions of the protocol that can be spoken."""

    MQTT_5 = "MQTT 5"
    MQTT_3_1_1 = "MQTT 3.1.1"


@dataclass(frozen=True, slots=True)
class Hello:
    """What CONNECT says. `will` is (topic, payload); `keepalive_s` is the longest silence to put up with."""

    address: Address
    version: Version
    client_id: str
    username: str | None
    password: str | None
    will: tuple[str, bytes]
    will_retained: bool
    keepalive_s: float

    def __post_init__(self) -> None:
        """Raises `DestinationUnavailable` for a text that has no place in a packet."""
        for key, text in (("username", self.username), ("password", self.password), ("client_id", self.client_id)):
            trouble = unsendable(text or "")
            if trouble is not None:
                raise DestinationUnavailable(
                    f"{self.address}: {key} cannot be sent: {trouble}", hint=f"set another {key}", needs_person=True
                )


@dataclass(frozen=True, slots=True)
class Connack:
    """The broker's answer to CONNECT: a reason code, what it `said`, and its limits (MQTT 5.0, 3.2.2.3)."""

    code: int
    said: str = ""
    receive_maximum: int = ANY_RECEIVE_MAXIMUM
    largest_packet_bytes: int | None = None
    maximum_qos: int = 2
    retains: bool = True


@dataclass(frozen=True, slots=True)
class Received:
    """A message to which this gateway has subscribed (MQTT 5.0, 3.3).

    `retained`: the broker keeps it and hands it to every new subscriber. `again`: the broker has sent it before and
    waits for its acknowledgement. MQTT 3.1.1 has neither a response topic nor correlation data.
    """

    topic: str
    payload: bytes
    retained: bool = False
    again: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


class Listener(Protocol):
    """Who is told what the broker sends, in the event loop's thread."""

    def on_connack(self, connack: Connack) -> None: ...

    def on_puback(self, message_id: int, code: int, said: str) -> None: ...

    def on_suback(self, code: int, said: str) -> None: ...

    def on_message(self, message: Received) -> None: ...

    def on_end(self, failure: DestinationUnavailable) -> None: ...


def unsendable(text: str) -> str | None:
    """Why MQTT cannot carry this text (MQTT 5.0, 1.5.4), or None."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return f"it has {size} bytes, and {LONGEST_TEXT_BYTES} are the most" if size > LONGEST_TEXT_BYTES else None

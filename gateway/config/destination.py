"""The entries of `destinations:`: where readings go, and what a broker there may ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, WithJsonSchema
from pydantic import field_validator as check

from drivers.settings import Duration, DurationOrZero, Name
from gateway.config.fields import DocumentedModel, ReadableFile, Whole

DEFAULT_PORTS: Mapping[str, int] = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
ENCRYPTED = frozenset({"mqtts", "wss"})
PLACEHOLDERS = ("site", "gateway", "device")


class TlsSettings(DocumentedModel):
    """Files in PEM format for an encrypted connection."""

    ca: ReadableFile | None = None
    """Certificates that the broker's own is checked against; the system's when absent."""
    certificate: ReadableFile | None = None
    """The gateway's own certificate, when the broker asks for one."""
    key: ReadableFile | None = None
    """The private key of `certificate`; absent when it stands in the same file."""

    @check("key")
    @classmethod
    def _key_has_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is not None and "certificate" in info.data and info.data["certificate"] is None:
            raise ValueError("a key has no effect without a certificate; add certificate:")
        return key


class ReplayOrder(StrEnum):
    """What goes first after an outage."""

    LIVE_FIRST = "live-first"
    IN_ORDER = "in-order"


class Start(StrEnum):
    """Where a destination starts that is new to a buffer with readings in it."""

    NOW = "now"
    OLDEST = "oldest"


class ReplaySettings(DocumentedModel):
    """How readings that a destination has missed are sent."""

    order: ReplayOrder = ReplayOrder.LIVE_FIRST
    """`live-first` sends new readings at once, the missed ones beside them; `in-order` sends all as it was read."""
    values_per_second: Whole = 20_000
    """The most values that are sent each second of what was missed."""
    start_within: DurationOrZero = 5.0
    """What was missed starts after a random time up to this, so that many gateways do not start together; or `0s`."""


class DestinationSettings(DocumentedModel):
    """One MQTT broker, with its own place in the buffer."""

    name: Name
    """Names the destination in logs, metrics and the buffer, where a new name is a new destination."""
    start: Start = Start.NOW
    """Where a new name starts: `now`, or with the `oldest` reading that is still held for another destination."""
    url: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^(mqtts?|wss?)://[^/@\\s]+"})]
    """`mqtt://host:1883`, `mqtts://host:8883`, `ws://host:80/path`, `wss://host:443/path`; the port may be left out."""
    format: Literal["json"] = "json"
    """How a reading is written."""
    topic: str = "hub/{site}/{gateway}/{device}"
    """Where readings are published. `{site}`, `{gateway}` and `{device}` are filled in; `{device}` must be there."""
    qos: Literal[1] = 1
    """MQTT quality of service."""
    username: str | None = None
    """The user name that the broker asks for."""
    password: SecretStr | None = None
    """Better as `${file:/path}`, `${env:NAME}` or `${credential:NAME}` than in the config file itself."""
    client_id: Name | None = None
    """MQTT client identifier; `hub-gateway-<site>-<id>` when absent. A broker admits one connection for each."""
    tls: TlsSettings | None = None
    """Certificates for `mqtts://` and `wss://`; the system's when absent."""
    replay: ReplaySettings = ReplaySettings()
    """How readings that this destination has missed are sent."""
    batch: Whole = 1
    """The most readings of one device in one message; with more than 1 a message is an array."""
    keepalive: Annotated[Duration, Field(ge=1, le=65535)] = 30.0
    """How often the connection is proved to be alive when nothing is sent; from 1s to 65535s."""

    commands: bool = True
    """Whether commands are taken from this broker, where `commands.enabled` is set."""

    @check("url")
    @classmethod
    def _url_of_a_broker(cls, url: str) -> str:
        parts = _split(url)
        if parts.scheme not in DEFAULT_PORTS:
            choices = ", ".join(f"{scheme}://" for scheme in DEFAULT_PORTS)
            raise ValueError(f"a broker's url starts with one of {choices}")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user name and password do not belong in the url; use username: and password:")
        if not parts.hostname:
            raise ValueError(f"has no host; write for example {parts.scheme}://broker.example")
        _check_port(parts)
        if parts.query or parts.fragment:
            raise ValueError("nothing may follow ? or # in a broker's url")
        if parts.path not in {"", "/"} and parts.scheme in {"mqtt", "mqtts"}:
            raise ValueError("a path is possible with ws:// and wss:// only; the topic has its own key, topic:")
        return url

    @check("topic")
    @classmethod
    def _topic_of_every_device(cls, topic: str) -> str:
        named = re.findall(r"\{([^{}]*)\}", topic)
        rest = re.sub(r"\{[^{}]*\}", "x", topic)
        for placeholder in named:
            if placeholder not in PLACEHOLDERS:
                raise ValueError(f"{{{placeholder}}} is unknown; there are {{site}}, {{gateway}} and {{device}}")
        if "{" in rest or "}" in rest:
            raise ValueError("has a { or } without its partner")
        if "device" not in named:
            raise ValueError("must contain {device}, or the readings of all devices would mix on one topic")
        if "+" in rest or "#" in rest:
            raise ValueError("+ and # are wildcards of subscribers; nothing can be published to them")
        if not all(rest.split("/")):
            raise ValueError("has an empty level: / stands between two names only")
        if rest.startswith("$"):
            raise ValueError("topics that start with $ belong to the broker")
        if not rest.isprintable():
            raise ValueError("has a character that cannot be printed")
        return topic

    @check("qos", mode="before")
    @classmethod
    def _acknowledged_once(cls, qos: Any) -> Any:
        if qos in (0, 2) and not isinstance(qos, bool):
            raise ValueError(
                "only 1 is possible: 0 is never acknowledged, so readings could be lost unseen, and 2 doubles the "
                "traffic for what the id in each message gives already"
            )
        return qos

    @check("password")
    @classmethod
    def _password_has_username(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if password is not None and "username" in info.data and info.data["username"] is None:
            raise ValueError("a password has no effect without a user name; add username:")
        return password

    @check("tls")
    @classmethod
    def _tls_has_effect(cls, tls: TlsSettings | None, info: ValidationInfo) -> TlsSettings | None:
        url = info.data.get("url")
        if tls is not None and url is not None and urlsplit(url).scheme not in ENCRYPTED:
            raise ValueError("has no effect: the url is not encrypted; use mqtts:// or wss://")
        return tls


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url:
        raise ValueError("has a space or a character that cannot be printed")
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError("is not a url; write for example mqtts://broker.example:8883") from None


def _check_port(parts: SplitResult) -> None:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number from 1 to 65535") from None
    if port == 0:
        raise ValueError("has port 0, which no broker can have")

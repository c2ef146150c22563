"""What `hub-gateway audit` is to listen to, from its options or from the gateway's own config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from gateway.config import DestinationSettings, Settings, TlsSettings
from gateway.mqtt.packets import unsendable
from gateway.mqtt.stream import Address

_OF_A_BROKER = ("username", "password_file", "ca", "certificate", "key")


@dataclass(frozen=True, slots=True)
class Audit:
    """What is to be listened to; `buffer` is the file of the gateway whose `destination` this is, if it is at hand."""

    destination: DestinationSettings
    topics: Sequence[str]
    buffer: Path | None = None


class BadOption(Exception):
    """An option that cannot be used; the message says which and why."""


def audit_of(parsed: argparse.Namespace, settings: Settings | None) -> Audit:
    """Raises `BadOption`."""
    if parsed.topic is not None and not _is_filter(parsed.topic):
        raise BadOption(
            f"--topic {parsed.topic!r} is no topic filter: + and # stand alone between slashes, # at the end"
        )
    if settings is None:
        if parsed.destination is not None:
            raise BadOption("--destination names one of a config: give the config with -c instead of --broker")
        return Audit(_usable(_broker(parsed)), [parsed.topic or "hub/#"])
    given = [name for name in _OF_A_BROKER if getattr(parsed, name) is not None]
    if given:
        raise BadOption(f"--{given[0].replace('_', '-')} goes with --broker; with -c the config says it")
    destination = _usable(_destination(parsed.destination, settings))
    site, gateway = settings.gateway.site, settings.gateway.id
    filled = destination.topic.replace("{site}", site).replace("{gateway}", gateway)
    own = "/".join("+" if "{device}" in level else level for level in filled.split("/"))
    topics = [parsed.topic or own, f"hub/{site}/{gateway}/status"]
    return Audit(destination, topics, settings.buffer.path)


def _destination(name: str | None, settings: Settings) -> DestinationSettings:
    names = [one.name for one in settings.destinations]
    if name is None and len(names) > 1:
        raise BadOption(f"there are several destinations: choose one with --destination ({', '.join(names)})")
    for one in settings.destinations:
        if name in (None, one.name):
            return one
    raise BadOption(f'there is no destination "{name}" in the config; it has {", ".join(names)}')


def _is_filter(text: str) -> bool:
    """MQTT 5.0, 4.7."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return False
    levels = text.split("/")
    alone = all(level in {"+", "#"} or not {"+", "#"} & set(level) for level in levels)
    return 0 < length < 2**16 and "\0" not in text and alone and "#" not in levels[:-1]


def _broker(parsed: argparse.Namespace) -> DestinationSettings:
    try:
        files = {name: getattr(parsed, name) for name in ("ca", "certificate", "key")}
        tls = TlsSettings(**files) if any(files.values()) else None
        password = parsed.password_file and SecretStr(parsed.password_file.read_text().partition("\n")[0])
        return DestinationSettings(
            name="audit", url=parsed.broker, username=parsed.username, password=password, tls=tls
        )
    except OSError as error:
        raise BadOption(f"--password-file {parsed.password_file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadOption(f"--password-file {parsed.password_file}: it is not text in UTF-8") from error
    except ValidationError as error:
        first = error.errors()[0]
        option = {"url": "broker", "password": "password-file", "tls": "ca"}.get(str(first["loc"][0]), first["loc"][0])
        raise BadOption(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from error


def _usable(destination: DestinationSettings) -> DestinationSettings:
    """Raises `BadOption` for what looks right, and still cannot be sent or looked up."""
    password = destination.password
    texts = {"username": destination.username, "password": password.get_secret_value() if password else None}
    for name, text in texts.items():
        trouble = unsendable(text or "")
        if trouble is not None:
            raise BadOption(f"the {name} cannot be sent: {trouble}")
    host = Address.parse(destination.url).host
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise BadOption(f'there can be no host with the name "{host}"') from error
    return destination

"""What a destination may be, and that the rest is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Settings

Document = Callable[[str], str]
Load = Callable[..., Settings]
Told = Callable[..., list[str]]


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker",
        "mqtts://broker.example:8883",
        "mqtt://10.0.0.1:1",
        "mqtt://[::1]:1883",
        "mqtt://broker/",
        "ws://broker/mqtt",
        "wss://broker:443/a/b",
        "MQTT://broker",
    ],
)
def test_a_broker_is_accepted(url: str, loaded: Load, destined: Document) -> None:
    assert loaded(destined(f"- {{name: a, url: '{url}'}}")).destinations[0].url == url


MISTAKES = {
    "another scheme": ("url: http://h", "url: a broker's url starts with one of mqtt://, mqtts://, ws://, wss://"),
    "no scheme": ("url: broker", "url: a broker's url starts with one of mqtt://, mqtts://, ws://, wss://"),
    "a host and port alone": ("url: 'broker:1883'", "url: a broker's url starts with one of"),
    "no host": ("url: 'mqtt://'", "url: has no host; write for example mqtt://broker.example"),
    "a port alone": ("url: 'mqtt://:1883'", "url: has no host"),
    "a port that is text": ("url: 'mqtt://h:abc'", "url: has a port that is not a number from 1 to 65535"),
    "a port that is too high": ("url: 'mqtt://h:70000'", "url: has a port that is not a number from 1 to 65535"),
    "port 0": ("url: 'mqtt://h:0'", "url: has port 0, which no broker can have"),
    "a user in the url": (
        "url: 'mqtts://u:p@h'",
        "url: user name and password do not belong in the url; use username:",
    ),
    "a path": ("url: mqtt://h/topic", "url: a path is possible with ws:// and wss:// only"),
    "a query": ("url: 'ws://h/?a=b'", "url: nothing may follow ? or # in a broker's url"),
    "a space": ("url: 'mqtt://h x'", "url: has a space or a character that cannot be printed"),
    "a broken address": ("url: 'mqtt://[::1'", "url: is not a url; write for example mqtts://broker.example:8883"),
    "no url": ("qos: 1", "destinations[0].url: is missing"),
    "another format": ("url: mqtt://h, format: xml", 'format: "xml" is not a format; use json'),
    "qos 0": ("url: mqtt://h, qos: 0", "qos: only 1 is possible: 0 is never acknowledged"),
    "qos 2": ("url: mqtt://h, qos: 2", "qos: only 1 is possible"),
    "qos 3": ("url: mqtt://h, qos: 3", "qos: 3 is not a qos; use 1"),
    "one topic for all": (
        "url: mqtt://h, topic: a/b",
        "topic: must contain {device}, or the readings of all devices would mix",
    ),
    "an unknown placeholder": (
        "url: mqtt://h, topic: 'a/{point}/{device}'",
        "topic: {point} is unknown; there are {site}",
    ),
    "a format in a placeholder": ("url: mqtt://h, topic: '{device!r}'", "topic: {device!r} is unknown"),
    "an open brace": ("url: mqtt://h, topic: '{device}/{site'", "topic: has a { or } without its partner"),
    "a wildcard": ("url: mqtt://h, topic: '{device}/#'", "topic: + and # are wildcards of subscribers"),
    "an empty level": ("url: mqtt://h, topic: 'a//{device}'", "topic: has an empty level"),
    "a leading slash": ("url: mqtt://h, topic: '/{device}'", "topic: has an empty level"),
    "a topic of the broker": (
        "url: mqtt://h, topic: '$SYS/{device}'",
        "topic: topics that start with $ belong to the broker",
    ),
    "a control character": ('url: mqtt://h, topic: "{device}\\0"', "topic: has a character that cannot be printed"),
    "a password alone": ("url: mqtt://h, password: p", "password: a password has no effect without a user name"),
    "tls without encryption": (
        "url: mqtt://h, tls: {}",
        "tls: has no effect: the url is not encrypted; use mqtts:// or wss://",
    ),
    "a certificate that is not there": ("url: mqtts://h, tls: {ca: ca.pem}", "ca.pem: there is no such file"),
    "an empty file name": ("url: mqtts://h, tls: {ca: ''}", "tls.ca: must be the name of a file"),
    "a NUL in a file name": (
        'url: mqtts://h, tls: {ca: "a\\0b"}',
        "tls.ca: a file name cannot contain a NUL character",
    ),
    "no batch": ("url: mqtt://h, batch: 0", "batch: 0 is not possible; it must be at least 1"),
    "a batch that is true": ("url: mqtt://h, batch: true", "batch: true and false are not numbers"),
    "a keepalive that is too long": (
        "url: mqtt://h, keepalive: 1d",
        'keepalive: "1d" is not possible; it must be at most 65535',
    ),
    "another order": (
        "url: mqtt://h, replay: {order: newest}",
        'replay.order: "newest" is not an order; use live-first or in-order',
    ),
    "a name for a topic": ("url: mqtt://h, client_id: 'a b'", 'client_id: "a b" is not a name'),
}


@pytest.mark.parametrize(("keys", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(keys: str, line: str, told: Told, destined: Document) -> None:
    (found,) = told(destined(f"- {{name: a, {keys}}}"))
    assert line in found


def test_several_mistakes_in_one_destination_are_all_told(told: Told, destined: Document) -> None:
    found = told(destined("- {name: a, url: mqtt://h, topic: a, password: p, tls: {x: 1}, qos: 0, batch: 0}"))
    assert [line.partition("destinations[0].")[2].partition(":")[0] for line in found] == [
        "topic",
        "password",
        "tls.x",
        "qos",
        "batch",
    ]


def test_a_key_needs_a_certificate(told: Told, destined: Document, folder: Path) -> None:
    (folder / "gw.key").touch()
    (found,) = told(destined("- {name: a, url: mqtts://h, tls: {key: gw.key}}"))
    assert found.endswith("tls.key: a key has no effect without a certificate; add certificate:")


def test_a_certificate_may_contain_its_key(loaded: Load, destined: Document, folder: Path) -> None:
    (folder / "gw.pem").touch()
    loaded(destined("- {name: a, url: wss://h, tls: {certificate: gw.pem}}"))


def test_destinations_have_names_of_their_own(told: Told, destined: Document) -> None:
    found = told(destined("- {name: a, url: mqtt://h}\n- {name: b, url: mqtt://i}\n- {name: a, url: mqtt://j}"))
    assert found == ['hub.yaml:5:12: destinations[2].name: "a" is taken already, in line 3']


def test_two_destinations_cannot_share_broker_and_client(told: Told, destined: Document) -> None:
    (found,) = told(destined("- {name: a, url: mqtt://H}\n- {name: b, url: 'mqtt://h:1883'}"))
    assert found == (
        'hub.yaml:4:20: destinations[1].url: is the broker of "a" too, with the same client_id; '
        "give one of them its own client_id:"
    )


def test_a_client_id_that_is_the_default_of_another_is_no_client_id_of_its_own(told: Told, destined: Document) -> None:
    (found,) = told(
        destined("- {name: a, url: mqtt://h}\n- {name: b, url: mqtt://h, client_id: hub-gateway-lgg-sort-01}")
    )
    assert "with the same client_id" in found


def test_two_destinations_may_share_a_broker_with_a_client_each(loaded: Load, destined: Document) -> None:
    loaded(destined("- {name: a, url: mqtt://h}\n- {name: b, url: mqtt://h, client_id: b}"))

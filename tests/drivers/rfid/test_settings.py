"""What the config file may say, and the words for what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers import registry
from drivers.rfid.clock import ClockChoice
from drivers.rfid.deduplicate import ReportTags
from drivers.rfid.endpoint import LlrpEndpoint, parse_url
from drivers.rfid.settings import RfidDeviceSettings
from gateway.config import load
from tests.drivers.rfid.listener import driver

LINES = {"url": "tcp://reader:4001", "protocol": "pattern"}


def _settings(**keys: Any) -> RfidDeviceSettings:
    return RfidDeviceSettings.model_validate({"name": "portal", "driver": "rfid", "url": "llrp://reader", **keys})


def test_three_lines_are_enough() -> None:
    settings = _settings()
    assert (settings.window, settings.report_tags, settings.clock) == (5.0, ReportTags.ARRIVAL, ClockChoice.AUTO)
    assert [point.name for point in settings.points] == [
        *("epc", "uri", "antenna", "rssi", "seen_count", "first_seen", "last_seen")
    ]


@pytest.mark.parametrize(
    ("url", "endpoint", "link"),
    [
        ("llrp://10.0.0.20", LlrpEndpoint("10.0.0.20", 5084, uses_tls=False), "llrp://10.0.0.20:5084"),
        ("llrps://reader/", LlrpEndpoint("reader", 5085, uses_tls=True), "llrps://reader:5085"),
        ("llrp://[fe80::1]:99", LlrpEndpoint("fe80::1", 99, uses_tls=False), "llrp://[fe80::1]:99"),
    ],
)
def test_a_url_is_taken_apart(url: str, endpoint: LlrpEndpoint, link: str) -> None:
    assert parse_url(url) == endpoint
    assert registry.family("rfid").link(_settings(url=url)) == link


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "http://reader"}, '"http://" is not supported for rfid'),
        ({"url": "reader"}, '"reader" is not supported for rfid'),
        ({"url": "llrp://reader:0"}, "port 0 cannot be connected to; the default is 5084"),
        ({"url": "llrp://reader/x"}, "must be llrp://host:port and nothing else"),
        ({"url": "llrp://reader:99999"}, "is not a url"),
        ({"url": "tcp://reader:4001"}, "needs protocol: pattern"),
        ({"protocol": "pattern"}, "llrp:// is not a line of text"),
        ({"window": "0s"}, "write none to get a reading for every report"),
        ({"window": "5"}, "needs a number and a unit"),
        ({"window": "none", "report_tags": "both"}, "report_tags has no effect with window: none"),
        ({"filter": "sscc"}, '"sscc" is not the beginning of an EPC'),
        ({"filter": [""]}, '"" is not the beginning of an EPC'),
        ({"antennas": [1, 2, 1]}, "antenna 1 is there twice"),
        ({"antennas": [0]}, "greater than or equal to 1"),
        ({"power": 100}, "less than or equal to 40"),
        ({"session": 4}, "less than or equal to 3"),
        ({"channel": 2}, "channel has no effect without power"),
        ({"population": 2}, "population has no effect without session"),
        ({"periodic": "5s"}, "periodic has no effect without duration"),
        ({"duration": "5s"}, "duration needs a longer periodic"),
        ({"duration": "5s", "periodic": "5s"}, "duration needs a longer periodic"),
        ({"keepalive": "50d"}, "keepalive is from 1ms to 49d"),
        ({"version": "2.0"}, "Input should be '1.0.1' or '1.1'"),
        ({"tls": {}}, "tls has no effect on this url; it needs llrps://"),
        ({"url": "llrps://r", "tls": {"key": "a.pem"}}, "a key has no effect without a certificate"),
        ({"url": "llrps://r", "tls": {"ca": "a.pem", "verify": False}}, "ca has no effect with verify: false"),
        ({"points": [{"name": "epc"}]}, "the points of an rfid device are fixed"),
        ({"pattern": "(?P<epc>.*)"}, "pattern has no effect with protocol: llrp"),
        ({**LINES, "pattern": "(?P<epc>"}, "not a regular expression"),
        ({**LINES, "pattern": ".*"}, r"the pattern needs a group \(\?P<epc>…\)"),
        ({**LINES, "pattern": "(?P<epc>.*)(?P<rsi>.)"}, 'did you mean "rssi"'),
        ({**LINES, "power": 20}, "power has no effect with protocol: pattern"),
        ({**LINES, "antennas": [1]}, "antennas has no effect with protocol: pattern"),
    ],
)
def test_a_mistake_is_told_in_words(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _settings(**keys)


def test_a_version_that_yaml_makes_a_number_is_taken() -> None:
    assert _settings(version=1.1).version == "1.1"


@pytest.mark.parametrize("digits", [31, 3034.0, [31], ["31", 30]])
def test_digits_that_yaml_makes_a_number_have_lost_their_zeros_and_are_not_taken(digits: object) -> None:
    with pytest.raises(ValidationError, match="should be a valid string"):
        _settings(filter=digits)


def test_digits_may_be_small_letters() -> None:
    assert _settings(filter=["31", "30f4"]).filter == ("31", "30F4")


def test_one_beginning_needs_no_list() -> None:
    assert _settings(filter="3034").filter == ("3034",)


def _driver(*devices: dict[str, Any]) -> Any:
    return driver("llrp://reader", *devices)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, '"b" and "a" share the reader llrp://reader:5084; each needs antennas of its own'),
        ({"antennas": [2, 1]}, '"a" and "b" both have antenna 1'),
        ({"antennas": [2], "keepalive": "1s"}, "share the reader llrp://reader:5084 but differ in keepalive"),
    ],
)
def test_portals_that_cannot_share_a_reader_are_told_why(second: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _driver({"name": "a", "antennas": [1]}, {"name": "b", **second})


def test_line_readers_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match='"a" and "b" cannot share tcp://reader:4001'):
        _driver({"name": "a", **LINES}, {"name": "b", **LINES})


def test_the_plan_says_what_will_be_on_the_wire() -> None:
    made = _driver({"name": "a", "antennas": [1, 2]}, {"name": "b", "antennas": [4]})
    assert [request.request for request in made.plan()] == [
        "ROSpec: antennas 1, 2, always",
        "ROSpec: antennas 4, always",
    ]
    (periodic,) = _driver({"duration": "2s", "periodic": "30s"}).plan()
    assert periodic.request == "ROSpec: antennas all, 2 s every 30 s"
    (lines,) = _driver(LINES).plan()
    assert lines.request.startswith("lines that match (?P<epc>")


def test_files_of_tls_are_found_beside_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "reader.pem").write_text("x")
    config = tmp_path / "hub.yaml"
    config.write_text(
        "gateway: {site: lgg, id: sort-01}\n"
        "destinations: [{name: broker, url: 'mqtt://127.0.0.1'}]\n"
        "devices:\n"
        "  - {name: d, driver: rfid, url: 'llrps://reader', tls: {ca: reader.pem}, filter: '31', version: 1.1}\n"
    )
    (device,) = load(config).devices
    assert isinstance(device, RfidDeviceSettings)
    assert device.tls is not None
    assert device.tls.ca == tmp_path / "reader.pem"
    assert device.filter == ("31",)

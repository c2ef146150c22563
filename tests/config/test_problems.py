"""Each mistake is told with its place, in words for people who run hubs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Document = Callable[[str], str]
Told = Callable[..., list[str]]

ONE_POINT = "points: [{name: speed, address: 0}]"

IN_A_DEVICE = {
    "a wrong type": (
        "points:\n  - name: speed\n    address: 0\n    type: flot32",
        'hub.yaml:11:15: devices[0].points[0].type: "flot32" is not a type; did you mean "float32"?',
    ),
    "a choice like no other": (
        "points: [{name: speed, address: 0, type: xyz}]",
        'hub.yaml:8:46: devices[0].points[0].type: "xyz" is not a type; use float32 or uint16',
    ),
    "a choice that needs an": (
        "report: never",
        'devices[0].report: "never" is not a report; use on-change or every-read',
    ),
    "an unknown key": (
        "perod: 1s",
        'hub.yaml:8:5: devices[0].perod: "perod" is not a key here; did you mean "period"?',
    ),
    "an unknown key in a point": (
        "points: [{name: speed, addres: 0}]",
        'hub.yaml:8:28: devices[0].points[0].addres: "addres" is not a key here; did you mean "address"?',
    ),
    "an unknown key in a nested model": (
        "guard: {distance: 1, distanse: 2}",
        'devices[0].guard.distanse: "distanse" is not a key here; did you mean "distance"?',
    ),
    "a missing key": ("points: [{name: speed}]", "hub.yaml:8:14: devices[0].points[0].address: is missing"),
    "text for a number": ("lanes: two", 'hub.yaml:8:12: devices[0].lanes: "two" is not a whole number'),
    "a fraction for a whole number": ("lanes: 1.5", "devices[0].lanes: 1.5 is not a whole number"),
    "a decimal comma": (
        "points: [{name: a, address: 0, scale: '0,5'}]",
        '"0,5" is not a number; write a point, not a comma, before the decimals',
    ),
    "a number for text": (
        "serial_number: 123",
        "devices[0].serial_number: 123 is a number, not text; put it in quotes",
    ),
    "a boolean for text": ("serial_number: true", "devices[0].serial_number: true is true or false, not text"),
    "a number that is too small": (
        "points: [{name: a, address: -1}]",
        "devices[0].points[0].address: -1 is not possible; it must be at least 0",
    ),
    "infinity": ("points: [{name: a, address: 0, deadband: .inf}]", "deadband: inf is not a finite number"),
    "a key without a value": ("lanes:", "hub.yaml:8:11: devices[0].lanes: has no value; give it one or remove the key"),
    "a list for a mapping": (
        "points: [[]]",
        "devices[0].points[0]: a list is not a mapping; write key: value lines below it",
    ),
    "a mapping for a list": (
        "points: {name: a}",
        "devices[0].points: a mapping is not a list; start each entry with -",
    ),
    "a mapping for text": ("serial_number: {}", "devices[0].serial_number: a mapping is not text"),
    "a duration without a unit": (
        "period: 5",
        "hub.yaml:8:13: devices[0].period: 5 needs a number and a unit (ms, s, m, h, d)",
    ),
    "a fraction without a unit": ("period: 0.5", "devices[0].period: '0.5' needs a number and a unit"),
    "a duration with a wrong unit": ("period: 1sec", "devices[0].period: '1sec' needs a number and a unit"),
    "a duration of nothing": ("period: 0s", 'devices[0].period: "0s" is not possible; it must be more than 0'),
    "a duration too long to write": ("period: " + "9" * 400 + "s", "needs a number and a unit"),
    "no points": (
        "",
        "hub.yaml:5:5: devices[0].points: the device has no points; list them in points: or a points_file:",
    ),
    "an empty list of points": ("points: []", "hub.yaml:8:13: devices[0].points: the device has no points"),
    "a points key with nothing below": ("points:", "devices[0].points: the device has no points"),
    "two points of one name": (
        "points:\n- {name: speed, address: 0}\n- {name: speed, address: 1}",
        'hub.yaml:10:14: devices[0].points[1].name: "speed" is taken already, in line 9',
    ),
    "a name with a space": (
        "points: [{name: a b, address: 0}]",
        '"a b" is not a name; use letters, digits and _ . : - and start with a letter, a digit or _',
    ),
    "a name that is too long": (f"points: [{{name: {'a' * 129}, address: 0}}]", "is longer than 128 characters"),
}


@pytest.mark.parametrize(("keys", "line"), IN_A_DEVICE.values(), ids=IN_A_DEVICE)
def test_a_mistake_in_a_device_is_told(keys: str, line: str, told: Told, belt: Document) -> None:
    text = belt(keys if "points" in keys or not keys else f"{keys}\n{ONE_POINT}")
    assert [found for found in told(text) if line in found], told(text)
    assert len(told(text)) <= 2  # a misspelt required key is missing as well


ELSEWHERE = {
    "an unknown section": (
        "gatway: {}",
        'hub.yaml:7:1: gatway: "gatway" is not a key here; did you mean "gateway"?',
    ),
    "a section that is not there": ("stations: {}", '"stations" is not a key here'),
    "a time limit that is none": ("commands: {timeout: 2h}", '"2h" is not possible; it must be at most 3600'),
    "a limit of nothing": ("commands: {per_minute: 0}", "per_minute: 0 is not possible; it must be at least 1"),
    "an empty section": ("buffer:", "hub.yaml:7:8: buffer: has no value; give it one or remove the key"),
    "a tiny buffer": ("buffer: {max_bytes: 2}", "buffer.max_bytes: 2 is not possible; it must be at least 524288"),
    "a size without a unit": ("buffer: {max_bytes: 1.5}", "buffer.max_bytes: 1.5 needs a number and a unit (B, kB"),
    "a size too large to count": ("buffer: {max_bytes: " + "9" * 400 + "GiB}", "needs a number and a unit"),
    "a number too large to count": ("buffer: {max_bytes: " + "9" * 5000 + "}", "needs a number and a unit"),
    "a buffer without a file": ("buffer: {path: ''}", "buffer.path: must be the name of a file"),
    "what to do when full": (
        "buffer: {when_full: drop-odlest}",
        'buffer.when_full: "drop-odlest" is not one of the choices; did you mean "drop-oldest"?',
    ),
    "a default that no device has": ("defaults: {unit: 1}", '"unit" is not a key here'),
    "a misspelt default": ("defaults: {heatbeat: 1s}", '"heatbeat" is not a key here; did you mean "heartbeat"?'),
    "a port alone": ("http: {listen: '9464'}", "http.listen: must be host:port, for example 127.0.0.1:9464"),
    "a port that is too high": ("http: {listen: 'localhost:99999'}", "http.listen: 99999 is not a port"),
    "no host": ("http: {listen: ':80'}", "http.listen: must be host:port"),
    "IPv6 without brackets": ("http: {listen: '::1:80'}", "http.listen: must be host:port"),
}


@pytest.mark.parametrize(("section", "line"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_mistake_in_another_section_is_told(section: str, line: str, told: Told, belt: Document) -> None:
    text = belt("")[: belt("").index("devices:")].rstrip("\n")
    device = "devices: [{name: belt-1, driver: belt, url: 'tcp://h', points: [{name: a, address: 0}]}]"
    found = told(f"{text}\n{device}\n# a comment\n\n{section}\n".replace("# a comment\n\n", "# one\n# two\n"))
    assert [one for one in found if line in one], found
    assert len(found) == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "[::]:9464", "0.0.0.0:80", "localhost:65535"])
def test_addresses_to_listen_on_are_accepted(listen: str, loaded: Callable[..., object], belt: Document) -> None:
    loaded(belt(ONE_POINT) + f"http: {{listen: '{listen}'}}\n")


def test_a_bad_default_is_told_once_and_in_defaults(told: Told, belt: Document) -> None:
    assert told("defaults: {period: 0s}\n" + belt(ONE_POINT)) == [
        'hub.yaml:1:20: defaults.period: "0s" is not possible; it must be more than 0'
    ]


def test_every_mistake_is_told_at_once_from_top_to_bottom(told: Told) -> None:
    text = """\
gateway: {site: lgg}
buffer: {max_age: ever}
destinations: [{name: a, url: http://h}]
devices:
  - {name: one, driver: belt, url: 'tcp://h', lanes: x}
  - {name: two, driver: blet, url: 'tcp://h', period: 1}
  - just text
  - {name: one, driver: belt, url: 'tcp://h', points: [{name: a, address: x}, {name: b, address: 0, type: y}]}
  - {driver: belt}
"""
    assert [line.partition(":")[2].partition(": ")[::2] for line in told(text)] == [
        ("1:10", "gateway.id: is missing"),
        ("2:19", "buffer.max_age: 'ever' needs a number and a unit (ms, s, m, h, d), for example 250ms"),
        ("3:31", "destinations[0].url: a broker's url starts with one of mqtt://, mqtts://, ws://, wss://"),
        ("5:5", "devices[0].points: the device has no points; list them in points: or a points_file:"),
        ("5:54", 'devices[0].lanes: "x" is not a whole number'),
        ("6:25", 'devices[1].driver: "blet" is not a driver; did you mean "belt"?'),
        ("6:55", "devices[1].period: 1 needs a number and a unit (ms, s, m, h, d), for example 250ms"),
        ("7:5", "devices[2]: a device is a mapping; write name:, driver:, url: … below the -"),
        ("8:12", 'devices[3].name: "one" is taken already, in line 5'),
        ("8:75", 'devices[3].points[0].address: "x" is not a whole number'),
        ("8:107", 'devices[3].points[1].type: "y" is not a type; use float32 or uint16'),
        ("9:5", "devices[4].name: is missing"),
        ("9:5", "devices[4].url: is missing"),
        ("9:5", "devices[4].points: the device has no points; list them in points: or a points_file:"),
    ]


def test_missing_sections_are_told_by_name(told: Told) -> None:
    assert told("http: {}\n") == [
        "hub.yaml:1:1: gateway: is missing",
        "hub.yaml:1:1: destinations: is missing",
        "hub.yaml:1:1: devices: is missing",
    ]


def test_sections_without_entries_are_told(told: Told) -> None:
    assert told("gateway: {site: a, id: b}\ndestinations: []\ndevices: {}\n") == [
        "hub.yaml:2:15: destinations: is empty; at least one entry is needed",
        "hub.yaml:3:10: devices: a mapping is not a list; start each entry with -",
    ]


def test_a_driver_that_is_missing_is_told(told: Told, belt: Document) -> None:
    found = told(belt(ONE_POINT).replace("    driver: belt\n", ""))
    assert found == ["hub.yaml:5:5: devices[0].driver: is missing"]


def test_a_driver_like_no_other_lists_those_that_exist(told: Told, belt: Document) -> None:
    (found,) = told(belt(ONE_POINT).replace("driver: belt", "driver: zzz"))
    assert found.startswith('hub.yaml:6:13: devices[0].driver: "zzz" is not a driver; there is belt, lost, modbus')


def test_a_driver_whose_package_is_broken_is_told(told: Told, belt: Document) -> None:
    (found,) = told(belt(ONE_POINT).replace("driver: belt", "driver: lost"))
    assert 'the driver "lost" cannot be loaded: No module named' in found


def test_a_device_cannot_take_the_topic_of_the_status(told: Told, belt: Document) -> None:
    (found,) = told(belt(ONE_POINT).replace("name: belt-1", "name: status"))
    assert found.startswith('hub.yaml:5:11: devices[0].name: "status" is taken: the gateway reports its own status')


def test_what_a_terminal_cannot_show_is_escaped(told: Told, belt: Document) -> None:
    (found,) = told(belt(ONE_POINT + '\n"\\e[31m\\n": 1'))
    assert found == r'hub.yaml:9:5: devices[0].\x1b[31m\n: "\x1b[31m\n" is not a key here'


def test_long_values_are_cut(told: Told, belt: Document) -> None:
    (found,) = told(belt(f"lanes: {'x' * 1000}\n{ONE_POINT}"))
    assert len(found) < 150


def test_devices_that_cannot_share_their_link_are_told_at_the_last_of_them(told: Told, belt: Document) -> None:
    point = "points: [{name: a, address: 1}]"
    text = belt(point) + f"  - {{name: belt-2, driver: belt, url: tcp://10.0.0.5, lanes: 2, {point}}}\n"
    (found,) = told(text)
    assert found.endswith("devices[1].url: the devices on tcp://10.0.0.5 disagree about its lanes")

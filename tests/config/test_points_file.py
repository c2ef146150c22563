"""Points from CSV files: what is accepted, and that every mistake has the place in the CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Settings

Document = Callable[[str], str]
Load = Callable[..., Settings]
Told = Callable[..., list[str]]

FROM_FILE = "points_file: belt.csv"


@pytest.fixture
def csv(folder: Path) -> Callable[[str | bytes], None]:
    def write(text: str | bytes) -> None:
        (folder / "belt.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    return write


Csv = Callable[[str | bytes], None]


@pytest.mark.parametrize(
    "text",
    [
        "name,address,type,period,writable\nspeed,3,float32,250ms,true\nload,4,,,\n",
        "name;address;type;period;writable\r\nspeed;3;float32;250ms;TRUE\r\nload;4;;;\r\n",
        "\ufeffname,address,type,period,writable\nspeed,3,float32,250ms,true\nload,4\n",
        '# first\n\nname , "address",type,period,writable\n\n# "\n ,,\nspeed,"3", float32 ,250ms,true\nload,4,,,',
        "name,address,type,period,writable,\rspeed,3,float32,250ms,true,\rload,4,,,,\r",
    ],
    ids=["commas", "semicolons", "byte order mark", "blanks, comments and quotes", "old line ends and a spare column"],
)
def test_points_come_from_the_file(text: str, csv: Csv, loaded: Load, belt: Document) -> None:
    csv(text)
    points = loaded(belt(FROM_FILE)).devices[0].points
    assert [(point.name, point.period, point.writable) for point in points] == [
        ("speed", 0.25, True),
        ("load", None, False),
    ]
    assert [point.model_dump()["address"] for point in points] == [3, 4]


def test_quotes_enclose_delimiters_and_quotes(csv: Csv, loaded: Load, belt: Document) -> None:
    csv('name,address,unit\nspeed,3,"a, ""b"""\n')
    assert loaded(belt(FROM_FILE)).devices[0].points[0].unit == 'a, "b"'


def test_the_file_adds_to_the_points_of_the_device(csv: Csv, loaded: Load, belt: Document) -> None:
    csv("name,address\nload,4\n")
    points = loaded(belt(f"points: [{{name: speed, address: 3}}]\n{FROM_FILE}")).devices[0].points
    assert [point.name for point in points] == ["speed", "load"]


def test_two_devices_share_a_file(csv: Csv, loaded: Load, belt: Document) -> None:
    csv("name,address\nload,4\n")
    text = belt(FROM_FILE) + f"  - {{name: belt-2, driver: belt, url: 'tcp://h', {FROM_FILE}}}\n"
    assert [len(device.points) for device in loaded(text).devices] == [1, 1]


def test_a_mistake_in_a_shared_file_is_told_once(csv: Csv, told: Told, belt: Document) -> None:
    csv("name,address\nload,x\n")
    text = belt(FROM_FILE) + f"  - {{name: belt-2, driver: belt, url: 'tcp://h', {FROM_FILE}}}\n"
    assert told(text) == ['belt.csv:2:6: address: "x" is not a whole number']


MISTAKES = {
    "a wrong type": (
        "# one\nname,address,type\na,1,uint16\nb,2,flot32\n",
        ['belt.csv:4:5: type: "flot32" is not a type; did you mean "float32"?'],
    ),
    "an empty cell": ("name,address,type\na,,uint16\n", ["belt.csv:2:3: address: is missing"]),
    "a row that ends early": ("name,address\na\n", ["belt.csv:2:1: address: is missing"]),
    "a missing column, once": ("\nname,type\na,uint16\nb,uint16\n", ["belt.csv:2:1: address: is missing"]),
    "an unknown column, once": (
        "name,address,adress\na,1,1\nb,2,2\n",
        ['belt.csv:1:14: adress: "adress" is not a key here; did you mean "address"?'],
    ),
    "a heading twice": ("name,address,name\na,1,b\n", ["belt.csv:1:14: name: this heading stands twice"]),
    "a cell without a heading": ("name,address\na,1,2\n", ["belt.csv:2:5: this cell has no heading above it"]),
    "an open quote": (
        'name,address\n"a,1\nb,2"\n',
        [
            'belt.csv:2:1: a quote (") is not closed in this line, or text stands beside it',
            'belt.csv:3:3: a quote (") is not closed in this line, or text stands beside it',
        ],
    ),
    "a name twice": (
        "name,address\na,1\na,2\n",
        ['belt.csv:3:1: name: "a" is taken already, in line 2'],
    ),
    "a decimal comma": (
        "name;address;scale\na;1;0,001\n",
        ['belt.csv:2:5: scale: "0,001" is not a number; write a point, not a comma, before the decimals'],
    ),
    "several": (
        "name,address,period\nab,x,1\n",
        [
            'belt.csv:2:4: address: "x" is not a whole number',
            "belt.csv:2:6: period: '1' needs a number and a unit (ms, s, m, h, d), for example 250ms",
        ],
    ),
    "a wrong encoding": (
        "name,address,unit\na,1,°C\n".encode("latin-1"),
        ['belt.csv:2:1: the file is not UTF-8 text; in Excel, save it as "CSV UTF-8"'],
    ),
    "nothing": ("", ["belt.csv:1:1: has no row of headings: name,address,type …"]),
    "a heading alone": (
        "name,address\n",
        ["hub.yaml:5:5: devices[0].points: the device has no points; list them in points: or a points_file:"],
    ),
}


@pytest.mark.parametrize(("text", "lines"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_told_with_its_place(
    text: str | bytes, lines: list[str], csv: Csv, told: Told, belt: Document
) -> None:
    csv(text)
    assert told(belt(FROM_FILE)) == lines


def test_a_name_of_the_device_is_taken_for_the_file_too(csv: Csv, told: Told, belt: Document) -> None:
    csv("name,address\nspeed,4\n")
    assert told(belt(f"points: [{{name: speed, address: 3}}]\n{FROM_FILE}")) == [
        'belt.csv:2:1: name: "speed" is taken already, in hub.yaml:8'
    ]


def test_mistakes_in_both_places_are_told_the_config_file_first(csv: Csv, told: Told, belt: Document) -> None:
    csv("name,address\nload,x\n")
    assert told(belt(f"{FROM_FILE}\npoints: [{{name: speed, address: y}}]")) == [
        'hub.yaml:9:37: devices[0].points[0].address: "y" is not a whole number',
        'belt.csv:2:6: address: "x" is not a whole number',
    ]


def test_a_file_that_is_not_there_is_told_at_its_key(told: Told, belt: Document) -> None:
    assert told(belt(FROM_FILE)) == ["hub.yaml:8:18: devices[0].points_file: belt.csv: there is no such file"]


@pytest.mark.parametrize("name", ["5", "[]", "''", "true", ""])
def test_what_cannot_name_a_file_is_told(name: str, told: Told, belt: Document) -> None:
    (found,) = told(belt(f"points_file: {name}"))
    assert "devices[0].points_file: must be the name of a CSV file" in found


def test_references_in_the_file_stay_text(csv: Csv, loaded: Load, belt: Document) -> None:
    csv("name,address,unit\nspeed,3,${env:HOME}\n")
    assert loaded(belt(FROM_FILE)).devices[0].points[0].unit == "${env:HOME}"

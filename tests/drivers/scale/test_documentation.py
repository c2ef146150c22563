"""docs/scales.md says what the driver does."""

from __future__ import annotations

from drivers.pattern import parse_request
from drivers.scale.indication import WITH_WEIGHT, Status
from drivers.scale.settings import POINTS, Protocol, Read
from drivers.scale.text import GROUPS, PRESETS, STATUSES, PresetName, compile_text, indication
from drivers.transport import parse_url
from tests.plugins.documents import REPOSITORY, Document, code

PAGE = Document(REPOSITORY / "docs" / "scales.md")


def test_every_link_of_the_page_can_be_parsed() -> None:
    assert [parse_url(code(row[0])[0]).link for row in PAGE.table("Links")] == [
        "serial:///dev/ttyUSB1",
        "tcp://10.0.0.7:4001",
        "rfc2217://10.0.0.7:4001",
    ]


def test_every_point_is_explained() -> None:
    assert {name for row in PAGE.table("Points") for name in code(row[0])} == set(POINTS)


def test_every_status_is_explained_and_says_whether_there_is_a_weight() -> None:
    rows = {code(row[0])[0]: row[1] for row in PAGE.table("Status")}
    assert set(rows) == {status.value for status in Status} - {Status.GARBLED.value}
    assert {name for name, weight in rows.items() if "bad:" not in weight} == {status.value for status in WITH_WEIGHT}


def test_every_way_to_read_and_every_protocol_is_explained() -> None:
    assert [code(row[0])[0] for row in PAGE.table("Read")] == list(Read)
    assert [code(row[0])[0] for row in PAGE.table("Protocols")] == list(Protocol)


def test_the_line_of_every_preset_is_read_by_it() -> None:
    presets = [row for row in PAGE.table("Presets and patterns") if len(row) == 3]
    assert [code(row[0])[0] for row in presets] == list(PresetName)
    for name, line, request in presets:
        preset = PRESETS[PresetName(code(name)[0])]
        shown = indication(code(line)[0], compile_text(preset.pattern), preset.statuses)
        assert shown is not None
        assert shown.weight is not None
        assert parse_request(code(request)[0]) == parse_request(preset.request)


def test_every_group_and_every_word_of_a_status_is_explained() -> None:
    groups = {code(row[0])[0]: row[1] for row in PAGE.table("Presets and patterns") if len(row) == 2}
    assert set(groups) | {"gross", "net"} == GROUPS
    for word in filter(None, STATUSES.keys() - {"CAL", "E", "ERR", "ERROR"}):
        assert f" {word}" in groups["status"], word

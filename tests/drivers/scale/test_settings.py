"""What a config may say about a scale, and what is said about a config that says too much."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers import registry
from drivers.scale.settings import POINTS, ScaleSettings


def settings(**keys: Any) -> ScaleSettings:
    return ScaleSettings.model_validate({"name": "weigh-1", "driver": "scale", "url": "tcp://10.0.0.7:4001", **keys})


def test_a_scale_has_its_points_without_being_told() -> None:
    assert [point.name for point in settings(protocol="mt-sics").points] == list(POINTS)


def test_an_entry_of_points_changes_one_and_leaves_the_others() -> None:
    found = settings(
        protocol="mt-sics", points=[{"name": "zero", "writable": True}, {"name": "weight", "deadband": 0.02}]
    )
    assert [point.name for point in found.points] == [*POINTS, "zero"]
    assert {point.name: point.deadband for point in found.points if point.deadband} == {"weight": 0.02}
    assert [point.name for point in found.points if point.writable] == ["zero"]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ({"protocol": "mt-sics"}, "polled"),
        ({"protocol": "sma"}, "polled"),
        ({"protocol": "toledo-continuous"}, "streaming"),
        ({"protocol": "pattern", "preset": "a-d"}, "polled"),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)"}, "streaming"),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)", "request": "P"}, "polled"),
    ],
)
def test_it_is_asked_where_it_can_be_and_listened_to_where_it_cannot(keys: dict[str, Any], read: str) -> None:
    assert settings(**keys).way.value == read


@pytest.mark.parametrize(
    ("keys", "silence_s"),
    [
        ({"protocol": "toledo-continuous"}, 5.0),
        ({"protocol": "toledo-continuous", "silence": "2s"}, 2.0),
        ({"protocol": "sma", "read": "streaming"}, 5.0),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)"}, None),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)", "silence": "1m"}, 60.0),
    ],
)
def test_who_sends_by_itself_may_not_be_silent_for_long(keys: dict[str, Any], silence_s: float | None) -> None:
    assert settings(**keys).silence_s == silence_s


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"protocol": "mt-sics", "url": "rtu:///dev/ttyS0"}, '"rtu://" is not supported here'),
        ({"protocol": "mt-sics", "checksum": "on"}, "checksum has no meaning for mt-sics, only for toledo-continuous"),
        ({"protocol": "mt-sics", "preset": "a-d"}, "preset has no meaning for mt-sics, only for pattern"),
        ({"protocol": "sma", "request": "P"}, "request has no meaning for sma, only for pattern"),
        ({"protocol": "sma", "pattern": "(?P<weight>.*)"}, "pattern has no meaning for sma"),
        ({"protocol": "mt-sics", "silence": "5s"}, "silence has no meaning where the instrument is asked"),
        ({"protocol": "toledo-continuous", "read": "polled"}, "toledo-continuous cannot be asked"),
        ({"protocol": "pattern"}, "needs pattern:, or preset: with one of a-d, sartorius-sbi, ohaus, dini-argeo"),
        ({"protocol": "pattern", "preset": "a-d", "pattern": "(?P<weight>.*)"}, "preset is a pattern already"),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*"}, "not a regular expression"),
        ({"protocol": "pattern", "pattern": ".*"}, "needs a group (?P<weight>…)"),
        ({"protocol": "pattern", "pattern": "(?P<wieght>.*)"}, 'did you mean "weight"?'),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)", "read": "polled"}, "needs request:"),
        ({"protocol": "pattern", "pattern": "(?P<weight>.*)", "read": "stable"}, "needs a group status or stable"),
        ({"protocol": "pattern", "preset": "a-d", "read": "streaming", "request": "P"}, "asks nothing"),
        ({"protocol": "pattern", "preset": "a-d", "request": r"\q"}, r"\q is not known"),
        (
            {"protocol": "pattern", "preset": "a-d", "points": [{"name": "tare", "writable": True}]},
            "nothing is writable",
        ),
        ({"protocol": "sma", "points": [{"name": "wieght"}]}, 'did you mean "weight"?'),
        (
            {"protocol": "sma", "points": [{"name": "net", "writable": True}]},
            "net cannot be written; tare and zero can",
        ),
        ({"protocol": "sma", "points": [{"name": "zero"}]}, "it needs writable: true"),
        ({"protocol": "sma", "points": [{"name": "zero", "writable": True, "max": 1}]}, "zero, which takes true"),
        ({"protocol": "sma", "points": [{"name": "unit", "deadband": 1}]}, "deadband has no meaning for unit"),
        ({"protocol": "sma", "points": [{"name": "net", "period": "1s"}]}, "only tare can have a period"),
        ({"protocol": "sma", "points": [{"name": "net", "unit": "kg"}]}, "convert_to: kg changes it"),
        (
            {"protocol": "toledo-continuous", "points": [{"name": "tare", "period": "1s"}]},
            "tare comes with every reading here",
        ),
    ],
)
def test_a_key_without_effect_is_refused_in_words(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        settings(**keys)


def test_two_scales_cannot_share_a_link() -> None:
    family = registry.family("scale")
    one, two = (settings(protocol="sma", name=name) for name in ("weigh-1", "weigh-2"))
    assert family.link(one) == family.link(two) == "tcp://10.0.0.7:4001"
    with pytest.raises(ValueError, match='"weigh-1" and "weigh-2" are both on'):
        family.driver([one, two], state_folder=Path())


@pytest.mark.parametrize(
    ("keys", "requests"),
    [
        ({"protocol": "mt-sics"}, ["SI", "TA"]),
        ({"protocol": "mt-sics", "read": "streaming"}, ["SIR"]),
        ({"protocol": "mt-sics", "read": "stable"}, ["S, then SI until the load moves"]),
        ({"protocol": "sma"}, ["W", "M"]),
        ({"protocol": "toledo-continuous"}, ["nothing, it sends by itself"]),
        ({"protocol": "pattern", "preset": "sartorius-sbi"}, [r"'\x1bP\r\n'"]),
    ],
)
def test_the_plan_tells_what_goes_out(keys: dict[str, Any], requests: list[str]) -> None:
    driver = registry.family("scale").driver([settings(**keys)], state_folder=Path())
    assert [request.request for request in driver.plan()] == requests


def test_pyserial_is_not_imported_for_a_plan() -> None:
    code = (
        "import sys; from pathlib import Path; from drivers import registry; family = registry.family('scale');"
        "device = dict(name='d', driver='scale', url='serial:///dev/ttyS0', protocol='mt-sics');"
        "family.driver([family.settings.model_validate(device)], state_folder=Path()).plan();"
        "sys.exit('serial' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Which topics are commands, and where answers may go."""

from __future__ import annotations

import pytest

from gateway.commands.topics import Address, Topics


@pytest.mark.parametrize(
    ("template", "topic_filter", "command"),
    [
        ("hub/{site}/{gateway}/{device}", "hub/lgg/sort-01/+/set/+", "hub/lgg/sort-01/lift/set/speed"),
        ("{device}", "+/set/+", "lift/set/speed"),
        ("x/{gateway}-{device}/data", "x/+/data/set/+", "x/sort-01-lift/data/set/speed"),
        ("{device}/of/{device}", "+/of/+/set/+", "lift/of/lift/set/speed"),
    ],
)
def test_commands_come_below_the_topics_of_the_readings(template: str, topic_filter: str, command: str) -> None:
    topics = Topics(template, site="lgg", gateway="sort-01")
    assert topics.filter == topic_filter
    assert topics.address(command) == Address("lift", "speed")


@pytest.mark.parametrize(
    "topic",
    [
        "hub/lgg/sort-01/lift",
        "hub/lgg/sort-01/lift/set",
        "hub/lgg/sort-01/lift/set/speed/result",
        "hub/lgg/sort-02/lift/set/speed",
        "hub/lgg/sort-01/lift/get/speed",
        "hub/lgg/sort-01//set/speed",
    ],
)
def test_other_topics_are_no_commands(topic: str) -> None:
    assert Topics("hub/{site}/{gateway}/{device}", site="lgg", gateway="sort-01").address(topic) is None


def test_a_device_written_twice_in_a_topic_must_be_the_same() -> None:
    assert Topics("{device}/of/{device}", site="lgg", gateway="sort-01").address("a/of/b/set/speed") is None


def test_dots_in_names_are_dots() -> None:
    assert Topics("{site}/{device}", site="a.b", gateway="x").address("aXb/lift/set/speed") is None


@pytest.mark.parametrize(
    ("response_topic", "answer"),
    [
        (None, "hub/lgg/sort-01/lift/set/speed/result"),
        ("answers/me", "answers/me"),
        ("hub/lgg/sort-01/lift/set/speed/answers", "hub/lgg/sort-01/lift/set/speed/answers"),
        ("", None),
        ("answers/#", None),
        ("answers/+/x", None),
        ("$SYS/x", None),
        ("hub/lgg/sort-01/status", None),
        ("hub/lgg/sort-01/belt", None),
        ("hub/lgg/sort-01/belt/set/speed", None),
    ],
)
def test_answers_go_where_the_sender_wants_unless_that_topic_means_something(
    response_topic: str | None, answer: str | None
) -> None:
    topics = Topics("hub/{site}/{gateway}/{device}", site="lgg", gateway="sort-01")
    assert topics.answer("hub/lgg/sort-01/lift/set/speed", response_topic) == answer

"""Commands that come a second time."""

from __future__ import annotations

import asyncio

from gateway.commands.repeats import MOST_REMEMBERED, REMEMBERED_S, Key, Repeats

KEY = Key("lift", "speed", b'{"value": 1}', "answers", b"1")


async def test_a_command_is_known_for_its_time_only() -> None:
    repeats, answer = Repeats(), asyncio.get_running_loop().create_future()
    repeats.remember(KEY, answer, now_s=0)
    assert repeats.answer(KEY, now_s=REMEMBERED_S - 1) is answer
    assert repeats.answer(KEY, now_s=REMEMBERED_S) is None


async def test_a_command_that_differs_in_anything_is_another() -> None:
    repeats = Repeats()
    repeats.remember(KEY, asyncio.get_running_loop().create_future(), now_s=0)
    others = [
        KEY._replace(device="belt"),
        KEY._replace(point="run"),
        KEY._replace(payload=b'{"value": 2}'),
        KEY._replace(response_topic=None),
        KEY._replace(correlation=b"2"),
    ]
    assert [repeats.answer(other, now_s=0) for other in others] == [None] * len(others)


async def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    repeats = Repeats()
    for number in range(MOST_REMEMBERED + 10):
        repeats.remember(KEY._replace(correlation=b"%d" % number), asyncio.get_running_loop().create_future(), now_s=0)
    assert repeats.answer(KEY._replace(correlation=b"9"), now_s=0) is None
    assert repeats.answer(KEY._replace(correlation=b"10"), now_s=0) is not None


async def test_what_is_forgotten_is_new() -> None:
    repeats = Repeats()
    repeats.remember(KEY, asyncio.get_running_loop().create_future(), now_s=0)
    repeats.forget(KEY)
    assert repeats.answer(KEY, now_s=0) is None

"""What every test gets: proof that it left no task, file descriptor or child process behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.plugins.mosquitto", "tests.plugins.virtual_time"]


def _descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return found


def _children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update((task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            continue
    return found


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    descriptors, children = _descriptors(), _children()
    yield
    left = _descriptors()
    if left.keys() - descriptors.keys():
        gc.collect()
        left = _descriptors()
    opened = {number: target for number, target in left.items() if number not in descriptors}
    assert not opened, f"file descriptors left open: {opened}"
    assert not _children() - children, "child processes left running"


@pytest.fixture
async def _watched_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"


@pytest.fixture(autouse=True)
def _no_task_left(request: pytest.FixtureRequest, _nothing_left_open: None) -> None:
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_watched_tasks")

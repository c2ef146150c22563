from __future__ import annotations

import asyncio

from gateway.tasks import TaskSet
from tests.plugins.virtual_time import VirtualTime


class Log:
    """What the tasks of a set lived through."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def live(self, name: str, settings: int) -> None:
        self.events.append(f"start {name}={settings}")
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append(f"end {name}={settings}")


async def test_only_what_changed_is_restarted() -> None:
    log = Log()
    async with asyncio.TaskGroup() as group:
        tasks = TaskSet(group, log.live)
        changes = await tasks.update({"a": 1, "b": 1, "c": 1})
        assert changes.started == ("a", "b", "c")
        await asyncio.sleep(0)
        log.events.clear()

        changes = await tasks.update({"a": 1, "b": 2, "d": 1})
        await asyncio.sleep(0)
        assert str(changes) == "started d; stopped c; restarted b; 1 unchanged"
        assert sorted(log.events) == ["end b=1", "end c=1", "start b=2", "start d=1"]
        assert max(log.events.index("end b=1"), log.events.index("end c=1")) < log.events.index("start b=2")
        await tasks.update({})
    assert log.events.count("end a=1") == 1


async def test_it_says_why_a_task_was_restarted() -> None:
    log = Log()
    async with asyncio.TaskGroup() as group:
        tasks = TaskSet(group, log.live, explain=lambda before, after: f"{before} to {after}")
        await tasks.update({"a": 1, "b": 1})
        assert str(await tasks.update({"a": 2, "b": 1})) == "restarted a (1 to 2); 1 unchanged"
        await tasks.update({})


async def test_nothing_changes_when_the_settings_are_the_same() -> None:
    log = Log()
    async with asyncio.TaskGroup() as group:
        tasks = TaskSet(group, log.live)
        await tasks.update({"a": 1})
        changes = await tasks.update({"a": 1})
        assert changes.kept == ("a",)
        await asyncio.sleep(0)
        assert log.events == ["start a=1"]
        await tasks.update({})


def test_a_task_that_swallows_its_cancellation_is_cancelled_again(virtual_time: VirtualTime) -> None:
    async def deaf(_name: str, _settings: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def stop_it() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = TaskSet(group, deaf)
            await tasks.update({"deaf": 1})
            await asyncio.sleep(0)
            await tasks.update({})

    virtual_time.run(stop_it())

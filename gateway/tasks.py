"""Named tasks that can be started, stopped and exchanged one by one while the others run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Settings = TypeVar("Settings")

CANCEL_AGAIN_S = 5.0
"""A task that has not ended by then takes its leave too slowly, or a library has swallowed the cancellation."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What `TaskSet.update` did, by task name."""

    started: tuple[str, ...]
    stopped: tuple[str, ...]
    restarted: tuple[str, ...]
    kept: tuple[str, ...]
    why: Mapping[str, str]
    """What made a task restart, in words, as far as that is known."""

    def __str__(self) -> str:
        restarted = [f"{name} ({self.why[name]})" if self.why.get(name) else name for name in self.restarted]
        parts = (("started", self.started), ("stopped", self.stopped), ("restarted", restarted))
        told = [f"{verb} {', '.join(names)}" for verb, names in parts if names]
        return "; ".join([*told, f"{len(self.kept)} unchanged"])


class TaskSet(Generic[Settings]):
    """One task per name inside a task group that the caller owns; a task restarts only when its settings changed."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        start: Callable[[str, Settings], Coroutine[Any, Any, None]],
        *,
        explain: Callable[[Settings, Settings], str] = lambda *_: "",
    ) -> None:
        """`start` makes the coroutine of one task from its name and settings; settings are compared with `==`, and
        `explain` says how old ones and new ones differ."""
        self._explain = explain
        self._group = group
        self._start = start
        self._running: dict[str, tuple[Settings, asyncio.Task[None]]] = {}

    async def update(self, wanted: Mapping[str, Settings]) -> Changes:
        """Stop what is no longer wanted, restart what changed, start what is new. What is stopped has ended by then."""
        stopped = [name for name in self._running if name not in wanted]
        restarted = [name for name, (settings, _) in self._running.items() if wanted.get(name, settings) != settings]
        started = [name for name in wanted if name not in self._running]
        kept = [name for name in self._running if name not in {*stopped, *restarted}]
        why = {name: self._explain(self._running[name][0], wanted[name]) for name in restarted}
        await self._stop([*stopped, *restarted])
        for name in (*restarted, *started):
            task = self._group.create_task(self._start(name, wanted[name]), name=name)
            self._running[name] = (wanted[name], task)
        return Changes(tuple(started), tuple(stopped), tuple(restarted), tuple(kept), why)

    async def ended(self) -> None:
        """Wait until every task has ended, by itself or by `cancel`."""
        if self._running:
            await asyncio.wait([task for _, task in self._running.values()])

    def cancel(self) -> None:
        """Ask every task to end; `ended` waits for it."""
        for _, task in self._running.values():
            task.cancel()

    async def _stop(self, names: list[str]) -> None:
        tasks = {self._running.pop(name)[1] for name in names}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)

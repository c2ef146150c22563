"""A sorter's controller at an `opc.tcp` address: no security, anonymous clients, each value with its own time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from simulators.faces import SorterFace
from simulators.faults import Fault, FaultKind
from simulators.listener import Client, ListeningEndpoint
from simulators.opcua.connection import Connection
from simulators.opcua.space import Core, SorterServer
from simulators.opcua.tags import Panel, Tag, tags

REFRESH_S = 0.1
_CLOCK_S = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TURNS_TO_END = 3
"""asyncua cancels its timers without waiting for them; this many turns of the loop later they have ended."""


class OpcuaEndpoint(ListeningEndpoint):
    """One sorter. What changes is seen within `REFRESH_S`; the source timestamp is when it was seen.

    Clients that wanted something while it hung are reset when it is over.
    """

    kind = "opcua"
    scheme = "opc.tcp"
    possible_faults = frozenset(
        {
            FaultKind.NONE,
            FaultKind.REFUSE,
            FaultKind.RESET,
            FaultKind.HANG,
            FaultKind.SILENT,
            FaultKind.SLOW,
            FaultKind.GARBLE,
            FaultKind.HALF_FRAME,
            FaultKind.BAD_STATUS,
            FaultKind.WRONG_CLOCK,
            FaultKind.RESTART,
        }
    )

    def __init__(
        self,
        name: str,
        face: SorterFace,
        *,
        host: str,
        port: int,
        random: Random,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, [face.name], host=host, port=port, random=random)
        self._panel = Panel(face)
        self._wall_ns = wall_ns
        self._nodes: dict[Tag, ua.NodeId] = {}
        self._shown: dict[Tag, Any] = {}
        self._told_as = (False, 0.0)
        """Whether values are bad, and how wrong their times are."""
        self._told_s = 0.0
        self._is_restarting = False
        self._opc: SorterServer | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[Any]] = set()

    def power_cycle(self, unit: int | None = None) -> None:  # noqa: ARG002 - a controller has no units
        """The machine goes on; sessions, subscriptions and the last command are forgotten."""
        self._panel.last_command = 0
        self._is_restarting = True

    async def refresh(self) -> None:
        """Bring the nodes up to date: those that have changed, and the clock of the server."""
        assert self._opc is not None
        changed = [(tag, tag.value(self._panel)) for tag in self._nodes]
        changed = [(tag, value) for tag, value in changed if tag not in self._shown or self._shown[tag] != value]
        self._shown.update(changed)
        for tag, value in changed:
            await self._opc.core.aspace.write_attribute_value(
                self._nodes[tag], AttributeIds.Value, self._data_value(tag, value)
            )
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= _CLOCK_S:
            self._told_s = now_s
            await self._opc.core.tell_time(self._now())

    async def _start(self) -> None:
        logging.getLogger("asyncua.server").setLevel(logging.CRITICAL + 1)  # it logs each fault that is imposed
        opc = SorterServer(Core(), name=self.name, url=self.url)
        self._nodes = await opc.prepare(self._panel, tags(list(self._panel.face.chutes)))
        self._opc = opc
        for tag, node_id in self._nodes.items():
            if tag.write is not None:
                opc.core.commands.add(node_id, tag.kind, partial(self._written, tag.write))
        await opc.core.tell_start(self._now())
        await self.refresh()
        await super()._start()
        assert self._group is not None
        self._refreshing = self._group.create_task(self._keep_fresh(), name=f"values of {self.name}")

    async def _stop(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})
            self._refreshing = None
        await super()._stop()
        if self._opc is not None:
            await asyncio.gather(*self._ending, return_exceptions=True)
            await self._opc.core.forget_sessions()
            await self._opc.stop()
            for _ in range(_TURNS_TO_END):
                await asyncio.sleep(0)
            self._opc = None

    def _client(self) -> Client:
        assert self._opc is not None
        return Connection(self, self._opc, fault=self.fault, garbage=self._random.randbytes, closing=self._watch_ending)

    async def _changed(self, fault: Fault) -> None:
        await super()._changed(fault)
        if self._opc is None:
            return
        if fault.kind is not FaultKind.HANG:
            for client in self.clients:
                if isinstance(client, Connection) and client.is_torn:
                    client.reset()
        if self._is_restarting:
            self._is_restarting = False
            await self._opc.core.forget_sessions()
            await self._opc.core.tell_start(self._now())
        told_as = (fault.kind is FaultKind.BAD_STATUS, fault.offset_s)
        if told_as != self._told_as:
            self._told_as = told_as
            self._shown.clear()
        await self.refresh()

    async def _keep_fresh(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s = max(due_s + REFRESH_S, loop.time())
            await asyncio.sleep(due_s - loop.time())
            await self.refresh()

    async def _written(self, write: Callable[[Panel, Any], int], data: ua.DataValue) -> int:
        """What was written can be read back when the write is answered."""
        assert data.Value is not None
        status = write(self._panel, data.Value.Value)
        await self.refresh()
        return status

    def _data_value(self, tag: Tag, value: Any) -> ua.DataValue:
        is_bad = self.fault().kind is FaultKind.BAD_STATUS
        now = self._now()
        return ua.DataValue(
            ua.Variant(value, tag.kind, is_array=tag.is_array),
            StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadDeviceFailure if is_bad else StatusCodes.Good)),
            SourceTimestamp=now,  # type: ignore[arg-type]
            ServerTimestamp=now,  # type: ignore[arg-type]
        )

    def _now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._wall_ns() // 1000, seconds=self.fault().offset_s)

    def _watch_ending(self, task: asyncio.Task[Any]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

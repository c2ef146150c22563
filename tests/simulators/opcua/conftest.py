"""A sorter that is set by hand, its server, and asyncua's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from asyncua import Client

from simulators.faces import PackCommand, PackState
from simulators.opcua import OpcuaEndpoint

DEADLINE_S = 10
BOOTED_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""


@dataclass(slots=True)
class StillSorter:
    """A `SorterFace`. It takes commands in any state but `ABORT`, which it refuses."""

    name: str = "sorter"
    state: PackState = PackState.EXECUTE
    design_speed_m_s: float = 2.0
    speed_setpoint_m_s: float = 1.5
    speed_m_s: float = 1.25
    blocked: bool = False
    starved: bool = True
    chutes: dict[str, int] = field(default_factory=lambda: {"BRU": 3, "LGG": 4, "rest": 1})
    full_chutes: list[str] = field(default_factory=lambda: ["LGG"])
    sorted_count: int = 7
    missorted_count: int = 1
    last_destination: str = "LGG"
    commands: list[PackCommand] = field(default_factory=list)

    def set_speed(self, speed_m_s: float) -> bool:
        if not 0 <= speed_m_s <= self.design_speed_m_s:
            return False
        self.speed_setpoint_m_s = speed_m_s
        return True

    def command(self, command: PackCommand) -> bool:
        if command is PackCommand.ABORT:
            return False
        self.commands.append(command)
        return True


@dataclass(slots=True)
class Wall:
    """A clock that is turned by hand."""

    now_ns: int = BOOTED_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def sorter() -> StillSorter:
    return StillSorter()


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        yield group


@pytest.fixture
async def endpoint(sorter: StillSorter, wall: Wall, group: asyncio.TaskGroup) -> AsyncIterator[OpcuaEndpoint]:
    endpoint = OpcuaEndpoint("plc-1", sorter, host="127.0.0.1", port=0, random=Random(1), wall_ns=wall)
    await endpoint.open(group)
    yield endpoint
    await endpoint.close()


Connect = Callable[[OpcuaEndpoint], Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A client of a server, gone when the test is over."""
    clients = []

    async def one(endpoint: OpcuaEndpoint) -> Client:
        client = Client(endpoint.url, timeout=2, watchdog_intervall=60)
        client.session_timeout = 60_000
        await client.connect()
        clients.append(client)
        return client

    yield one
    for client in clients:
        await client.disconnect()


@pytest.fixture
async def client(endpoint: OpcuaEndpoint, connect: Connect) -> Client:
    return await connect(endpoint)
